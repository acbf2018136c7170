//! Adaptive limits.
//!
//! ```text
//!            started, now, in flight, outcome           every few round trips
//! permit ──▶ Sampler ──▶ Control ──▶ SampleWindow ──▶ Summary ──▶ Gradient, or AIMD ──▶ the limit
//!            a clock     no clock    samples since          a step
//!            and a lock              the last step
//! ```

mod control;
mod gradient;
mod settings;
#[cfg(test)]
mod tests;
mod window;

pub use self::settings::{Adaptive, Latency};
pub(super) use self::{
    control::Sampler,
    window::{Sample, SampleOutcome},
};
