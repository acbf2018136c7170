use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{opening::Opened, refusal::TextBody};

pin_project! {
    /// A body of which the beginning may have been read already. Every frame passes as it came.
    pub struct ResponseBody<B: Body> {
        #[pin]
        body: Opened<B>,
    }
}

// ===== impl ResponseBody =====

impl<B: Body> ResponseBody<B> {
    pub(super) const fn new(body: Opened<B>) -> Self {
        Self { body }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body of which nothing was read, such as one of your own in place of an answer.
impl<B: Body> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        Self::new(body.into())
    }
}

impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        B::default().into()
    }
}

impl<B: Body + TextBody> TextBody for ResponseBody<B> {
    fn from_text(text: String) -> Self {
        B::from_text(text).into()
    }
}

impl<B: Body + fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBody")
            .field(self.body.get_ref())
            .finish()
    }
}
