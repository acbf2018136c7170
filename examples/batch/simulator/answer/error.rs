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

    pub(super) fn refused(refusal: &Rejection, style: Style) -> Self {
        let (dimension, message) = match refusal {
            Rejection::Limited {
                dimension,
                retry_after,
            } => {
                let mut message = format!("Rate limit reached on {}.", name(*dimension));
                // A style without the wait in headers has none in the text either.
                if style.retry_after {
                    let wait = headers::go_duration(*retry_after);
                    message += &format!(" Please try again in {wait}.");
                }
                (*dimension, message)
            }
            Rejection::TooLarge(dimension) => {
                let message = format!("Request too large on {}", name(*dimension));
                (*dimension, message)
            }
            Rejection::Down => return Self::down(style),
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

    pub(super) fn broken() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "The server had an error while processing your request".to_owned(),
            kind: "server_error",
            code: "",
        }
    }

    pub(super) fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "The engine is currently overloaded, please try again later".to_owned(),
            kind: "server_error",
            code: "",
        }
    }

    pub(super) fn overloaded() -> Self {
        Self {
            status: overloaded(),
            message: "Overloaded".to_owned(),
            kind: "overloaded_error",
            code: "",
        }
    }

    fn down(style: Style) -> Self {
        Self {
            status: match style.headers {
                RateHeaders::Anthropic => overloaded(),
                RateHeaders::OpenAi | RateHeaders::None => StatusCode::SERVICE_UNAVAILABLE,
            },
            message: "The server is down for maintenance".to_owned(),
            kind: "server_error",
            code: "",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The response to the request of this id.
    pub(super) fn response(&self, style: Style, id: &str) -> Response {
        let body = match style.headers {
            RateHeaders::Anthropic => self.in_anthropics_form(id),
            RateHeaders::OpenAi | RateHeaders::None => self.in_openais_form(),
        };
        (self.status, Json(body)).into_response()
    }

    pub(super) fn in_anthropics_form(&self, id: &str) -> Value {
        let error = json!({ "type": self.anthropic_type(), "message": self.message });
        json!({ "type": "error", "error": error, "request_id": id })
    }

    pub(super) fn in_openais_form(&self) -> Value {
        let Self { message, kind, .. } = self;
        let code = (!self.code.is_empty()).then_some(self.code);
        json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500 | 503 => "api_error",
            529 => "overloaded_error",
            _ => "invalid_request_error",
        }
    }
}

/// Anthropic's own status for it.
fn overloaded() -> StatusCode {
    StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
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
