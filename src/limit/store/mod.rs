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
#[cfg_attr(
    not(all(feature = "per-key", feature = "provider")),
    allow(
        dead_code,
        reason = "limits of clients and of providers use more of it"
    )
)]
pub(crate) mod link;
mod pot;
pub mod redis;
mod settings;
mod share;
#[cfg(all(test, not(throttle_loom)))]
mod tests;

#[cfg(all(test, not(throttle_loom), feature = "provider"))]
pub(crate) use self::{settings::StoreSettings, tests::Model};
