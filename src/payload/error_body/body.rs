//! Parses error bodies of all known providers.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::DATE};

use super::{codes, in_band::error_in};
use crate::{
    http::headers::{duration, is_compressed},
    payload::json::Json,
};

/// No error is longer.
const MOST_BYTES: usize = 64 * 1024;
/// Further bytes of the message are ignored.
const MOST_WORDS: usize = 4 * 1024;

/// The parts of an error. Any may be missing.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    /// Codes and types, the most specific first.
    pub(super) codes: Vec<String>,
    pub(super) message: Option<String>,
    /// The text that is searched for words: the message, also of an upstream provider.
    pub(super) words: String,
    /// Whether a named quota is daily.
    pub(super) is_daily: Option<bool>,
    pub(super) retry_delay: Option<Duration>,
    /// Headers that a gateway puts into the body.
    pub(super) headers: HeaderMap,
}

// ===== impl ErrorBody =====

impl ErrorBody {
    /// Parses a body, which may be empty, truncated, or not JSON. A compressed body counts as
    /// empty.
    pub(super) fn read(body: &[u8], headers: &HeaderMap) -> Self {
        let most = if is_compressed(headers) {
            0
        } else {
            MOST_BYTES
        };
        let text = String::from_utf8_lossy(&body[..body.len().min(most)]);
        let mut error = if text.trim_start().starts_with(['{', '[', '"']) {
            let root = Json::lenient(&text);
            // Google sends an array if the response would have been a stream.
            let first = || root.elements().next().unwrap_or(root);
            Self::of(error_in(root).unwrap_or_else(first))
        } else {
            Self::of_text(&text)
        };
        if let Some(date) = headers.get(DATE) {
            error.headers.insert(DATE, date.clone());
        }
        error
    }

    /// Returns `true` if one of its codes contains one of these words.
    pub(super) fn has_code(&self, words: &[&str]) -> bool {
        self.codes.iter().any(|code| codes::has_any(code, words))
    }

    /// Returns `true` if its message contains one of these words.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        codes::has_any(&self.words, words)
    }

    /// Returns `true` if its message or one of its codes contains one of these words.
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        self.says(words) || self.has_code(words)
    }

    pub(super) fn is_of_limits(&self) -> bool {
        self.is_daily.is_some()
            || self.retry_delay.is_some()
            || self.has_code(codes::MONEY_CODES)
            || self.mentions(codes::LIMIT_WORDS)
    }

    /// Parses a value that is or contains an error.
    fn of(root: Json<'_>) -> Self {
        let inside = ["error", "errors/*"].map(|path| root.at(path));
        let mut inside = inside.iter().filter_map(|values| values.first());
        let error = *inside.find(|error| error.is_object()).unwrap_or(&root);
        let message = ["message", "error", "detail", "title"]
            .iter()
            .find_map(|name| string(error.get(name)?))
            .or_else(|| string(root.get("error")?))
            .or_else(|| string(root));
        let upstream = error.at("metadata/raw").into_iter().find_map(string);
        let words = [message.as_deref(), upstream.as_deref()];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join("\n");
        let strings = |path| error.at(path).into_iter().filter_map(string);
        let is_daily = strings("details/*/violations/*/quotaId").map(|id| id.contains("PerDay"));
        Self {
            codes: codes(error),
            words: words.chars().take(MOST_WORDS).collect(),
            message,
            is_daily: is_daily.reduce(|any, is_daily| any | is_daily),
            retry_delay: strings("details/*/retryDelay").find_map(|delay| duration(&delay)),
            headers: headers(error),
        }
    }

    /// Parses the last error of an event stream, or else what can be found.
    fn of_text(text: &str) -> Self {
        let data = text
            .lines()
            .rev()
            .filter_map(|line| line.strip_prefix("data:"));
        let error = data.map(Json::lenient).find_map(error_in);
        error.map_or_else(|| Self::of_prose(text), Self::of)
    }

    fn of_prose(text: &str) -> Self {
        let quoted = text.split('"').skip(1);
        Self {
            codes: quoted
                .filter(|text| codes::is_code(text))
                .map(str::to_owned)
                .collect(),
            words: text.chars().take(MOST_WORDS).collect(),
            message: (!text.trim_start().starts_with('<')).then(|| text.to_owned()),
            ..Self::default()
        }
    }
}

/// Returns all possible codes; a number is last, since it only repeats the status.
fn codes(error: Json<'_>) -> Vec<String> {
    const PLACES: [&str; 10] = [
        "code",
        "innererror/code",
        "metadata/provider_code",
        "details/error_code",
        "error_code",
        "error_type",
        "type",
        "__type",
        "status",
        "status_code",
    ];
    let values = PLACES.iter().flat_map(|place| error.at(place));
    let mut codes: Vec<_> = values
        .filter_map(string_or_number)
        .filter(|code| !code.is_empty() && code != "error")
        .collect();
    codes.sort_by_key(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    codes
}

fn headers(error: Json<'_>) -> HeaderMap {
    const MOST: usize = 32;
    let headers = error.at("metadata/headers").into_iter();
    let fields = headers.flat_map(Json::members).take(MOST);
    fields
        .filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&string_or_number(value)?).ok()?;
            Some((HeaderName::try_from(string(name)?).ok()?, value))
        })
        .collect()
}

fn string_or_number(value: Json<'_>) -> Option<String> {
    string(value).or_else(|| value.is_number().then(|| value.text().to_owned()))
}

/// Returns a string, or its raw text if it is truncated or invalid.
fn string(value: Json<'_>) -> Option<String> {
    let written = value.text().strip_prefix('"')?;
    Some(
        value
            .as_str()
            .map_or_else(|| written.to_owned(), Cow::into_owned),
    )
}
