//! The head of a cached response.

use std::{collections::HashSet, time::Duration};

use http::{
    HeaderMap, HeaderValue,
    header::{CONNECTION, SET_COOKIE},
    response::Parts,
};
use tokio::time::Instant;

use crate::http::{
    ResponseUrl,
    headers::{date::age, list},
};

/// What a name costs besides its text: a place in the hash table of a map, and an index of it.
const NAME: usize = 112;
/// What a value costs besides its text, with an allocation.
const VALUE: usize = 32;
/// What each further value of a name costs in addition, in a vector that has grown.
const EXTRA: usize = 2 * 72;

/// Headers of a connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: &str = "connection|keep-alive|proxy-authenticate|proxy-connection|te|trailer|\
    transfer-encoding|upgrade";

pub(super) struct CachedHead {
    /// Without extensions: it is unknown what they hold, and how much of it.
    pub(super) response: http::Response<()>,
    /// Of a response that has one.
    url: Option<ResponseUrl>,
    /// Of the body, if it is known.
    pub(super) length: Option<u64>,
    /// Whether there may be a body.
    pub(super) has_body: bool,
    pub(super) born: Instant,
    /// The age when the response arrived, in seconds.
    age: u64,
    /// `None` if that is beyond what an instant can hold.
    expires: Option<Instant>,
}

// ===== impl CachedHead =====

impl CachedHead {
    pub(super) fn new(parts: &Parts, length: Option<u64>, has_body: bool, ttl: Duration) -> Self {
        let now = Instant::now();
        let mut response = http::Response::new(());
        *response.status_mut() = parts.status;
        *response.version_mut() = parts.version;
        *response.headers_mut() = own(&parts.headers);
        Self {
            response,
            url: parts.extensions.get().cloned(),
            length,
            has_body,
            born: now,
            age: age(&parts.headers).as_secs(),
            expires: now.checked_add(ttl),
        }
    }

    /// Returns a response with this head.
    pub(super) fn respond<B>(&self, body: B) -> http::Response<B> {
        let mut response = self.response.clone().map(|()| body);
        if let Some(url) = &self.url {
            response.extensions_mut().insert(url.clone());
        }
        response
    }

    pub(super) fn age(&self, now: Instant) -> u64 {
        let here = now.saturating_duration_since(self.born).as_secs();
        self.age.saturating_add(here)
    }

    /// Returns whether the response was not older than so many seconds when it came.
    pub(super) const fn was_young(&self, max_age: u64) -> bool {
        self.age <= max_age
    }

    /// Returns how long the response can still be used.
    pub(super) fn fresh_for(&self, now: Instant) -> Option<Duration> {
        match self.expires {
            None => Some(Duration::MAX),
            Some(expires) => expires.checked_duration_since(now).filter(|d| !d.is_zero()),
        }
    }

    pub(super) fn size(&self) -> usize {
        let url = self.url.as_ref().map_or(0, |url| url.size);
        size_of::<Self>() + size_of_headers(self.response.headers()) + url
    }
}

pub(super) fn size_of_headers(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    let text = lines.map(|(name, value)| name.as_str().len() + value.len() + VALUE);
    let extra = headers.len() - headers.keys_len();
    text.sum::<usize>() + headers.capacity() * NAME + extra * EXTRA
}

/// Returns a copy without headers of the connection. It keeps nothing else alive: a value may be a
/// slice of all that a connection has read.
pub(super) fn own(headers: &HeaderMap) -> HeaderMap {
    let named = list(headers, &CONNECTION).map(<[u8]>::to_ascii_lowercase);
    let named: HashSet<_> = named.collect();
    let is_of_connection = |name: &str| {
        named.contains(name.as_bytes()) || HOP_BY_HOP.split('|').any(|known| known == name)
    };
    // By names: a map has a limit of names, and none of values.
    let mut owned = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        // The cookies of a proxy are for the first client.
        if is_of_connection(name.as_str()) || name == SET_COOKIE {
            continue;
        }
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            // There is room, since all names fitted into a map.
            let _ = owned.try_append(name, copy);
        }
    }
    owned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_is_not_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("transfer-encoding", "chunked"),
            ("x-hop", "1"),
            ("x-end", "2"),
            ("x-end", "3"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let owned = own(&headers);
        assert_eq!(owned.len(), 2);
        assert_eq!(owned.get_all("x-end").iter().count(), 2);
    }

    #[test]
    fn a_value_does_not_keep_what_it_was_cut_from() {
        let read = bytes::Bytes::from(vec![b'x'; 100_000]);
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_maybe_shared(read.slice(..10)).unwrap();
        headers.insert("x-end", value);
        let owned = own(&headers);
        drop(headers);
        assert!(read.is_unique());
        assert_eq!(owned["x-end"], "xxxxxxxxxx");
    }
}
