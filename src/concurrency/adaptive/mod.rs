//! Limits that adapt.

mod aimd;
mod control;
mod gradient;
mod sampler;
mod settings;
mod window;
#[cfg(test)]
mod tests;

pub use self::settings::{Adaptive, Latency};
pub(super) use self::{sampler::Sampler, window::Outcome};
