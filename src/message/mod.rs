//! The little that the layers need to know of a request or response, whatever its type.

#[cfg(any(feature = "cache", feature = "provider"))]
mod peek_body;
#[cfg(feature = "provider")]
mod replace_body;
mod with_body;

use http::{Extensions, HeaderMap, Method, StatusCode};

#[cfg(any(feature = "cache", feature = "provider"))]
pub use self::peek_body::PeekBody;
#[cfg(feature = "provider")]
pub use self::replace_body::ReplaceBody;
#[cfg(all(feature = "provider", feature = "reqwest"))]
pub(crate) use self::replace_body::correct_length;
pub use self::with_body::{IntoHttp, WithBody};

/// A request that has a method, a URL and headers.
///
/// Implemented for [`http::Request`] and, with the feature `reqwest`, for `reqwest::Request`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait RequestHead {
    /// The request's method.
    fn method(&self) -> &Method;
    /// The request's headers.
    fn headers(&self) -> &HeaderMap;
    /// The request's headers, to change.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// The scheme of the request's URL, such as `https`. None unless told otherwise, or where the URL is a path alone.
    fn scheme(&self) -> Option<&str> {
        None
    }

    /// The path of the request's URL. Empty unless told otherwise.
    fn path(&self) -> &str {
        ""
    }

    /// What stands behind the `?` in the request's URL. None unless told otherwise.
    fn query(&self) -> Option<&str> {
        None
    }

    /// The host and port of the request's URL. None unless told otherwise, or where the URL is a path alone.
    fn authority(&self) -> Option<&str> {
        None
    }

    /// The request's extensions. The default returns `None`, as for `reqwest::Request`, whose
    /// extensions are private.
    fn extensions(&self) -> Option<&Extensions> {
        None
    }
}

/// A response that has a status, headers and extensions.
///
/// Implemented for [`http::Response`] and, with the feature `reqwest`, for `reqwest::Response`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait ResponseHead {
    /// The response's status.
    fn status(&self) -> StatusCode;
    /// The response's headers.
    fn headers(&self) -> &HeaderMap;
    /// The response's extensions.
    fn extensions(&self) -> &Extensions;
    /// The response's extensions, to add to.
    fn extensions_mut(&mut self) -> &mut Extensions;
}

/// A request, or a body, that can perhaps be sent a second time.
///
/// Implemented for [`http::Request`] with a body that implements it, for the bodies that hold all of their bytes, and,
/// with the feature of the same name, for `axum` bodies and `reqwest` requests.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait TryClone: Sized {
    /// A second one just like it, or `None` where there can't be one, as for a body that is streamed.
    fn try_clone(&self) -> Option<Self>;

    /// Whether this, which may be a clone that was made before the original was sent, is still all there. It is unless told
    /// otherwise; what was recorded of a body that streams may turn out not to be.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether this can be sent in place of the one that it is a clone of, which gets no further from now on.
    ///
    /// Asked when an attempt has failed and another one will be made later. The first one's connection may still be reading its
    /// body meanwhile, and what is [whole](TryClone::is_whole) now would not be any more. The same as `is_whole` unless told
    /// otherwise.
    fn take_over(&self) -> bool {
        self.is_whole()
    }
}

impl<B> RequestHead for http::Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn scheme(&self) -> Option<&str> {
        self.uri().scheme_str()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn query(&self) -> Option<&str> {
        self.uri().query()
    }

    fn authority(&self) -> Option<&str> {
        self.uri().authority().map(http::uri::Authority::as_str)
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }
}

impl<B> ResponseHead for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

impl<B: TryClone> TryClone for http::Request<B> {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        // Filled in where it stands: a request is large, and this is on the path of every one that may be repeated.
        let mut clone = self.body().try_clone().map(http::Request::new);
        if let Some(clone) = &mut clone {
            clone.method_mut().clone_from(self.method());
            clone.uri_mut().clone_from(self.uri());
            *clone.version_mut() = self.version();
            if !self.headers().is_empty() {
                clone.headers_mut().clone_from(self.headers());
            }
            if !self.extensions().is_empty() {
                clone.extensions_mut().clone_from(self.extensions());
            }
        }
        clone
    }

    #[inline]
    fn is_whole(&self) -> bool {
        self.body().is_whole()
    }

    #[inline]
    fn take_over(&self) -> bool {
        self.body().take_over()
    }
}

macro_rules! always_cloned {
    ($($body:ty),+ $(,)?) => {$(
        impl TryClone for $body {
            fn try_clone(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )+};
}

always_cloned!(
    (),
    bytes::Bytes,
    String,
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    std::sync::Arc<str>,
    std::sync::Arc<[u8]>,
    Box<str>,
    Box<[u8]>,
    &'static str,
    &'static [u8],
    Vec<u8>
);

impl<D: bytes::Buf + Clone> TryClone for http_body_util::Full<D> {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<D> TryClone for http_body_util::Empty<D> {
    fn try_clone(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<L: TryClone, R: TryClone> TryClone for http_body_util::Either<L, R> {
    fn try_clone(&self) -> Option<Self> {
        Some(match self {
            Self::Left(body) => Self::Left(body.try_clone()?),
            Self::Right(body) => Self::Right(body.try_clone()?),
        })
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Left(body) => body.is_whole(),
            Self::Right(body) => body.is_whole(),
        }
    }

    fn take_over(&self) -> bool {
        match self {
            Self::Left(body) => body.take_over(),
            Self::Right(body) => body.take_over(),
        }
    }
}

impl<T: TryClone> TryClone for Option<T> {
    fn try_clone(&self) -> Option<Self> {
        match self {
            Some(inside) => inside.try_clone().map(Some),
            None => Some(None),
        }
    }

    fn is_whole(&self) -> bool {
        self.as_ref().is_none_or(T::is_whole)
    }

    fn take_over(&self) -> bool {
        self.as_ref().is_none_or(T::take_over)
    }
}

/// `None` unless the body has ended already: nobody knows what is inside.
impl<D: bytes::Buf + 'static, E> TryClone for http_body_util::combinators::BoxBody<D, E> {
    fn try_clone(&self) -> Option<Self> {
        http_body::Body::is_end_stream(self).then(Self::default)
    }
}

/// `None` unless the body has ended already: nobody knows what is inside.
impl<D: bytes::Buf + 'static, E> TryClone for http_body_util::combinators::UnsyncBoxBody<D, E> {
    fn try_clone(&self) -> Option<Self> {
        http_body::Body::is_end_stream(self).then(Self::default)
    }
}
