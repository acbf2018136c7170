//! Errors, in the form of the style.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::super::{
    headers,
    ledger::{Dimension, Rejection},
    style::{RateHeaders, Style},
};

/// An error response.
#[derive(Debug)]
pub(super) struct Failure {
    status: u16,
    /// OpenAI's type and code of it. An empty code is written as null.
    kind: &'static str,
    code: &'static str,
    message: String,
}

// ===== impl Failure =====

impl Failure {
    fn new(
        status: u16,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code,
            message: message.into(),
        }
    }

    pub(super) fn no_such_url() -> Self {
        let message = "Invalid URL: this simulator knows POST /v1/chat/completions, \
                       /v1/messages and /v1/embeddings";
        Self::new(404, "invalid_request_error", "", message)
    }

    pub(super) fn no_key() -> Self {
        let (kind, code) = ("invalid_request_error", "invalid_api_key");
        Self::new(401, kind, code, "Incorrect API key provided")
    }

    pub(super) fn nonsense(message: String) -> Self {
        Self::new(400, "invalid_request_error", "", message)
    }

    pub(super) fn broken() -> Self {
        let message = "The server had an error while processing your request";
        Self::new(500, "server_error", "", message)
    }

    pub(super) fn busy() -> Self {
        let message = "The engine is currently overloaded, please try again later";
        Self::new(503, "server_error", "", message)
    }

    pub(super) fn overloaded() -> Self {
        Self::new(529, "overloaded_error", "", "Overloaded")
    }

    pub(super) fn refused(refusal: &Rejection, style: Style) -> Self {
        let dimension = match refusal {
            Rejection::Limited { dimension, .. } | Rejection::TooLarge(dimension) => dimension,
            Rejection::Down => {
                let is_anthropic = style.headers == RateHeaders::Anthropic;
                let status = if is_anthropic { 529 } else { 503 };
                let message = "The server is down for maintenance";
                return Self::new(status, "server_error", "", message);
            }
        };
        let (kind, limit) = match dimension {
            Dimension::Requests => ("requests", "requests per window"),
            Dimension::RequestsPerDay => ("requests", "requests per day"),
            Dimension::Tokens => ("tokens", "tokens per window"),
            Dimension::InputTokens => ("tokens", "input tokens per window"),
            Dimension::OutputTokens => ("tokens", "output tokens per window"),
            Dimension::Concurrent => ("requests", "concurrent requests"),
        };
        let message = match refusal {
            // A style without the wait in headers has none in the text either.
            Rejection::Limited { retry_after, .. } if style.retry_after => {
                let wait = headers::go_duration(*retry_after);
                format!("Rate limit reached on {limit}. Please try again in {wait}.")
            }
            Rejection::TooLarge(_) => format!("Request too large on {limit}"),
            _ => format!("Rate limit reached on {limit}."),
        };
        Self::new(429, kind, "rate_limit_exceeded", message)
    }

    /// The response to the request of this id.
    pub(super) fn response(&self, style: Style, id: &str) -> Response {
        let body = match style.headers {
            RateHeaders::Anthropic => self.in_anthropics_form(id),
            RateHeaders::OpenAi | RateHeaders::None => self.in_openais_form(),
        };
        let status = StatusCode::from_u16(self.status);
        (status.unwrap_or_default(), Json(body)).into_response()
    }

    pub(super) fn in_anthropics_form(&self, id: &str) -> Value {
        let kind = match self.status {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500 | 503 => "api_error",
            529 => "overloaded_error",
            _ => "invalid_request_error",
        };
        let error = json!({ "type": kind, "message": self.message });
        json!({ "type": "error", "error": error, "request_id": id })
    }

    pub(super) fn in_openais_form(&self) -> Value {
        let Self { message, kind, .. } = self;
        let code = (!self.code.is_empty()).then_some(self.code);
        json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
    }
}
