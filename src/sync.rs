//! The one place that atomics come from, so that loom can stand in for them.

#[cfg(not(throttle_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(throttle_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
