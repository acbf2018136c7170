//! Which requests are looked up, and which responses are cached.

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, RANGE, SET_COOKIE, VARY},
    response::Parts,
};
use tokio::time::Instant;

use super::{
    completions::is_completion,
    directives,
    directives::Directives,
    head::Head,
    json::Members,
    key::{CacheKey, KeyPolicy},
};
use crate::http::{PeekBody, RequestHead};

/// Cookies with which proxies tell bots from people and machines apart. They say nothing about the
/// client, and are not stored.
const PROXY_COOKIES: [&[u8]; 8] = [
    b"__cf_bm",
    b"_cfuvid",
    b"__cflb",
    b"AWSALB",
    b"AWSALBCORS",
    b"AWSALBTG",
    b"AWSALBTGCORS",
    b"GCLB",
];

/// The settings of the layer.
#[derive(Debug, Clone)]
pub(super) struct Policy {
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

/// What is looked up for a request.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) key: CacheKey,
    pub(super) method: Method,
    /// The age up to which a response is accepted, in seconds.
    pub(super) max_age: u64,
}

#[derive(Debug)]
pub(super) enum ResponseKind {
    /// It is shared, and stored if its body is sound.
    Cacheable(Arc<Head>),
    /// Its status is not cached. Another attempt may bring a response that is.
    Failure,
    /// It must not be shared.
    Private,
}

// ===== impl Policy =====

impl Policy {
    /// Returns `None` if the request is passed on as it is.
    pub(super) fn lookup<R: RequestHead + PeekBody>(&self, request: &R) -> Option<Lookup> {
        if ![Method::POST, Method::GET, Method::HEAD].contains(request.method())
            || !self.cacheable.includes(request)
        {
            return None;
        }
        let headers = request.headers();
        let directives = Directives::of_request(headers);
        if directives.no_store || is_partial(headers) {
            return None;
        }
        if self.deterministic_only && !is_deterministic(request) {
            return None;
        }
        let max_age = match directives.no_cache {
            true => 0,
            false => directives.max_age.unwrap_or(u64::MAX),
        };
        let key = self.key.key(request)?;
        let method = request.method().clone();
        Some(Lookup {
            key,
            method,
            max_age,
        })
    }

    /// Returns whether a request may join those that read a response with this head. A response
    /// that is not stored can be joined up to its end.
    pub(super) fn joins(&self, lookup: &Lookup, head: &Head) -> bool {
        let now = Instant::now();
        let is_fresh = self.ttl.is_zero() || head.fresh_for(now).is_some();
        is_fresh && head.age(now) <= lookup.max_age
    }

    /// `exact` is the length that the body tells.
    pub(super) fn kind(&self, parts: &Parts, exact: Option<u64>, method: &Method) -> ResponseKind {
        if !self.statuses.contains(&parts.status) {
            return ResponseKind::Failure;
        }
        let head = self.head(parts, exact, method);
        head.map_or(ResponseKind::Private, |head| {
            ResponseKind::Cacheable(Arc::new(head))
        })
    }

    /// Returns `None` if the response must not be shared.
    fn head(&self, parts: &Parts, exact: Option<u64>, method: &Method) -> Option<Head> {
        let headers = &parts.headers;
        let directives = Directives::read(headers);
        let mut cookies = headers.get_all(SET_COOKIE).iter();
        if directives.no_store
            || directives.private
            || self.varies(headers)
            || !cookies.all(is_proxy_cookie)
        {
            return None;
        }
        let has_body = method != Method::HEAD && parts.status != StatusCode::NO_CONTENT;
        let declared = declared_length(headers).filter(|_| has_body);
        let length = declared.or(exact);
        let is_too_long = length.is_some_and(|length| length > self.max_entry as u64);
        let is_wrong = exact.is_some_and(|exact| length != Some(exact));
        if is_too_long || is_wrong {
            return None;
        }
        let ttl = self.lifetime(directives, headers, method)?;
        Some(Head::new(parts, length, has_body, Instant::now(), ttl))
    }

    /// Returns `None` if the response must not be used again.
    fn lifetime(
        &self,
        directives: Directives,
        headers: &HeaderMap,
        method: &Method,
    ) -> Option<Duration> {
        if directives.no_cache {
            // Model APIs send it with every stream, for proxies that would buffer it.
            return (method == Method::POST).then_some(self.ttl);
        }
        let max_age = directives.s_maxage.or(directives.max_age);
        let Some(max_age) = max_age.or_else(|| directives::expires(headers)) else {
            return Some(self.ttl);
        };
        let left = max_age.saturating_sub(directives::age(headers));
        (left > 0).then(|| self.ttl.min(Duration::from_secs(left)))
    }

    /// Returns whether the response depends on more than the key.
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

/// Returns whether the request is for a part, or conditional.
fn is_partial(headers: &HeaderMap) -> bool {
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

fn is_proxy_cookie(cookie: &HeaderValue) -> bool {
    let name = cookie.as_bytes().split(|byte| *byte == b'=').next();
    name.is_some_and(|name| PROXY_COOKIES.contains(&name.trim_ascii()))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns whether the same response can be expected each time.
fn is_deterministic<R: RequestHead + PeekBody>(request: &R) -> bool {
    if request.method() != Method::POST || request.path().contains("embed") {
        return true;
    }
    request.peek(is_without_temperature) == Some(true)
}

/// Returns whether a temperature is given, wherever providers expect it, and is 0.
fn is_without_temperature(body: &[u8]) -> bool {
    const PLACES: [&str; 4] = [
        "generationConfig",
        "generation_config",
        "inferenceConfig",
        "options",
    ];
    let Some(body) = Members::of_body(body) else {
        return false;
    };
    let nested = PLACES
        .iter()
        .filter_map(|name| Members::read(body.get(name)?));
    let nested: Vec<_> = nested.collect();
    let objects = nested.iter().chain([&body]);
    let given = objects.filter_map(|object| object.get("temperature"));
    let mut given = given.filter(|value| *value != "null").peekable();
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
