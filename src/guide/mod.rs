//! Guides: how to combine the layers, test them, and move to them from other crates.
//!
//! | guide | what it is about |
//! | --- | --- |
//! | [`layer_order`] | the recommended order, and what goes wrong in others |
//! | [`patterns`] | the patterns and the checklist of a guide to AI APIs |
//! | [`migration`] | tower_governor, tower's `RateLimit`, reqwest-retry and tower-resilience |
//! | [`testing`] | tests without waiting and without a network |
//! | [`compiler_errors`] | common compiler errors and their fixes |
//! | [`browsers`] | CORS, preflight requests and headers that scripts can read |
//! | [`shared`] | limits that several processes share, in Redis or Valkey |
//! | [`telemetry`] | metrics, events and snapshots |
//! | [`production`] | what to decide before going into production |
// Without all features some links have no target.
#![cfg_attr(not(feature = "full"), allow(rustdoc::broken_intra_doc_links))]

#[doc = include_str!("layer_order.md")]
pub mod layer_order {}

#[doc = include_str!("patterns.md")]
pub mod patterns {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("compiler_errors.md")]
pub mod compiler_errors {}

#[doc = include_str!("browsers.md")]
pub mod browsers {}

#[doc = include_str!("shared.md")]
pub mod shared {}

#[doc = include_str!("telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("production.md")]
pub mod production {}
