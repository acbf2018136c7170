//! Errors, in the form of the style.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::super::{
    headers,
    ledger::{Dimension, Refusal},
    style::{RateHeaders, Style},
};

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
    /// OpenAI's type and code of it. An empty code is written as null.
    kind: &'static str,
    code: &'static str,
}

// ===== impl Failure =====

impl Failure {
    pub(super) fn no_such_url() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: "Invalid URL: this simulator knows POST /v1/chat/completions and /v1/messages"
                .to_owned(),
            kind: "invalid_request_error",
            code: "",
        }
    }

    pub(super) fn no_key() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            message: "Incorrect API key provided".to_owned(),
            kind: "invalid_request_error",
            code: "invalid_api_key",
        }
    }

    pub(super) fn nonsense(message: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.to_owned(),
            kind: "invalid_request_error",
            code: "",
        }
    }

    pub(super) fn refused(refusal: &Refusal, style: Style) -> Self {
        let (dimension, message) = match refusal {
            Refusal::Limited {
                dimension,
                retry_after,
            } => {
                let mut message = format!("Rate limit reached on {}.", name(*dimension));
                // Who keeps the wait out of the headers keeps it out of the text.
                if style.retry_after {
                    let wait = headers::go_duration(*retry_after);
                    message += &format!(" Please try again in {wait}.");
                }
                (*dimension, message)
            }
            Refusal::TooLarge(dimension) => {
                let message = format!("Request too large on {}", name(*dimension));
                (*dimension, message)
            }
            Refusal::Down => return Self::down(style),
        };
        let kind = match dimension {
            Dimension::Requests | Dimension::RequestsPerDay | Dimension::Concurrent => "requests",
            Dimension::Tokens | Dimension::InputTokens | Dimension::OutputTokens => "tokens",
        };
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            message,
            kind,
            code: "rate_limit_exceeded",
        }
    }

    fn down(style: Style) -> Self {
        // Anthropic has a status of its own for it.
        let overloaded = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self {
            status: match style.headers {
                RateHeaders::Anthropic => overloaded,
                RateHeaders::OpenAi | RateHeaders::None => StatusCode::SERVICE_UNAVAILABLE,
            },
            message: "The server is down for maintenance".to_owned(),
            kind: "server_error",
            code: "",
        }
    }

    /// The answer to the request of this id.
    pub(super) fn response(&self, style: Style, id: &str) -> Response {
        let message = &self.message;
        let body = match style.headers {
            RateHeaders::Anthropic => {
                let error = json!({ "type": self.anthropic_type(), "message": message });
                json!({ "type": "error", "error": error, "request_id": id })
            }
            RateHeaders::OpenAi | RateHeaders::None => {
                let code = (!self.code.is_empty()).then_some(self.code);
                let kind = self.kind;
                json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
            }
        };
        (self.status, Json(body)).into_response()
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "invalid_request_error",
        }
    }
}

fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Requests => "requests per window",
        Dimension::RequestsPerDay => "requests per day",
        Dimension::Tokens => "tokens per window",
        Dimension::InputTokens => "input tokens per window",
        Dimension::OutputTokens => "output tokens per window",
        Dimension::Concurrent => "concurrent requests",
    }
}
