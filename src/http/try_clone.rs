//! Requests and bodies that can be sent a second time.

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
    fn is_replayable(&self) -> bool {
        true
    }

    /// Whether this can be sent in place of the one that it is a clone of, which gets no further from now on.
    ///
    /// Asked when an attempt has failed and another one will be made later. The first one's connection may still be reading its
    /// body meanwhile, and what is [whole](TryClone::is_replayable) now would not be any more. The same as `is_replayable` unless told
    /// otherwise.
    fn claim(&self) -> bool {
        self.is_replayable()
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
