//! Limits that find themselves.
//!
//! ```text
//!             started, now, in flight, outcome          once a round trip
//! permit ──▶ Sampler ──▶ Control ──▶ Window ──▶ Seen ──▶ Refusals ──▶ Gradient, or Aimd ──▶ the limit
//!            a clock      no clock    samples since       of load?      a step
//!            and a lock               the last step
//! ```

mod aimd;
mod control;
mod gradient;
mod refusals;
mod sampler;
mod settings;
#[cfg(test)]
mod tests;
mod window;

pub use self::settings::{Adaptive, Latency};
pub(super) use self::{sampler::Sampler, window::Outcome};
