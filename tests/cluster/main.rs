//! Limits in a cluster of Redis or Valkey, and behind sentinels, which the tests start.
//!
//! As they wait most of the time, all run at once: `cargo test --test cluster`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time of a server is real"
)]

mod faults;
#[path = "../redis/fleet.rs"]
mod fleet;
mod nodes;
mod sentinel;
#[path = "../redis/server.rs"]
mod server;
