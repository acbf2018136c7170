//! Parses error bodies of all known providers.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::DATE};

use super::{codes, shapes};
use crate::{
    http::headers::{duration::duration, encoding::is_compressed},
    payload::{in_band::error_in, json, json::Json},
};

/// No error is longer.
const MOST_BYTES: usize = 64 * 1024;
/// Further bytes of the message are ignored.
const MOST_CHARS: usize = 4 * 1024;

/// The names of messages, the most specific first.
const MESSAGES: &str = "message|msg|status_msg|error_msg|error|detail|title";
/// The places of codes and types, the most specific first.
const CODES: &str = "code|innererror/code|metadata/provider_code|details/error_code|error_code|\
    error_type|type|__type|status|status_code|finish_reason|finishReason";

/// The parts of an error. Any may be missing.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    /// Codes and types, the most specific first.
    pub(super) codes: Vec<String>,
    pub(super) message: Option<String>,
    /// The text that is searched for a wait: the message, also of an upstream provider.
    pub(super) text: String,
    /// The words of each code, and of each sentence of the text.
    pub(super) labels: Vec<String>,
    pub(super) sentences: Vec<String>,
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
        let most = MOST_BYTES * usize::from(!is_compressed(headers));
        let text = json::text(&body[..body.len().min(most)]);
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
        error.labels = error.codes.iter().map(|code| shapes::words(code)).collect();
        error.sentences = shapes::sentences(&error.text);
        error
    }

    /// Returns `true` if its message or one of its codes contains one of this group.
    pub(super) fn mentions(&self, group: &str) -> bool {
        let mut texts = self.labels.iter().chain(&self.sentences);
        texts.any(|text| shapes::has_any(text, group))
    }

    /// Returns `true` if it is about a limit, whatever its status.
    pub(super) fn is_of_limit(&self) -> bool {
        let is_told = self.is_daily.is_some() || self.retry_delay.is_some();
        is_told || self.mentions(codes::LIMIT) || shapes::is_day(&self.sentences, false)
    }

    /// Returns the status that one of its codes stands for: a number first.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let number = |code: &String| code.parse().ok().filter(|code| (400..600).contains(code));
        let number = self.codes.iter().find_map(number);
        let named = || self.codes.iter().find_map(|code| codes::status(code));
        StatusCode::from_u16(number.or_else(named)?).ok()
    }

    /// Parses a value that is or contains an error.
    fn of(root: Json<'_>) -> Self {
        let inside = ["error", "errors/*", "base_resp"].map(|path| root.at(path));
        let mut inside = inside.iter().filter_map(|values| values.first());
        let error = *inside.find(|error| error.is_object()).unwrap_or(&root);
        let string = |value: Json<'_>| value.as_str().map(Cow::into_owned);
        let message = MESSAGES
            .split('|')
            .find_map(|name| string(error.get(name)?))
            .or_else(|| string(root.get("error")?))
            .or_else(|| string(root));
        let strings = |path| error.at(path).into_iter().filter_map(string);
        let text = message.iter().cloned().chain(strings("metadata/raw"));
        let text = text.collect::<Vec<_>>().join("\n");
        let is_daily = strings("details/*/violations/*/quotaId").map(|id| id.contains("PerDay"));
        Self {
            codes: codes(error),
            text: text.chars().take(MOST_CHARS).collect(),
            message,
            is_daily: is_daily.reduce(|any, is_daily| any | is_daily),
            retry_delay: strings("details/*/retryDelay").find_map(|delay| duration(&delay)),
            headers: headers(error),
            ..Self::default()
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
            text: text.chars().take(MOST_CHARS).collect(),
            message: (!text.trim_start().starts_with('<')).then(|| text.to_owned()),
            ..Self::default()
        }
    }
}

/// Returns all possible codes; a number is last, since it only repeats the status.
fn codes(error: Json<'_>) -> Vec<String> {
    let values = CODES.split('|').flat_map(|place| error.at(place));
    let mut codes: Vec<_> = values
        .filter_map(string_or_number)
        .filter(|code| !code.is_empty() && !code.eq_ignore_ascii_case("error"))
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
            Some((HeaderName::try_from(&*name.as_str()?).ok()?, value))
        })
        .collect()
}

fn string_or_number(value: Json<'_>) -> Option<String> {
    let number = value.is_number().then(|| value.text().into());
    value.as_str().or(number).map(Cow::into_owned)
}
