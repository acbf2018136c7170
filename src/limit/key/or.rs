//! A key with an alternative.

use super::{ClientKey, Key};

/// Key by `A`, or by `B` if a request has no `A`.
///
/// ```
/// use tower_throttle::{Quota, TokenBucketLayer, key};
///
/// // By API key, and by address if a request has none.
/// let layer = TokenBucketLayer::new(Quota::per_second(5))
///     .per(key::ApiKey::bearer().or(key::PeerIp))
///     .respond();
/// # let _ = layer;
/// ```
///
/// Clients choose which of the two counts, so `B` should be a key that they cannot make up. A
/// closure has no method `or`, and calls the second key:
/// `|request: &_| mine(request).or_else(|| PeerIp.key(request))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Or<A, B> {
    pub(super) first: A,
    pub(super) second: B,
}

/// The method `or` of a key. A method of the trait would have to know the type of the request.
macro_rules! or {
    () => {
        /// Returns a key by this one, or by `other` if a request has no key.
        #[must_use]
        pub fn or<K>(self, other: K) -> $crate::limit::key::Or<Self, K> {
            $crate::limit::key::Or {
                first: self,
                second: other,
            }
        }
    };
}

pub(super) use or;

// ===== impl Or =====

impl<A, B> Or<A, B> {
    or!();
}

impl<Request, A: Key<Request>, B: Key<Request>> Key<Request> for Or<A, B> {
    fn key(&self, request: &Request) -> Option<ClientKey> {
        let first = self.first.key(request);
        first.or_else(|| self.second.key(request))
    }

    fn lacks_peer(&self, request: &Request) -> bool {
        self.first.lacks_peer(request) || self.second.lacks_peer(request)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, Header, PeerAddr, PeerIp};
    use super::*;

    #[test]
    fn the_second_key_counts_if_there_is_no_first() {
        let key = ApiKey::bearer().or(Header::new("x-user")).or(PeerIp);
        let mut request = http::Request::new(());
        assert_eq!(key.key(&request), None);
        assert!(key.lacks_peer(&request));
        let peer = PeerAddr(([192, 0, 2, 7], 1).into());
        request.extensions_mut().insert(peer);
        let of = |request: &http::Request<()>| key.key(request).unwrap();
        assert_eq!(of(&request).to_string(), "192.0.2.7");
        let ann = http::HeaderValue::from_static("ann");
        request.headers_mut().insert("x-user", ann);
        assert_eq!(of(&request), ClientKey::name("ann"));
        let token = http::HeaderValue::from_static("Bearer t");
        request.headers_mut().insert("authorization", token);
        assert_eq!(of(&request), ClientKey::secret("t"));
    }
}
