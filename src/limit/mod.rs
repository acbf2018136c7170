//! What the limiters share: the service, its future, the queue of those who wait.
//!
//! ```text
//! call ─▶ enter ─┬─ admitted ─────────────────────────────────────▶ the ready instance is called
//!                ├─ in time ─▶ Queueing: head of the queue ▶ due ▶ a fresh clone is ready ▶ take ▶ it is called
//!                └─ never, or too long a wait ─▶ Refused
//! ```

mod faces;
mod front;
mod future;
mod gate;
mod hold;
mod queueing;
mod rate;
mod service;
mod turnstile;

#[cfg(any(feature = "per-key", feature = "provider"))]
pub(crate) use self::front::{Front, Schedule};
#[cfg(feature = "provider")]
pub(crate) use self::queueing::{Queueing, Stopped};
pub(crate) use self::{
    faces::{bounds, forward, rate_limit},
    gate::{Gate, Measure, Turn, Waiting, acquire},
    rate::Rate,
    service::Limited,
    turnstile::{Bounds, Patience, Place, Turnstile},
};
pub use self::{
    future::ResponseFuture,
    hold::{Hold, UntilBodyEnd, UntilResponse},
};
