//! Looks up a request in the store.

use super::{
    coalesce::{Lead, Reader},
    hit::Hit,
    policy::Lookup,
};

pub(super) enum Entered {
    Hit(Hit),
    Lead(Lead),
    Follow(Reader, Why),
}

/// Why the inner service is called, as `Cache-Status` says it.
pub(super) type Why = &'static str;

pub(super) fn enter(lookup: &Lookup) -> Entered {
    let store = &lookup.store;
    let find = || store.find(&lookup.key, lookup.max_age);
    let why = match find() {
        Ok(hit) => return Entered::Hit(hit),
        Err(why) => why,
    };
    // A request that wants a new response does not share one either.
    if !lookup.policy.single_flight || lookup.max_age == 0 {
        return Entered::Lead(lead(lookup, why));
    }
    loop {
        let mut flights = store.flights();
        let Some(flight) = flights.by_key.get(&lookup.key).cloned() else {
            // It may be complete by now.
            if let Ok(hit) = find() {
                return Entered::Hit(hit);
            }
            let lead = Lead::new(lookup, flights.generation, why);
            flights.by_key.insert(lookup.key, lead.flight.clone());
            return Entered::Lead(lead);
        };
        drop(flights);
        match Reader::follow(&flight, lookup) {
            Some(reader) => return Entered::Follow(reader, why),
            // The next request leads a new flight.
            None => store.land(&lookup.key, &flight),
        }
    }
}

/// Begins a flight that no other request follows.
pub(super) fn lead(lookup: &Lookup, why: Why) -> Lead {
    Lead::new(lookup, lookup.store.flights().generation, why)
}
