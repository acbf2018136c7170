//! Keep all limits of an AI provider at once.

mod class;
mod estimate;
mod usage;

pub use self::{class::Class, estimate::Estimate};
