//! One call to the inner service for equal requests at the same time.
//!
//! The first request leads: it calls the inner service in its own task, as if there were no cache.
//! The others follow: they wait for the head of its response. A follower that gets none looks it up
//! in the store again and may lead then. Once there is a head, a spawned task reads the body into
//! [`Frames`](super::frames::Frames), from which all requests read, each at its own pace.
//!
//! The call is not a spawned task because the inner service may borrow, as the one behind a
//! `LayerMiddleware` does.

mod flight;
mod follower;
mod lead;

pub(super) use self::{
    flight::{CloseReason, Reader, SingleFlight},
    follower::{Followed, Follower},
    lead::Lead,
};
use super::{hit::Hit, policy::Lookup};

/// What a request does.
pub(super) enum Entered {
    Hit(Hit),
    Lead(Lead),
    Follow(Reader),
}

/// Looks up a request in the store, and then among the calls that are under way.
pub(super) fn enter(lookup: &mut Lookup) -> Entered {
    match lookup.store.find(&lookup.key, lookup.max_age) {
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
            if let Ok(hit) = lookup.store.find(&lookup.key, lookup.max_age) {
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
