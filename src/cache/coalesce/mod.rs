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
mod reader;

pub(super) use self::{
    flight::{CloseReason, SingleFlight},
    follower::{Followed, Follower},
    lead::Lead,
    reader::Reader,
};
