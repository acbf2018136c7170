//! Errors in a form that the SDKs of OpenAI and of Anthropic understand.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_throttle::{
    BoxError, Reason, Rejected, TimedOut,
    provider::{QuotaExhausted, ThrottleReason},
    router::NoTargetAvailable,
};

/// The status, the type as Anthropic calls it, and the code as OpenAI does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind(u16, &'static str, &'static str);

// ===== impl Kind =====

impl Kind {
    pub(crate) const WRONG_KEY: Self = Self(401, "authentication_error", "invalid_api_key");
    pub(crate) const NOT_FOUND: Self = Self(404, "not_found_error", "model_not_found");
    pub(crate) const TOO_LARGE: Self = Self(413, "request_too_large", "request_too_large");
    /// A limit of the caller.
    const RATE_LIMITED: Self = Self(429, "rate_limit_error", "rate_limit_exceeded");
    /// A provider's quota that does not recover soon. With this status no SDK retries.
    const QUOTA_EXHAUSTED: Self = Self(402, "billing_error", "insufficient_quota");
    /// A provider is unreachable, or its response broke off.
    pub(crate) const UNREACHABLE: Self = Self(502, "api_error", "provider_failed");
    /// The providers have no room, or the gateway stops.
    const OVERLOADED: Self = Self(503, "overloaded_error", "overloaded");
    const TIMEOUT: Self = Self(504, "timeout_error", "timeout");

    /// The response: each SDK reads some of its members.
    pub(crate) fn response(self, message: &str) -> Response {
        let Self(status, kind, code) = self;
        let error = json!({ "type": kind, "code": code, "message": message, "param": null });
        let status = StatusCode::from_u16(status).unwrap_or_default();
        (status, Json(json!({ "type": "error", "error": error }))).into_response()
    }
}

/// The response to a request that a limit of its caller has rejected.
pub(crate) fn of_caller(rejected: &Rejected) -> Response {
    let limit = rejected.name().unwrap_or("concurrent requests");
    let limit = format!("rate limit of {limit}");
    of_rejected(rejected, Kind::RATE_LIMITED, &limit)
}

/// The response to a request that no provider has responded to.
pub(crate) fn of_error(error: &BoxError) -> Response {
    if let Some(rejected) = Rejected::of(error) {
        return of_rejected(rejected, Kind::OVERLOADED, "no provider has room");
    }
    if let Some(quota) = QuotaExhausted::of(error) {
        let kind = match quota.class() {
            ThrottleReason::TooLarge => Kind::TOO_LARGE,
            _ => Kind::QUOTA_EXHAUSTED,
        };
        return kind.response(&quota.to_string());
    }
    if let Some(timed_out) = TimedOut::of(error) {
        return Kind::TIMEOUT.response(&timed_out.to_string());
    }
    match NoTargetAvailable::of(error) {
        Some(none) => Kind::NOT_FOUND.response(&none.to_string()),
        // The error itself may have the address of a provider.
        None => Kind::UNREACHABLE.response("the provider cannot be reached"),
    }
}

fn of_rejected(rejected: &Rejected, kind: Kind, limit: &str) -> Response {
    if rejected.exceeds_capacity() {
        return Kind::TOO_LARGE.response(&format!("{limit}: {rejected}"));
    }
    let mut response = match rejected.reason() {
        Reason::Closed => Kind::OVERLOADED.response("the gateway stops"),
        _ => kind.response(&format!("{limit}: retry later")),
    };
    // When another gateway takes over is not known.
    let wait = rejected.retry_after().unwrap_or(Duration::from_secs(1));
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    let headers = response.headers_mut();
    headers.insert("retry-after", millis.div_ceil(1_000).into());
    headers.insert("retry-after-ms", millis.into());
    response
}
