//! Parses header names.

use std::time::Duration;

use crate::http::headers::rate_limit::limits::{DAY, Dimension};

const MINUTE: Duration = Duration::from_secs(60);

/// The kinds of servers that use a header name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Anthropic,
    OpenAi,
    Legacy,
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

/// The parts of a limit.
const PARTS: [&str; 3] = ["limit", "remaining", "reset"];

/// Returns the subject and the part of a self-describing header name.
pub(super) fn read(name: &str) -> Option<(Subject, &str)> {
    let (subject, part) = if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let (what, part) = rest.rsplit_once('-')?;
        let subject = Subject {
            family: Family::Anthropic,
            project: false,
            dimension: dimension(what)?,
            period: Some(MINUTE),
        };
        (subject, part)
    } else {
        let (part, what) = name.strip_prefix("x-ratelimit-")?.split_once('-')?;
        (subject(what)?, part)
    };
    PARTS.contains(&part).then_some((subject, part))
}

fn subject(what: &str) -> Option<Subject> {
    let own = what.strip_prefix("project-");
    let what = own.unwrap_or(what);
    let (family, dimension, period) = match (dimension(what), what.rsplit_once('-')) {
        (Some(dimension), _) => (Family::OpenAi, dimension, None),
        (None, Some((unit, over))) => (Family::OpenAi, dimension(unit)?, Some(period(over)?)),
        (None, None) => (Family::Legacy, Dimension::Requests, Some(period(what)?)),
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
