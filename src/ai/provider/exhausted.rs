//! A quota that no wait brings back in time.

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode};

use crate::{
    error::{BoxError, Outcome, find_source},
    payload::error_body::{LimitError, ThrottleReason},
};

/// The provider refused a request in a way that no retry will mend: the money is spent, or the day's
/// quota, or it is larger than the limit.
///
/// It arrives inside the layer's [`BoxError`](crate::BoxError) in place of the response, so that no retry takes it for a
/// refusal that passes. A [`Fallback`](crate::Fallback) to another account or provider may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaExhausted {
    status: StatusCode,
    limit: LimitError,
}

// ===== impl QuotaExhausted =====

impl QuotaExhausted {
    /// Returns the one in this error's chain of sources, whatever wraps it.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<&Self> {
        find_source(error)
    }

    /// Reads a refusal; `None` where it is none, or one that passes. For those who use a
    /// [`ProviderLimiter`](super::ProviderLimiter) without its layer.
    ///
    /// The body may be cut anywhere; 16 KiB of it are plenty.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        Self::from_limit(status, LimitError::read(status, headers, body)?)
    }

    /// `None` if it passes.
    pub(super) fn from_limit(status: StatusCode, limit: LimitError) -> Option<Self> {
        let is_final = limit.class.is_final();
        is_final.then_some(Self { status, limit })
    }

    /// Which quota: [`ThrottleReason::QuotaExhausted`], [`ThrottleReason::Day`] or [`ThrottleReason::TooLarge`].
    #[must_use]
    pub fn class(&self) -> ThrottleReason {
        self.limit.class
    }

    /// The status of the provider's answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The provider's own code or type for it, such as `insufficient_quota`. At most 200 characters.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.limit.code.as_deref()
    }

    /// The provider's own words. At most 200 characters.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.limit.message.as_deref()
    }

    /// How long until the quota is there again, where the provider said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.limit.retry_after
    }
}

impl fmt::Display for QuotaExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.limit.class {
            ThrottleReason::TooLarge => {
                "the request is larger than the provider's limit ever allows"
            }
            ThrottleReason::Day => "the provider's quota of a day or longer is used up",
            _ => "the provider refuses for want of money",
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

/// The source is the [`Outcome`].
impl std::error::Error for QuotaExhausted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self.limit.class {
            ThrottleReason::TooLarge => &Outcome::ClientError,
            _ => &Outcome::QuotaExhausted,
        })
    }
}
