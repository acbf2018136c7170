//! Requests and bodies that can be sent again.

use crate::http::body_macros::stream_body;

/// A request or a body that may be cloned to be sent again.
///
/// Implemented for [`http::Request`] with such a body, for bodies that are fully in memory, and,
/// with the feature of the same name, for `axum` bodies and `reqwest` requests.
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate",
    note = "`ReplayLayer` outside of a retry or fallback records any other body, so that it can be \
            cloned"
)]
pub trait TryClone: Sized {
    /// Returns a clone, or `None` if there can't be one, as for a streaming body.
    fn try_clone(&self) -> Option<Self>;

    /// Returns `true` if this clone, which may have been made before the original was sent, is
    /// still complete. A recorded stream may turn out to be incomplete. The default returns `true`.
    fn is_replayable(&self) -> bool {
        true
    }

    /// Claims this clone to be sent in place of its original, which can't make progress afterwards.
    /// Returns `false` if that is impossible.
    ///
    /// Called when an attempt has failed and another one follows later. Otherwise the first
    /// attempt's connection might still read its body, and a clone that is
    /// [replayable](TryClone::is_replayable) now would no longer be. The default returns
    /// `is_replayable`.
    fn claim(&self) -> bool {
        self.is_replayable()
    }
}

impl<B: TryClone> TryClone for http::Request<B> {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        // Built in place: a request is large, and this runs for every one that may be retried.
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
    fn is_replayable(&self) -> bool {
        self.body().is_replayable()
    }

    #[inline]
    fn claim(&self) -> bool {
        self.body().claim()
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

always_cloned! {
    (), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64,
    bytes::Bytes, String, &'static str, &'static [u8], Box<str>, Box<[u8]>, Vec<u8>,
    std::sync::Arc<str>, std::sync::Arc<[u8]>,
}

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

    fn is_replayable(&self) -> bool {
        match self {
            Self::Left(body) => body.is_replayable(),
            Self::Right(body) => body.is_replayable(),
        }
    }

    fn claim(&self) -> bool {
        match self {
            Self::Left(body) => body.claim(),
            Self::Right(body) => body.claim(),
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

    fn is_replayable(&self) -> bool {
        self.as_ref().is_none_or(T::is_replayable)
    }

    fn claim(&self) -> bool {
        self.as_ref().is_none_or(T::claim)
    }
}

stream_body!([D: bytes::Buf + 'static, E] http_body_util::combinators::BoxBody<D, E>);
stream_body!([D: bytes::Buf + 'static, E] http_body_util::combinators::UnsyncBoxBody<D, E>);
