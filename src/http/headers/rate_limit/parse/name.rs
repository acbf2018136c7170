//! Parses header names.

use std::time::Duration;

use crate::http::headers::rate_limit::limits::{DAY, Dimension};

const MINUTE: Duration = Duration::from_secs(60);

/// The kinds of servers that use a header name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Anthropic,
    OpenAi,
    /// One limit in three headers, by the IETF's drafts up to 06.
    Ietf,
    /// Kong, with a period in each name.
    Kong,
    /// One limit in three headers of any other server.
    Other,
}

/// The limit that a header is about, without the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) family: Family,
    /// The limit of a project rather than of the whole organization.
    pub(super) project: bool,
    pub(super) dimension: Dimension,
    pub(super) period: Option<Duration>,
}

// ===== impl Subject =====

impl Subject {
    /// Returns the subject of headers whose names say no more than the part.
    pub(super) const fn bare(family: Family) -> Self {
        Self {
            family,
            project: false,
            dimension: Dimension::Requests,
            period: None,
        }
    }
}

/// The parts of a limit.
const PARTS: [&str; 3] = ["limit", "remaining", "reset"];
/// Like a reset, always as a wait.
pub(super) const RESET_AFTER: &str = "reset-after";

/// Returns the subject and the part of a self-describing header name.
pub(super) fn read(name: &str) -> Option<(Subject, &str)> {
    let is_part = |(_, part): &(&str, &str)| PARTS.contains(part);
    if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let (what, part) = rest.rsplit_once('-').filter(is_part)?;
        let mut subject = Subject::bare(Family::Anthropic);
        (subject.dimension, subject.period) = (dimension(what)?, Some(MINUTE));
        return Some((subject, part));
    }
    let x = name.strip_prefix("x-ratelimit-");
    let other_x = || name.strip_prefix("x-rate-limit-");
    let (family, rest) = match name.strip_prefix("ratelimit-") {
        Some(rest) => (Family::Ietf, rest),
        None => (Family::Other, x.or_else(other_x)?),
    };
    if PARTS.contains(&rest) || (family == Family::Other && rest == RESET_AFTER) {
        return Some((Subject::bare(family), rest));
    }
    let first = rest.split_once('-').map(|(part, what)| (what, part));
    let last = || rest.rsplit_once('-').filter(is_part);
    let found = first.filter(is_part).or_else(last);
    let (what, part) = found.filter(|_| family == Family::Other)?;
    Some((subject(what)?, part))
}

fn subject(what: &str) -> Option<Subject> {
    let own = what.strip_prefix("project-");
    let what = own.unwrap_or(what);
    let (family, dimension, period) = match (dimension(what), what.rsplit_once('-')) {
        (Some(dimension), _) => (Family::OpenAi, dimension, None),
        (None, Some((unit, over))) => (Family::OpenAi, dimension(unit)?, Some(period(over)?)),
        (None, None) => (Family::Kong, Dimension::Requests, Some(period(what)?)),
    };
    Some(Subject {
        family,
        project: own.is_some(),
        dimension,
        period,
    })
}

fn dimension(text: &str) -> Option<Dimension> {
    Some(match text {
        "requests" | "req" => Dimension::Requests,
        "tokens" => Dimension::Tokens,
        "input-tokens" => Dimension::InputTokens,
        "output-tokens" => Dimension::OutputTokens,
        _ => return None,
    })
}

fn period(text: &str) -> Option<Duration> {
    Some(match text {
        "second" => Duration::from_secs(1),
        "minute" => MINUTE,
        "hour" => 60 * MINUTE,
        "day" => DAY,
        "month" => 30 * DAY,
        "year" => 365 * DAY,
        _ => return None,
    })
}
