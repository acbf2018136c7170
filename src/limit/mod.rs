//! What the limiters share: the service, its future, the queue of those who wait.
//!
//! ```text
//! call ─▶ enter ─┬─ Pass ─────────────────────────────────────────▶ the ready instance is called
//!                ├─ Wait ─▶ Queueing: head of the queue ▶ due ▶ a fresh clone is ready ▶ take ▶ it is called
//!                └─ Never, or too long a wait ─▶ Refused
//! ```

mod faces;
mod future;
mod gate;
mod hold;
mod queueing;
mod rate;
mod service;
mod turnstile;

#[cfg(feature = "provider")]
pub(crate) use self::queueing::{Queueing, Stopped};
pub(crate) use self::{
    faces::rate_limit,
    gate::{Entry, Gate, Measure, Waiting},
    rate::Rate,
    service::Limited,
    turnstile::{Place, Queued, Turnstile},
};
pub use self::{
    future::ResponseFuture,
    hold::{Hold, UntilBodyEnd, UntilResponse},
};

/// Waits in line for a bare limiter, and takes what is asked for.
pub(crate) async fn acquire<G: Gate>(gate: &G, ask: G::Ask) -> Result<G::Pass, crate::Rejected> {
    let expected = match gate.enter(&ask) {
        Entry::Pass(pass) => return Ok(pass),
        Entry::Never(rejected) => return Err(rejected),
        Entry::Wait(expected) => expected,
    };
    let mut waiting = gate.wait(ask, expected, std::time::Duration::MAX)?;
    loop {
        match G::take(waiting.await?) {
            Ok(pass) => return Ok(pass),
            Err(again) => waiting = again,
        }
    }
}
