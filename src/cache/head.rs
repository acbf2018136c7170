//! The head of an answer, as it is kept.

use std::time::Duration;

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header::SET_COOKIE,
    response::Parts,
};
use tokio::time::Instant;

use super::directives;

/// What a header costs beside its text.
const FIELD: usize = 64;

/// Of one connection, and not of the answer (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[derive(Debug)]
pub(super) struct Head {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    extensions: Extensions,
    /// Of the body, where it is told.
    pub(super) length: Option<u64>,
    /// Whether there may be one.
    pub(super) has_body: bool,
    born: Instant,
    /// How old it was then, in seconds.
    age: u64,
    /// Never, where that is past all time.
    expires: Option<Instant>,
}

// ===== impl Head =====

impl Head {
    pub(super) fn new(
        parts: &Parts,
        length: Option<u64>,
        has_body: bool,
        now: Instant,
        ttl: Duration,
    ) -> Self {
        Self {
            status: parts.status,
            version: parts.version,
            headers: own(&parts.headers),
            extensions: parts.extensions.clone(),
            length,
            has_body,
            born: now,
            age: directives::age(&parts.headers),
            expires: now.checked_add(ttl),
        }
    }

    /// A response with this head.
    pub(super) fn respond<B>(&self, body: B) -> http::Response<B> {
        let mut response = http::Response::new(body);
        *response.status_mut() = self.status;
        *response.version_mut() = self.version;
        response.headers_mut().clone_from(&self.headers);
        response.extensions_mut().clone_from(&self.extensions);
        response
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn age(&self, now: Instant) -> u64 {
        let here = now.saturating_duration_since(self.born).as_secs();
        self.age.saturating_add(here)
    }

    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.born > other.born
    }

    /// Whether it was no older than so many seconds when it came, for those who had waited for it.
    pub(super) const fn was_young(&self, max_age: u64) -> bool {
        self.age <= max_age
    }

    /// How long it may still be used, if it may be.
    pub(super) fn fresh_for(&self, now: Instant) -> Option<Duration> {
        match self.expires {
            None => Some(Duration::MAX),
            Some(expires) => expires.checked_duration_since(now).filter(|d| !d.is_zero()),
        }
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + size_of_headers(&self.headers)
    }
}

pub(super) fn size_of_headers(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum()
}

/// A copy that keeps nothing else alive: a value may be a slice of all that its connection has read.
pub(super) fn own(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all("connection");
    let is_named = |name: &HeaderName| {
        let mut lists = named.iter().map(HeaderValue::as_bytes);
        lists.any(|list| {
            let mut names = list.split(|byte| *byte == b',');
            names.any(|listed| {
                listed
                    .trim_ascii()
                    .eq_ignore_ascii_case(name.as_str().as_bytes())
            })
        })
    };
    let mut owned = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // A cookie that was let through is one of a proxy, and for the first caller alone.
        if HOP_BY_HOP.contains(&name.as_str()) || is_named(name) || name == SET_COOKIE {
            continue;
        }
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            owned.append(name, copy);
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
