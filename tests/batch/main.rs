//! The batch example and its simulated provider, over real sockets and so on real time.
//!
//! Apart from the tests on a paused clock, which would take its time from it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batch;
mod chaos;
mod config;
mod live;
mod simulator;
#[allow(dead_code, reason = "shared with the tests on a paused clock")]
#[path = "../it/support.rs"]
mod support;
