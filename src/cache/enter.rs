//! Looks up a request in the store.

use super::{
    coalesce::{Lead, Reader},
    hit::Hit,
    policy::Lookup,
};

pub(super) enum Entered {
    Hit(Hit),
    Lead(Lead),
    Follow(Reader),
}

pub(super) fn enter(lookup: &mut Lookup) -> Entered {
    match lookup.find() {
        Ok(hit) => return Entered::Hit(hit),
        Err(why) => lookup.why = why,
    }
    // A request that wants a new response does not share one either.
    if !lookup.policy.single_flight || lookup.max_age == 0 {
        return Entered::Lead(Lead::alone(lookup));
    }
    loop {
        let mut flights = lookup.store.flights();
        let Some(flight) = flights.by_key.get(&lookup.key).cloned() else {
            // It may be complete by now.
            if let Ok(hit) = lookup.find() {
                return Entered::Hit(hit);
            }
            let lead = Lead::new(lookup, flights.generation);
            flights.by_key.insert(lookup.key, lead.flight.clone());
            return Entered::Lead(lead);
        };
        drop(flights);
        match Reader::follow(&flight, lookup) {
            Some(reader) => return Entered::Follow(reader),
            // The next request leads a new flight.
            None => lookup.store.land(&lookup.key, &flight),
        }
    }
}
