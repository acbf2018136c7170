//! Which requests are looked up, and which responses are cached.

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{CONTENT_LENGTH, RANGE, SET_COOKIE, VARY},
    response::Parts,
};
use tokio::time::Instant;

use super::{
    completions::is_completion,
    cookies::is_of_a_proxy,
    directives::{self, Directives},
    head::Head,
    json,
    key::{CacheKey, KeyPolicy},
};
use crate::{PeekBody, RequestHead};

/// What the layer was told.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) ttl: Duration,
    pub(super) max_entry: usize,
    pub(super) cacheable: Cacheable,
    pub(super) key: KeyPolicy,
    pub(super) statuses: Vec<StatusCode>,
    pub(super) deterministic_only: bool,
    pub(super) single_flight: bool,
}

/// Which requests the user wants to be cached.
#[derive(Clone)]
pub(super) enum Cacheable {
    Completions,
    Custom(Predicate),
}

type Predicate = Arc<dyn Fn(&dyn RequestHead) -> bool + Send + Sync>;

/// A request that may be answered from the cache.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) key: CacheKey,
    /// How old an answer it takes, in seconds.
    pub(super) max_age: u64,
}

/// What must be known of a request once its answer is there.
#[derive(Debug)]
pub(super) struct Asked {
    is_head: bool,
    is_safe: bool,
}

/// What becomes of an answer.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is shared, and kept if it ends well.
    Keep(Arc<Head>),
    /// It is not one of those that are kept; another attempt may bring one.
    Failure,
    /// It says itself that it must not be kept.
    Private,
}

// ===== impl Rules =====

impl Rules {
    /// `None` for a request that the cache has nothing to do with.
    pub(super) fn ask<R: RequestHead + PeekBody>(&self, request: &R) -> Option<Ask> {
        if ![Method::POST, Method::GET, Method::HEAD].contains(request.method()) {
            return None;
        }
        if !self.cacheable.includes(request) {
            return None;
        }
        let headers = request.headers();
        let directives = Directives::of_request(headers);
        if directives.no_store || asks_for_a_part(headers) {
            return None;
        }
        if self.deterministic_only && !is_deterministic(request) {
            return None;
        }
        let key = self.key.key(request)?;
        let max_age = match directives.no_cache {
            true => 0,
            false => directives.max_age.unwrap_or(u64::MAX),
        };
        Some(Ask { key, max_age })
    }

    /// Whether a request joins those that read an answer with this head: not where that is too old to be given again. Where nothing is
    /// given again, all are joined that have not ended.
    pub(super) fn joins(&self, ask: &Ask, head: &Head) -> bool {
        let now = Instant::now();
        let is_fresh = self.ttl.is_zero() || head.fresh_for(now).is_some();
        is_fresh && head.age(now) <= ask.max_age
    }

    pub(super) fn judge(&self, parts: &Parts, asked: &Asked) -> Verdict {
        match self.statuses.contains(&parts.status) {
            true => self.keep(parts, asked),
            false => Verdict::Failure,
        }
    }

    fn keep(&self, parts: &Parts, asked: &Asked) -> Verdict {
        let headers = &parts.headers;
        let directives = Directives::read(headers);
        if directives.no_store || directives.private || self.varies(headers) {
            return Verdict::Private;
        }
        let mut cookies = headers.get_all(SET_COOKIE).iter();
        if !cookies.all(is_of_a_proxy) {
            return Verdict::Private;
        }
        let has_body = !asked.is_head && parts.status != StatusCode::NO_CONTENT;
        let length = declared_length(headers).filter(|_| has_body);
        if length.is_some_and(|length| length > self.max_entry as u64) {
            return Verdict::Private;
        }
        let Some(ttl) = self.fresh_for(directives, headers, asked) else {
            return Verdict::Private;
        };
        let now = Instant::now();
        Verdict::Keep(Arc::new(Head::new(parts, length, has_body, now, ttl)))
    }

    /// How long an answer may be used, or `None` where it says that it must not be.
    fn fresh_for(&self, said: Directives, headers: &HeaderMap, asked: &Asked) -> Option<Duration> {
        if said.no_cache {
            // Servers of AI say so of every stream, and mean proxies that would hold it up.
            return (!asked.is_safe).then_some(self.ttl);
        }
        let Some(max_age) = said
            .s_maxage
            .or(said.max_age)
            .or_else(|| directives::expires(headers))
        else {
            return Some(self.ttl);
        };
        let left = max_age.saturating_sub(directives::age(headers));
        (left > 0).then(|| self.ttl.min(Duration::from_secs(left)))
    }

    /// Whether the response depends on more than what is part of the key.
    fn varies(&self, headers: &HeaderMap) -> bool {
        let mut lists = headers.get_all(VARY).iter();
        lists.any(|list| {
            let mut names = list.as_bytes().split(|byte| *byte == b',');
            names.any(|name| match HeaderName::from_bytes(name.trim_ascii()) {
                Ok(name) => name == "*" || !self.key.includes(&name),
                Err(_) => !name.trim_ascii().is_empty(),
            })
        })
    }
}

// ===== impl Cacheable =====

impl Cacheable {
    fn includes<R: RequestHead + PeekBody>(&self, request: &R) -> bool {
        match self {
            Self::Completions => is_completion(request),
            Self::Custom(predicate) => predicate(request),
        }
    }
}

impl fmt::Debug for Cacheable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completions => "Completions",
            Self::Custom(_) => "Custom",
        })
    }
}

// ===== impl Asked =====

impl Asked {
    pub(super) fn new<R: RequestHead>(request: &R) -> Self {
        Self {
            is_head: request.method() == Method::HEAD,
            is_safe: request.method() != Method::POST,
        }
    }
}

/// Such a request's answer may be a 206 or a 304, which say nothing to others.
fn asks_for_a_part(headers: &HeaderMap) -> bool {
    use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
    [
        RANGE,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the same answer is to be expected each time.
fn is_deterministic<R: RequestHead + PeekBody>(request: &R) -> bool {
    if request.method() != Method::POST || request.path().contains("embed") {
        return true;
    }
    request.peek(is_without_temperature) == Some(true)
}

/// Whether a temperature is given, in whatever place providers have for it, and all are 0.
fn is_without_temperature(body: &[u8]) -> bool {
    const PLACES: [&str; 4] = [
        "generationConfig",
        "generation_config",
        "inferenceConfig",
        "options",
    ];
    let Some(members) = json::members(body) else {
        return false;
    };
    let nested = PLACES.iter().filter_map(|name| members.get(*name));
    let nested: Vec<_> = nested
        .filter_map(|object| json::members(object.get().as_bytes()))
        .collect();
    let objects = nested.iter().chain([&members]);
    let given = objects.filter_map(|object| object.get("temperature"));
    let mut given = given
        .map(|value| value.get())
        .filter(|v| *v != "null")
        .peekable();
    given.peek().is_some() && given.all(|value| value.parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_a_temperature_of_zero_is_deterministic() {
        let table: &[(&'static str, bool)] = &[
            (r#"{"temperature": 0}"#, true),
            (r#"{"temperature": 0.0, "x": {"temperature": 1}}"#, true),
            (r#"{"generationConfig": {"temperature": 0}}"#, true),
            (r#"{"generation_config": {"temperature": 0}}"#, true),
            (r#"{"inferenceConfig": {"temperature": 0}}"#, true),
            (r#"{"options": {"temperature": 0}}"#, true),
            (
                r#"{"temperature": 0, "options": {"temperature": 1}}"#,
                false,
            ),
            (r#"{"temperature": 0.1}"#, false),
            (r#"{"temperature": null}"#, false),
            (r#"{"temperature": "0"}"#, false),
            (r#"{"temperature": 1, "temperature": 0}"#, false),
            ("{}", false),
            ("", false),
            ("temperature 0", false),
        ];
        for (body, expected) in table {
            let request = Request::post("/v1/messages").body(*body).unwrap();
            assert_eq!(is_deterministic(&request), *expected, "{body}");
        }
        let embedding = Request::post("/v1/embeddings").body("{}").unwrap();
        assert!(is_deterministic(&embedding));
        assert!(is_deterministic(
            &Request::get("/v1/models").body("").unwrap()
        ));
    }
}
