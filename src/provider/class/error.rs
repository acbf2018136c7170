//! The body of an error, whosever it is.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::DATE};
use serde_json::Value;

use super::{late::error_in, words};
use crate::header::duration;

/// No error is longer, and what may be is not parsed.
const MOST_BYTES: usize = 64 * 1024;
/// No word further in is looked at.
const MOST_WORDS: usize = 4 * 1024;

/// What an error says. Any part may be missing.
#[derive(Debug, Default)]
pub(super) struct Error {
    /// Its codes and types, the most telling one first.
    codes: Vec<String>,
    pub(super) message: Option<String>,
    /// The text in which words are looked for: the message, and what an upstream said.
    pub(super) words: Option<String>,
    pub(super) quota: Option<Quota>,
    pub(super) retry_delay: Option<Duration>,
    /// Headers that a proxy of many providers puts into the body.
    pub(super) headers: HeaderMap,
}

/// The period of a quota, by Google's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quota {
    Day,
    Other,
}

// ===== impl Error =====

impl Error {
    /// Reads `body`, parsed if that can be done, else searched for what is known.
    pub(super) fn read(body: &[u8], headers: &HeaderMap) -> Self {
        let parsed = (body.len() <= MOST_BYTES)
            .then(|| serde_json::from_slice::<Value>(body).ok())
            .flatten();
        let mut error = match parsed {
            Some(root) => Self::parsed(&root),
            None => Self::in_text(&String::from_utf8_lossy(
                &body[..body.len().min(MOST_BYTES)],
            )),
        };
        error.finish(headers);
        error
    }

    /// What a value says that has been found to be, or to have in it, an error.
    pub(super) fn of(root: &Value, headers: &HeaderMap) -> Self {
        let mut error = Self::parsed(root);
        error.finish(headers);
        error
    }

    fn finish(&mut self, headers: &HeaderMap) {
        if let Some(date) = headers.get(DATE) {
            self.headers.insert(DATE, date.clone());
        }
        if let Some(words) = &mut self.words {
            let end = (0..=MOST_WORDS.min(words.len()))
                .rev()
                .find(|end| words.is_char_boundary(*end));
            words.truncate(end.unwrap_or_default());
        }
    }

    pub(super) fn code(&self) -> Option<&str> {
        self.codes.first().map(String::as_str)
    }

    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().map(String::as_str)
    }

    pub(super) fn has_code(&self, is: impl Fn(&str) -> bool) -> bool {
        self.codes.iter().any(|code| is(code))
    }

    pub(super) fn says(&self, is: impl Fn(&str) -> bool) -> bool {
        self.words.as_deref().is_some_and(is)
    }

    pub(super) fn is_of_limits(&self) -> bool {
        self.quota.is_some()
            || self.retry_delay.is_some()
            || self.has_code(|code| words::is_money(code) || words::is_limit(code))
            || self.says(words::is_limit)
    }

    fn parsed(root: &Value) -> Self {
        // Google's comes in an array where the answer would have been a stream.
        let root = root.get(0).unwrap_or(root);
        let error = [root.pointer("/error"), root.pointer("/errors/0")]
            .into_iter()
            .flatten()
            .find(|error| error.is_object())
            .unwrap_or(root);
        let message = ["message", "error", "detail", "title"]
            .iter()
            .find_map(|name| string(error, name))
            .or_else(|| string(root, "error"))
            .or_else(|| root.as_str().map(str::to_owned));
        let upstream = error.pointer("/metadata/raw").and_then(Value::as_str);
        let words = [message.as_deref(), upstream];
        let mut this = Self {
            codes: codes(error),
            words: Some(words.into_iter().flatten().collect::<Vec<_>>().join("\n")),
            message,
            headers: carried(error),
            ..Self::default()
        };
        let details = error.get("details").and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            this.detail(detail);
        }
        this
    }

    /// A `QuotaFailure` or a `RetryInfo` of Google's.
    fn detail(&mut self, detail: &Value) {
        let violations = detail.get("violations").and_then(Value::as_array);
        for id in violations
            .into_iter()
            .flatten()
            .filter_map(|violation| violation.get("quotaId")?.as_str())
        {
            if self.quota != Some(Quota::Day) {
                self.quota = Some(quota(id));
            }
        }
        let delay = detail.get("retryDelay").and_then(Value::as_str);
        self.retry_delay = self.retry_delay.or_else(|| duration(delay?));
    }

    /// The last error of a stream of events; or else what can be found.
    fn in_text(text: &str) -> Self {
        let data = text
            .lines()
            .rev()
            .filter_map(|line| line.strip_prefix("data:"));
        let mut events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let error = events.find_map(|event| error_in(&event).map(Self::parsed));
        error.unwrap_or_else(|| Self::searched(text))
    }

    fn searched(text: &str) -> Self {
        // With its quotes: inside of a message these would be escaped.
        let codes = words::codes()
            .filter(|code| text.contains(&format!("\"{code}\"")))
            .map(str::to_owned);
        let is_prose = !text.trim_start().starts_with(['<', '{', '[']);
        let message = field(text, "message").or_else(|| is_prose.then(|| text.to_owned()));
        let id = field(text, "quotaId");
        Self {
            codes: codes.collect(),
            words: Some(message.clone().unwrap_or_else(|| text.to_owned())),
            message,
            // The names of further quotas are looked for too.
            quota: id.map(|_| quota(text)),
            retry_delay: field(text, "retryDelay").and_then(|delay| duration(&delay)),
            headers: HeaderMap::new(),
        }
    }
}

fn quota(id: &str) -> Quota {
    if id.contains("PerDay") {
        Quota::Day
    } else {
        Quota::Other
    }
}

/// All that may be a code; a number last, for it only repeats the status.
fn codes(error: &Value) -> Vec<String> {
    const PLACES: [&str; 10] = [
        "/code",
        "/innererror/code",
        "/metadata/provider_code",
        "/details/error_code",
        "/error_code",
        "/error_type",
        "/type",
        "/__type",
        "/status",
        "/status_code",
    ];
    let mut codes: Vec<String> = PLACES
        .iter()
        .filter_map(|place| match error.pointer(place)? {
            Value::String(code) => Some(code.clone()),
            Value::Number(code) => Some(code.to_string()),
            _ => None,
        })
        .filter(|code| !code.is_empty() && code != "error")
        .collect();
    codes.sort_by_key(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    codes
}

fn carried(error: &Value) -> HeaderMap {
    const MOST: usize = 32;
    let headers = error
        .pointer("/metadata/headers")
        .and_then(Value::as_object);
    let fields = headers.into_iter().flatten().take(MOST);
    fields
        .filter_map(|(name, value)| {
            let value = match value {
                Value::String(text) => HeaderValue::from_str(text),
                Value::Number(number) => HeaderValue::from_str(&number.to_string()),
                _ => return None,
            };
            Some((HeaderName::try_from(name.as_str()).ok()?, value.ok()?))
        })
        .collect()
}

fn string(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

/// The first string of that name in JSON that may be cut, even within that string.
fn field(text: &str, name: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("\"{name}\""))?;
    let value = after.trim_start().strip_prefix(':')?.trim_start();
    let mut strings = serde_json::Deserializer::from_str(value).into_iter::<String>();
    match strings.next() {
        Some(Ok(whole)) => Some(whole),
        _ => value.strip_prefix('"').map(str::to_owned),
    }
}
