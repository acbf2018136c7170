//! Limits that adapt.

mod aimd;
mod control;
mod gradient;
mod settings;
mod window;
#[cfg(test)]
mod tests;

pub use self::settings::{Adaptive, Latency};
