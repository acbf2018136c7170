//! Behaviour, in one binary: one link step.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod auto;
mod auto_traits;
mod cache;
mod circuit_breaker;
mod concurrency;
mod diagnose;
mod doors;
mod fallback;
mod idempotency_key;
mod left_alone;
mod loopback;
mod own_body;
mod patience;
mod per_key;
mod provider;
mod readiness;
mod refusal;
mod replay;
mod retry_after_backoff;
mod rooms;
mod sliding_window;
mod stack;
mod support;
mod timeout;
mod token_bucket;
