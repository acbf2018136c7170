//! Error for a quota that does not recover in time for a retry.

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode};

use crate::{
    error::{BoxError, Outcome, find_source},
    payload::error_body::{LimitError, ThrottleReason},
};

/// Error returned if the provider rejected a request and no retry can succeed: the credit or the
/// daily quota is used up, or the request is larger than the limit.
///
/// It is returned inside the layer's [`BoxError`](crate::BoxError) in place of the response, so
/// that it is not retried. A [`Fallback`](crate::Fallback) to another account or provider may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaExhausted {
    status: StatusCode,
    limit: LimitError,
}

// ===== impl QuotaExhausted =====

impl QuotaExhausted {
    /// Returns the `QuotaExhausted` in this error's chain of sources, if there is one.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<&Self> {
        find_source(error)
    }

    /// Reads an error response. Returns `None` if it is no rejection, or one that a retry can
    /// resolve. For use with a [`ProviderLimiter`](super::ProviderLimiter) without its layer.
    ///
    /// The body may be truncated at any byte; its first 16 KiB are enough.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        Self::from_limit(status, LimitError::read(status, headers, body)?)
    }

    /// Returns `None` if a retry can resolve it.
    pub(super) fn from_limit(status: StatusCode, limit: LimitError) -> Option<Self> {
        let is_final = limit.class.is_final();
        is_final.then_some(Self { status, limit })
    }

    /// Returns the kind of quota: [`ThrottleReason::QuotaExhausted`], [`ThrottleReason::Day`] or
    /// [`ThrottleReason::TooLarge`].
    #[must_use]
    pub fn class(&self) -> ThrottleReason {
        self.limit.class
    }

    /// Returns the status of the provider's response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the provider's error code or type, such as `insufficient_quota`: one line of at most
    /// 200 characters.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.limit.code.as_deref()
    }

    /// Returns the provider's error message: one line of at most 200 characters. Line breaks,
    /// control and formatting characters are replaced by spaces.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.limit.message.as_deref()
    }

    /// Returns the time until the quota is available again, if the provider has sent it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.limit.retry_after
    }
}

impl fmt::Display for QuotaExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.limit.class {
            ThrottleReason::TooLarge => "request exceeds the provider's limit: send a smaller one",
            ThrottleReason::Day => "provider quota exhausted: daily limit reached",
            _ => "provider quota exhausted: insufficient funds",
        })?;
        write!(f, " ({}", self.status.as_u16())?;
        if let Some(code) = self.code() {
            write!(f, " {code}")?;
        }
        f.write_str(")")?;
        if let Some(message) = self.message() {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

/// Returns the [`Outcome`] as the source.
impl std::error::Error for QuotaExhausted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self.limit.class.outcome() {
            Outcome::ClientError => &Outcome::ClientError,
            _ => &Outcome::QuotaExhausted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display(body: &str) -> String {
        let status = StatusCode::PAYMENT_REQUIRED;
        let error = QuotaExhausted::read(status, &HeaderMap::new(), body.as_bytes());
        error.unwrap().to_string()
    }

    #[test]
    fn foreign_text_is_one_plain_line() {
        let expected = "provider quota exhausted: insufficient funds (402 c d): a b";
        for gap in [
            r"\n",
            r"\r\n",
            r"\u001b",
            r"\u009b",
            r"\u202e",
            r"\u2066",
            r"\u2028",
            r"\u200b",
            r"\udb40\udc41",
            r"\ufeff",
        ] {
            let body = format!(
                r#"{{"error": {{"code": "c{gap}d", "message": "{gap}a{gap}{gap}b{gap}"}}}}"#
            );
            assert_eq!(display(&body), expected, "{gap}");
        }
        // Bodies that are not JSON, or are cut.
        assert!(display("a\n\u{1b}[31mb").ends_with(": a [31mb"));
        assert!(display("{\"message\": \"a\n\u{202e}b").ends_with(": a b"));
    }

    #[test]
    fn scripts_and_accents_are_unchanged() {
        for text in [
            "Gu\u{301}thaben: 0 \u{20ac}",
            "残高不足",
            "نفد الرصيد",
            "a\\b \"c\"",
        ] {
            assert!(display(text).ends_with(text), "{text}");
        }
    }

    #[test]
    fn long_foreign_text_is_cut() {
        let long = "x ".repeat(40_000);
        let body = format!(r#"{{"error": {{"code": "{long}", "message": "{long}"}}}}"#);
        assert!(display(&body).len() < 500);
    }
}
