//! One call to the inner service for equal requests at the same time.
//!
//! The first request leads: it calls the inner service in its own task, as if there were no cache.
//! The others follow: they wait for the head of its response. A follower that gets none looks into
//! the store again and may lead in its turn. Once there is a head, a task of its own reads the body
//! into [`Frames`](super::frames::Frames), from which all requests read, each at its own pace.
//!
//! The call is not a task of its own because the inner service may borrow, as the one behind a
//! `LayerMiddleware` does.

mod flight;
mod follower;
mod lead;
mod pulse;
mod reader;

pub(super) use self::{
    flight::{CloseReason, SingleFlight},
    follower::{Followed, Follower},
    lead::Lead,
    reader::Reader,
};
