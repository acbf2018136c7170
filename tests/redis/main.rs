//! Limits on a server of Redis or Valkey, which the tests start. See `server.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time of a server is real"
)]

mod chaos;
mod clients;
mod connecting;
mod drops;
mod fleet;
mod gateway;
mod hostile;
mod policies;
mod processes;
mod provider;
mod rights;
mod server;
#[path = "../../examples/batch/simulator/mod.rs"]
mod simulator;
