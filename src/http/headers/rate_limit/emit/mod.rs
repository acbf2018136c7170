//! Writes a client's rate limits to response headers.

mod list;
mod triple;

use std::time::{Duration, SystemTime};

use http::HeaderMap;

pub(crate) use self::list::PolicyItem;
use crate::http::headers::{rate_limit::standing::Standing, retry_after::seconds_begun};

/// The largest integer of a structured field, which has 15 digits (RFC 9651 §3.3.1).
const MOST: u64 = 999_999_999_999_999;

/// The format of `X-RateLimit-Reset`: servers use either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetFormat {
    /// Seconds from now.
    Delta,
    /// Seconds since the Unix epoch.
    Epoch,
}

/// The response headers that report a client's rate limit.
///
/// [`RateLimitHeaders::default`] writes `RateLimit` and `RateLimit-Policy` of the latest IETF
/// draft, which list all limits of a stack of layers. The other headers have room for one limit:
/// the most restrictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct RateLimitHeaders {
    rate_limit: bool,
    draft_03: bool,
    x_rate_limit: Option<ResetFormat>,
}

impl RateLimitHeaders {
    /// Writes no headers.
    pub const NONE: Self = Self {
        rate_limit: false,
        draft_03: false,
        x_rate_limit: None,
    };

    /// Sets whether to write `RateLimit: "name";r=50;t=30` and
    /// `RateLimit-Policy: "name";q=100;w=60`. The default is `true`.
    pub const fn rate_limit(mut self, written: bool) -> Self {
        self.rate_limit = written;
        self
    }

    /// Sets whether to write `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` of
    /// drafts up to the third. The default is `false`.
    pub const fn draft_03(mut self, written: bool) -> Self {
        self.draft_03 = written;
        self
    }

    /// Writes the non-standard `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`
    /// as well.
    pub const fn x_rate_limit(mut self, reset: ResetFormat) -> Self {
        self.x_rate_limit = Some(reset);
        self
    }

    /// Adds a limit to `headers`, reusing one of `policies` if it matches. The clock is read for
    /// [`ResetFormat::Epoch`] only.
    pub(crate) fn write(
        &self,
        headers: &mut HeaderMap,
        standing: &Standing<'_>,
        policies: &[PolicyItem],
        now: impl FnOnce() -> SystemTime,
    ) {
        if self.rate_limit {
            list::write(headers, standing, policies);
        }
        if self.draft_03 {
            let reset = seconds(standing.reset);
            triple::write(headers, &triple::DRAFT_03, standing, reset);
        }
        if let Some(reset) = self.x_rate_limit {
            let reset = match reset {
                ResetFormat::Delta => seconds(standing.reset),
                ResetFormat::Epoch => epoch(now(), standing.reset),
            };
            triple::write(headers, &triple::X, standing, reset);
        }
    }
}

impl Default for RateLimitHeaders {
    fn default() -> Self {
        Self::NONE.rate_limit(true)
    }
}

/// Returns whole seconds, rounded up and saturated.
fn seconds(time: Duration) -> u64 {
    seconds_begun(time).min(MOST)
}

/// Returns the seconds since the Unix epoch at the end of `wait`.
fn epoch(now: SystemTime, wait: Duration) -> u64 {
    let passed = now.duration_since(SystemTime::UNIX_EPOCH);
    seconds(passed.unwrap_or_default().saturating_add(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURLY: Standing<'_> = Standing {
        name: "hourly",
        quota: 100,
        window: Duration::from_secs(3_600),
        remaining: 7,
        reset: Duration::from_millis(29_001),
    };

    fn lines(fields: RateLimitHeaders) -> Vec<String> {
        let mut headers = HeaderMap::new();
        let now = || SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        fields.write(&mut headers, &HOURLY, &[], now);
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn only_enabled_fields_are_written() {
        let newest = [
            r#"ratelimit-policy: "hourly";q=100;w=3600"#,
            r#"ratelimit: "hourly";r=7;t=30"#,
        ];
        assert_eq!(lines(RateLimitHeaders::default()), newest);
        assert!(lines(RateLimitHeaders::NONE).is_empty());
        let third = [
            "ratelimit-limit: 100",
            "ratelimit-remaining: 7",
            "ratelimit-reset: 30",
        ];
        assert_eq!(lines(RateLimitHeaders::NONE.draft_03(true)), third);
        for (form, reset) in [(ResetFormat::Delta, 30), (ResetFormat::Epoch, 1_030)] {
            let expected = [
                "x-ratelimit-limit: 100".to_owned(),
                "x-ratelimit-remaining: 7".to_owned(),
                format!("x-ratelimit-reset: {reset}"),
            ];
            assert_eq!(lines(RateLimitHeaders::NONE.x_rate_limit(form)), expected);
        }
        let all = RateLimitHeaders::default()
            .draft_03(true)
            .x_rate_limit(ResetFormat::Delta);
        assert_eq!(lines(all).len(), 8);
    }

    #[test]
    fn the_clock_is_read_for_an_instant_only() {
        let fields = RateLimitHeaders::default()
            .draft_03(true)
            .x_rate_limit(ResetFormat::Delta);
        fields.write(&mut HeaderMap::new(), &HOURLY, &[], || unreachable!());
    }

    #[test]
    fn times_are_rounded_up_and_end() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::from_secs(1)), 1);
        assert_eq!(seconds(Duration::MAX), MOST);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(epoch(before, Duration::from_millis(1_500)), 2);
        assert_eq!(epoch(SystemTime::UNIX_EPOCH, Duration::MAX), MOST);
    }
}
