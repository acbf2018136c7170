//! Which requests are looked up, and which responses are cached.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, RANGE, SET_COOKIE, VARY},
    response::Parts,
};
use tokio::time::Instant;

use super::{
    coalesce::CloseReason,
    completions::is_model_endpoint,
    directives::{Directives, expires},
    head::CachedHead,
    key::{CacheKey, KeyPolicy},
    store::Store,
};
use crate::{
    http::{
        PeekBody, RequestHead,
        headers::{date::age, list},
    },
    sync::Ordering,
};

/// Cookies with which proxies tell bots from people and machines apart. They say nothing about the
/// client, and are not stored.
const PROXY_COOKIES: &str = "__cf_bm|_cfuvid|__cflb|AWSALB|AWSALBCORS|AWSALBTG|AWSALBTGCORS|GCLB";

/// The settings of the layer.
#[derive(Clone)]
pub(super) struct CachePolicy {
    pub(super) ttl: Duration,
    pub(super) max_entry: usize,
    /// Which requests are cached. `None`: completions.
    pub(super) cacheable: Option<Predicate>,
    pub(super) key: KeyPolicy,
    pub(super) statuses: Vec<StatusCode>,
    pub(super) single_flight: bool,
}

pub(super) type Predicate = Arc<dyn Fn(&dyn RequestHead) -> bool + Send + Sync>;

/// What is looked up for a request.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) policy: Arc<CachePolicy>,
    pub(super) store: Arc<Store>,
    /// A number for the request. Newer requests have higher ones.
    pub(super) id: u64,
    pub(super) key: CacheKey,
    pub(super) method: Method,
    /// The age up to which a response is accepted, in seconds.
    pub(super) max_age: u64,
    /// Why the inner service is called, as `Cache-Status` says it.
    pub(super) why: &'static str,
}

// ===== impl CachePolicy =====

impl CachePolicy {
    /// Returns `None` if the request is passed on as it is.
    pub(super) fn lookup<R: RequestHead + PeekBody>(
        self: &Arc<Self>,
        store: &Arc<Store>,
        request: &R,
    ) -> Option<Lookup> {
        let (method, headers) = (request.method(), request.headers());
        let directives = Directives::of_request(headers);
        let is_cacheable = [Method::POST, Method::GET, Method::HEAD].contains(method)
            && match &self.cacheable {
                Some(predicate) => predicate(request),
                None => is_model_endpoint(request),
            };
        if !is_cacheable || directives.no_store || is_partial(headers) {
            return None;
        }
        let max_age = directives.max_age.unwrap_or(u64::MAX);
        Some(Lookup {
            policy: self.clone(),
            store: store.clone(),
            id: store.requests.fetch_add(1, Ordering::Relaxed),
            key: self.key.key(request, self.cacheable.is_none())?,
            method: method.clone(),
            max_age: if directives.no_cache { 0 } else { max_age },
            why: "miss",
        })
    }

    /// Returns whether the response depends on more than the key.
    fn varies(&self, headers: &HeaderMap) -> bool {
        list(headers, &VARY).any(|name| match HeaderName::from_bytes(name) {
            Ok(name) => name == "*" || !self.key.includes(&name),
            Err(_) => !name.is_empty(),
        })
    }
}

crate::macros::debug!(impl Debug for CachePolicy |self| { ttl, max_entry, .. });

// ===== impl Lookup =====

impl Lookup {
    /// Returns the head of a response that is shared, and stored if its body is sound. `exact` is
    /// the length that the body tells.
    pub(super) fn head(
        &self,
        parts: &Parts,
        exact: Option<u64>,
    ) -> Result<CachedHead, CloseReason> {
        let policy = &self.policy;
        if !policy.statuses.contains(&parts.status) {
            return Err(CloseReason::Failed);
        }
        let headers = &parts.headers;
        let directives = Directives::read(headers);
        let has_body = self.method != Method::HEAD && parts.status != StatusCode::NO_CONTENT;
        let declared = headers.get(CONTENT_LENGTH).filter(|_| has_body);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = declared.or(exact);
        let is_too_long = length.is_some_and(|length| length > policy.max_entry as u64);
        let is_wrong = exact.is_some_and(|exact| length != Some(exact));
        let mut cookies = headers.get_all(SET_COOKIE).iter();
        let is_private = directives.no_store
            || directives.private
            || policy.varies(headers)
            || !cookies.all(is_proxy_cookie);
        let ttl = self.lifetime(directives, headers);
        let ttl = ttl.filter(|_| !(is_private || is_too_long || is_wrong));
        let ttl = ttl.ok_or(CloseReason::Private)?;
        Ok(CachedHead::new(parts, length, has_body, ttl))
    }

    /// Returns `None` if the response must not be used again.
    fn lifetime(&self, directives: Directives, headers: &HeaderMap) -> Option<Duration> {
        let ttl = self.policy.ttl;
        let mut max_age = directives.s_maxage.or(directives.max_age);
        if !directives.no_cache {
            max_age = max_age.or_else(|| expires(headers));
        } else if self.method != Method::POST {
            return None;
        }
        // Model APIs send `no-cache` with every stream, for proxies that would buffer it.
        let Some(max_age) = max_age else {
            return Some(ttl);
        };
        let left = max_age.saturating_sub(age(headers).as_secs());
        (left > 0).then(|| ttl.min(Duration::from_secs(left)))
    }

    /// Returns whether the request may join the readers of a response with this head. A response
    /// that is not stored can be joined up to its end.
    pub(super) fn accepts(&self, head: &CachedHead) -> bool {
        let now = Instant::now();
        let is_fresh = self.policy.ttl.is_zero() || head.fresh_for(now).is_some();
        is_fresh && head.age(now) <= self.max_age
    }
}

/// Returns whether the request is for a part, or conditional.
fn is_partial(headers: &HeaderMap) -> bool {
    let mut names = headers.keys();
    names.any(|name| name == RANGE || name.as_str().starts_with("if-"))
}

fn is_proxy_cookie(cookie: &HeaderValue) -> bool {
    let name = cookie.as_bytes().split(|byte| *byte == b'=').next();
    let is = |known: &str| name.is_some_and(|name| name.trim_ascii() == known.as_bytes());
    PROXY_COOKIES.split('|').any(is)
}
