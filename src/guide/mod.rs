//! Patterns and rules of practice for calling a limited API, each with the lines that do it here.
//!
//! Which layer goes where is in [`order`], and how to come here from other crates in [`migration`].
//!
//! Guides of the field name the same few things, such as the one that the first rows of the
//! [table of providers](crate::provider::Provider#impl-Provider-1) are from. This page says where they are.
//!
//! # Three patterns
//!
//! **Back off, with jitter.** Never repeat at once; wait longer each time, and not all at the same instant:
//!
//! ```
//! # use tower_throttle::{RetryAfterBackoffLayer};
//! let layer = RetryAfterBackoffLayer::new(); // the server's Retry-After, or else 0.5 s, 1 s, 2 s … with full jitter
//! # let _ = layer;
//! ```
//!
//! **Keep to the rate before it is kept for you.** A bucket or a window in front of the client, or all limits of the
//! provider at once:
//!
//! ```
//! use tower_throttle::provider::{Provider, ProviderLayer};
//!
//! let layer = ProviderLayer::new(Provider::OPENAI_TIER_1);
//! # let _ = layer;
//! ```
//!
//! **Have somebody else to ask.** Another model, account or provider, or a fixed response:
//!
//! ```
//! # use http::{Request, Response};
//! # use tower::service_fn;
//! # use tower_throttle::{BoxError, FallbackLayer};
//! # let other_provider = service_fn(async |_: Request<String>| Ok::<_, BoxError>(Response::new(String::new())));
//! let layer = FallbackLayer::new(other_provider);
//! # let _ = layer;
//! ```
//!
//! # Seven rules
//!
//! **1. Obey `Retry-After`.** A retry never comes earlier than the server said, and a 429 that says when
//! pauses all requests behind a [`ProviderLayer`](crate::provider::ProviderLayer), not only the one that met it:
//!
//! ```
//! # use std::time::Duration;
//! # use tower_throttle::RetryAfterBackoffLayer;
//! let layer = RetryAfterBackoffLayer::new().max_backoff(Duration::from_secs(120)); // the longest that is waited for
//! # let _ = layer;
//! ```
//!
//! **2. Count tokens as well as requests.** Both are reserved at one instant, and the answer says what it was:
//!
//! ```
//! # use tower_throttle::provider::{Accounting, Provider, ProviderLayer};
//! let mine = Provider::new("mine").rpm(500).tpm(200_000).counting(Accounting::SETTLED);
//! # let _ = ProviderLayer::new(mine);
//! ```
//!
//! **3. Bound what is in flight.** To the last frame of each answer:
//!
//! ```
//! # use tower_throttle::ConcurrencyLayer;
//! let layer = ConcurrencyLayer::new(50); // or Provider::new("mine").concurrent(50)
//! # let _ = layer;
//! ```
//!
//! **4. Listen to the headers.** What is left, what others took, and that the limit is another one now:
//!
//! ```
//! # use tower_throttle::provider::{Provider, ProviderLayer};
//! let layer = ProviderLayer::new(Provider::new("unknown")).learn(true); // finds the limits, knowing none
//! # let _ = layer;
//! ```
//!
//! **5. Bound the retries, and repeat nothing that can't succeed.** A budget keeps a failing provider from being called
//! five times as often; a 429 for want of money is an error of its own, which no retry repeats:
//!
//! ```
//! # use std::time::Duration;
//! # use tower_throttle::{Quota, RetryAfterBackoffLayer, retry::Budget};
//! let layer = RetryAfterBackoffLayer::new()
//!     .attempts(5)
//!     .deadline(Duration::from_secs(120))
//!     .budget(Budget::new(20, Quota::per_minute(30).burst(10))); // what it is unless told
//! # let _ = layer;
//! ```
//!
//! **6. Fail soon where somebody waits.** A request that would wait too long is refused at once, and can be handed on:
//!
//! ```
//! # use std::time::Duration;
//! # use tower_throttle::provider::{Provider, ProviderLayer};
//! let layer = ProviderLayer::new(Provider::DEEPSEEK)
//!     .max_wait(Duration::from_secs(10))
//!     .max_waiting(100);
//! # let _ = layer;
//! ```
//!
//! **7. Watch it.** Each limit's use can be polled, and with the feature `tracing` every wait, refusal and retry is an event:
//!
//! ```
//! # use tower_throttle::provider::{Provider, ProviderLayer};
//! # let layer = ProviderLayer::new(Provider::DEEPSEEK);
//! for limit in layer.limiter().usage().limits() {
//!     println!("{} of {} {}", limit.used, limit.limit, limit.dimension);
//! }
//! ```
// Without a feature its page has no link to what is behind it.
#![cfg_attr(
    not(all(feature = "per-key", feature = "provider")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "per-key")]
#[cfg_attr(docsrs, doc(cfg(feature = "per-key")))]
pub mod migration;
#[cfg(feature = "provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "provider")))]
pub mod order;
