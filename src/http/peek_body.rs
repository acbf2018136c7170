//! Access to the bytes of a body before it is sent or passed on.

use std::io::IoSlice;

use bytes::Buf;
use http_body_util::{Either, Empty, Full};

/// A request or a body whose bytes can be read before it is sent.
///
/// Implemented for [`http::Request`] with such a body, for bodies that are fully in memory, and,
/// with the feature of the same name, for `axum`, `hyper` and `reqwest` bodies and for `reqwest`
/// requests. Streaming bodies implement it and return `None`.
///
/// # Examples
///
/// ```
/// use http_body_util::Full;
/// use tower_throttle::body::PeekBody;
///
/// let request = http::Request::new(Full::new(&b"hello"[..]));
/// assert_eq!(request.peek(<[u8]>::len), Some(5));
/// ```
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate"
)]
pub trait PeekBody {
    /// Calls `look` with all bytes of the body. Returns `None` if the body is a stream.
    ///
    /// A missing body is empty. This takes a closure because some bodies, such as [`Full`], can't
    /// return a reference to their bytes.
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T>;
}

impl<B: PeekBody> PeekBody for http::Request<B> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.body().peek(look)
    }
}

impl PeekBody for () {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        Some(look(&[]))
    }
}

macro_rules! peeked_as_slice {
    ($($body:ty),+ $(,)?) => {$(
        impl PeekBody for $body {
            fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
                Some(look((**self).as_ref()))
            }
        }
    )+};
}

peeked_as_slice! {
    bytes::Bytes, String, &'static str, &'static [u8], Box<str>, Box<[u8]>, Vec<u8>,
    std::sync::Arc<str>, std::sync::Arc<[u8]>,
}

/// Clones the data, which is cheap for [`Bytes`](bytes::Bytes). Returns `None` if it is not
/// contiguous.
impl<D: Buf + Clone> PeekBody for Full<D> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self.clone().into_inner() {
            Some(data) if data.chunk().len() < data.remaining() => None,
            Some(data) => Some(look(data.chunk())),
            None => Some(look(&[])),
        }
    }
}

impl<D> PeekBody for Empty<D> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        Some(look(&[]))
    }
}

impl<L: PeekBody, R: PeekBody> PeekBody for Either<L, R> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Self::Left(body) => body.peek(look),
            Self::Right(body) => body.peek(look),
        }
    }
}

impl<B: PeekBody> PeekBody for Option<B> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Some(body) => body.peek(look),
            None => Some(look(&[])),
        }
    }
}

/// Passes the first `most` bytes of `data` to `look` piece by piece. Returns `true` if all of them
/// could be read.
pub(crate) fn each_slice<D: Buf>(data: &D, most: usize, mut look: impl FnMut(&[u8])) -> bool {
    let wanted = data.remaining().min(most);
    let chunk = data.chunk();
    if chunk.len() >= wanted {
        look(&chunk[..wanted]);
        return true;
    }
    let mut slices = [IoSlice::new(&[]); 16];
    let count = data.chunks_vectored(&mut slices);
    let mut seen = 0;
    for slice in &slices[..count] {
        let end = slice.len().min(wanted - seen);
        look(&slice[..end]);
        seen += end;
    }
    seen == wanted
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::*;

    fn seen<B: PeekBody>(body: &B) -> Option<Vec<u8>> {
        body.peek(<[u8]>::to_vec)
    }

    #[test]
    fn buffered_bodies_can_be_peeked() {
        let bytes = Some(b"abc".to_vec());
        assert_eq!(seen(&"abc"), bytes);
        assert_eq!(seen(&String::from("abc")), bytes);
        assert_eq!(seen(&Bytes::from("abc")), bytes);
        assert_eq!(seen(&&b"abc"[..]), bytes);
        assert_eq!(seen(&b"abc".to_vec()), bytes);
        assert_eq!(seen(&Box::<[u8]>::from(&b"abc"[..])), bytes);
        assert_eq!(seen(&std::sync::Arc::<[u8]>::from(&b"abc"[..])), bytes);
        assert_eq!(seen(&Box::<str>::from("abc")), bytes);
        assert_eq!(seen(&std::sync::Arc::<str>::from("abc")), bytes);
        assert_eq!(seen(&Full::new(Bytes::from("abc"))), bytes);
        assert_eq!(seen(&Some("abc")), bytes);
        assert_eq!(seen(&Either::<&str, ()>::Left("abc")), bytes);
        assert_eq!(seen(&http::Request::new("abc")), bytes);
    }

    #[test]
    fn missing_bodies_are_empty() {
        assert_eq!(seen(&()), Some(vec![]));
        assert_eq!(seen(&None::<String>), Some(vec![]));
        assert_eq!(seen(&Empty::<Bytes>::new()), Some(vec![]));
        assert_eq!(seen(&Full::<Bytes>::default()), Some(vec![]));
        assert_eq!(seen(&Empty::<Bytes>::new().boxed()), Some(vec![]));
        assert_eq!(seen(&Either::<&str, ()>::Right(())), Some(vec![]));
    }

    #[test]
    fn streams_cannot_be_peeked() {
        assert_eq!(seen(&Full::new(Bytes::from("abc")).boxed()), None);
        assert_eq!(seen(&Full::new(Bytes::from("abc")).boxed_unsync()), None);
        let pieces = Bytes::from("ab").chain(Bytes::from("c"));
        assert_eq!(seen(&Full::new(PiecesOf(pieces))), None);
    }

    /// `Chain` can't be cloned.
    struct PiecesOf(bytes::buf::Chain<Bytes, Bytes>);

    impl Clone for PiecesOf {
        fn clone(&self) -> Self {
            Self(self.0.first_ref().clone().chain(self.0.last_ref().clone()))
        }
    }

    impl Buf for PiecesOf {
        fn remaining(&self) -> usize {
            self.0.remaining()
        }

        fn chunk(&self) -> &[u8] {
            self.0.chunk()
        }

        fn advance(&mut self, count: usize) {
            self.0.advance(count);
        }
    }
}
