//! A body as it came, whatever its type was.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;

use crate::BoxError;

pub(super) type Original = UnsyncBoxBody<Bytes, BoxError>;

/// What a body must be that several requests read, of whatever services.
pub(super) trait Shareable: Body<Error: Into<BoxError>> + Send + 'static {}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Shareable for B {}

pin_project! {
    struct Plain<B> {
        #[pin]
        body: B,
    }
}

pub(super) fn erase<B: Shareable>(body: B) -> Original {
    UnsyncBoxBody::new(Plain { body })
}

// ===== impl Plain =====

impl<B: Shareable> Body for Plain<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        // Nothing is copied of what are `Bytes` already.
        let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.map_data(bytes)),
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
