//! Keys from a request: headers, extensions, closures, and several of these together.

use std::{any::type_name, marker::PhantomData};

use http::{HeaderMap, HeaderName, Request, header::AUTHORIZATION};

use super::{ClientKey, Key};

/// Counts all requests together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Global;

/// Key by API key, in a header of its own or as a bearer token. Only a [hash](ClientKey::secret) of
/// it is stored.
///
/// A request has no key if the header is empty or repeated. Clients can make up keys, each of which
/// has a new limit: reject unknown keys in an outer layer, or limit addresses as well.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiKey {
    header: HeaderName,
    is_bearer: bool,
    hash_key: Option<[u8; 32]>,
}

/// Key by a header that a proxy in front sets, such as `x-user-id`. Clients must not be able to set
/// it.
///
/// A request has no key if the header is empty or repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header(HeaderName);

/// Key by an extension of the request, which an outer layer inserts: `T` is `Into<ClientKey>`.
pub struct Extension<T>(PhantomData<fn() -> T>);

// ===== impl ApiKey =====

impl ApiKey {
    /// Creates a key from all of the header `name`, such as `x-api-key`.
    ///
    /// # Panics
    ///
    /// If `name` is not a header name in lower case.
    #[must_use]
    pub fn header(name: &'static str) -> Self {
        Self {
            header: HeaderName::from_static(name),
            is_bearer: false,
            hash_key: None,
        }
    }

    /// Creates a key from the token of `Authorization: Bearer ..`.
    #[must_use]
    pub const fn bearer() -> Self {
        Self {
            header: AUTHORIZATION,
            is_bearer: true,
            hash_key: None,
        }
    }

    /// Hashes with a secret of the server, so that keys that are short or known cannot be guessed
    /// from their hashes. Processes that share limits need the same secret.
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::key::{ApiKey, ClientKey, Key};
    ///
    /// let request = Request::get("/").header("x-pin", "1234").body(())?;
    /// let plain = ApiKey::header("x-pin");
    /// assert_eq!(plain.key(&request), Some(ClientKey::secret("1234")));
    /// let keyed = plain.clone().keyed("a secret of the server");
    /// assert_ne!(keyed.key(&request), plain.key(&request));
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn keyed(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.hash_key = Some(ClientKey::hash_key(secret.as_ref()));
        self
    }

    super::or!();

    fn find<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let value = only(headers, &self.header)?;
        if !self.is_bearer {
            return Some(value);
        }
        // The scheme is case-insensitive.
        let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
        let token = token.trim_ascii();
        (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
    }
}

crate::macros::debug!(impl Debug for ApiKey |self| {
    header: self.header,
    is_bearer: self.is_bearer,
    ..
});

// ===== impl Header =====

impl Header {
    /// Creates a key from the header `name`.
    ///
    /// # Panics
    ///
    /// If `name` is not a header name in lower case.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }

    super::or!();
}

// ===== impl Extension =====

impl<T> Extension<T> {
    /// Creates a key from the extension of type `T`.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    super::or!();
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Extension<T> {}

crate::macros::debug!(impl<T> Debug for Extension<T> |self| { of: type_name::<T>(), .. });

impl<T> Default for Extension<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the value of a header that is there once and is not empty.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes().trim_ascii();
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

impl<Request> Key<Request> for Global {
    fn key(&self, _: &Request) -> Option<ClientKey> {
        Some(ClientKey::EVERYONE)
    }
}

impl<B> Key<Request<B>> for ApiKey {
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        let secret = self.find(request.headers())?;
        Some(match &self.hash_key {
            Some(hash_key) => ClientKey::keyed(hash_key, secret),
            None => ClientKey::secret(secret),
        })
    }
}

impl<B> Key<Request<B>> for Header {
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        only(request.headers(), &self.0).map(ClientKey::name)
    }
}

impl<T, B> Key<Request<B>> for Extension<T>
where
    T: Into<ClientKey> + Clone + Send + Sync + 'static,
{
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        request.extensions().get::<T>().cloned().map(Into::into)
    }
}

impl<F, Request> Key<Request> for F
where
    F: Fn(&Request) -> Option<ClientKey>,
{
    fn key(&self, request: &Request) -> Option<ClientKey> {
        self(request)
    }
}

/// All keys of a tuple together are one key, which is missing if one of them is.
macro_rules! tuple {
    ($($K:ident),+) => {
        impl<Request, $($K: Key<Request>),+> Key<Request> for ($($K,)+) {
            fn key(&self, request: &Request) -> Option<ClientKey> {
                #[allow(non_snake_case, reason = "a key is named as its type")]
                let ($($K,)+) = self;
                Some(ClientKey::joined(&[$($K.key(request)?),+]))
            }

            fn lacks_peer(&self, request: &Request) -> bool {
                #[allow(non_snake_case, reason = "a key is named as its type")]
                let ($($K,)+) = self;
                $($K.lacks_peer(request))||+
            }
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
