//! Limits that several processes share, in a store such as Redis.
//!
//! ```text
//! request ─▶ pot ─┬─ enough ────────────────────────────────▶ admitted
//!                 └─ too little ─▶ ask (one for the whole queue) ─▶ Store::call
//!                                   ▲                                  │
//!                                   └── waits as long as it says ◀─────┴─▶ pot
//! ```
//!
//! A *name* is one key of the store. All limits of a name are taken by one [`Call`], all or none,
//! by the clock of the store. A [grant](call::Outcome::Granted) may be spent for a short *hold*;
//! units that were not spent by then are given back.

pub(crate) mod call;
mod constants;
pub(crate) mod handle;
mod history;
pub(crate) mod lease;
pub(crate) mod link;
mod model;
mod pot;
pub mod redis;
mod settings;
#[cfg(all(test, not(throttle_loom)))]
mod slots;
#[cfg(all(test, not(throttle_loom)))]
mod tests;
