//! Whole provider quotas: joint admission, settlement, pauses and what is learned, on a paused clock.

mod learning;
mod limiter;
mod refusals;
mod settlement;
mod timeouts;

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use tower_throttle::{
    Tokens,
    provider::{Accounting, Provider, ProviderLimiter, Usage},
};

pub(crate) type Body = Full<&'static [u8]>;

/// 60 requests and 1,000 tokens a minute, settled to what was used.
fn small() -> Provider {
    Provider::new("small")
        .rpm(60)
        .tpm(1_000)
        .counting(Accounting::SETTLED)
}

/// What is taken of the limit that is first, second …
fn used(limiter: &ProviderLimiter, n: usize) -> u64 {
    nth(&limiter.usage(), n).used
}

fn nth(usage: &Usage, n: usize) -> tower_throttle::provider::LimitUsage {
    *usage.limits().nth(n).unwrap()
}

/// An estimate that is the body's length, half of it for the answer.
fn half_and_half(request: &Request<&'static str>) -> Tokens {
    let all = request.body().len() as u64;
    Tokens::new(all - all / 2, all / 2)
}

fn ask(body: &'static str) -> Request<&'static str> {
    Request::post("/v1/chat/completions").body(body).unwrap()
}

fn json(body: &'static str) -> Result<Response<Body>, Infallible> {
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::new(body.as_bytes())).unwrap())
}
