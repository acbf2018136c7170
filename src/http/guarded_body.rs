//! How a response keeps hold of capacity until its body has ended.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// A response that can hold something until the last frame of its body, or until it is dropped.
///
/// `http::Response<B>` becomes `http::Response<Guarded<B, G>>`; with the feature `reqwest`, `reqwest::Response` stays
/// what it is. Other responses have no body to speak of: see
/// [`ConcurrencyLayer::until_response`](crate::ConcurrencyLayer::until_response).
pub trait Carry<G> {
    /// The response with the guard inside.
    type Output;

    /// Puts `guard` into the response's body.
    fn carry(self, guard: G) -> Self::Output;

    /// The same, and lets `watch` know, as long as the guard is held, how the body gets on. Unless told otherwise, the response is at
    /// its end at once.
    fn carry_watched(self, mut guard: G, watch: fn(&mut G, Progress)) -> Self::Output
    where
        Self: Sized,
    {
        watch(&mut guard, Progress::Ended);
        self.carry(guard)
    }

    /// The response with nothing inside, such as that of a request that was refused.
    fn carry_nothing(self) -> Self::Output;
}

/// How the reading of a body gets on. Nothing is told where the body breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Progress {
    /// Somebody asks for more of it.
    Asked,
    /// There was a byte of it.
    Read,
    /// It has come to its end.
    Ended,
}

pin_project! {
    /// A body that holds a guard until its last frame, its first error, or its drop.
    #[must_use = "dropping it lets go of what it holds"]
    pub struct Guarded<B, G> {
        #[pin]
        body: B,
        guard: Option<G>,
        watch: Option<fn(&mut G, Progress)>,
    }
}

// ===== impl Guarded =====

impl<B: Body, G> Guarded<B, G> {
    /// Lets `body` hold `guard`. A body that has ended already lets go at once.
    #[inline]
    pub fn new(body: B, guard: G) -> Self {
        let guard = (!body.is_end_stream()).then_some(guard);
        let watch = None;
        Self { body, guard, watch }
    }

    /// The same, and lets `watch` know how the body gets on: see [`Carry::carry_watched`].
    pub fn watched(body: B, mut guard: G, watch: fn(&mut G, Progress)) -> Self {
        if body.is_end_stream() {
            watch(&mut guard, Progress::Ended);
        }
        let mut guarded = Self::new(body, guard);
        guarded.watch = Some(watch);
        guarded
    }
}

impl<B, G> Guarded<B, G> {
    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// The body inside, to change.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Whether the guard is still held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.guard.is_some()
    }
}

impl<B: Body, G> Body for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        if let (Some(watch), Some(guard)) = (*this.watch, &mut this.guard) {
            watch(guard, Progress::Asked);
        }
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Readers that trust `is_end_stream` never poll again after the last frame.
        let has_ended = !matches!(frame, Some(Ok(_))) || this.body.is_end_stream();
        if let (Some(watch), Some(guard)) = (*this.watch, &mut this.guard) {
            match &frame {
                Some(Err(_)) => {}
                _ if has_ended => watch(guard, Progress::Ended),
                Some(Ok(next)) if is_empty(next) => {}
                _ => watch(guard, Progress::Read),
            }
        }
        if has_ended {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn is_empty<D: Buf>(frame: &Frame<D>) -> bool {
    frame.data_ref().is_some_and(|data| !data.has_remaining())
}

impl<B: Default, G> Default for Guarded<B, G> {
    fn default() -> Self {
        B::default().into()
    }
}

/// A body that holds nothing, such as that of a refusal.
impl<B, G> From<B> for Guarded<B, G> {
    fn from(body: B) -> Self {
        let (guard, watch) = (None, None);
        Self { body, guard, watch }
    }
}

impl<B: fmt::Debug, G> fmt::Debug for Guarded<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("body", &self.body)
            .field("held", &self.guard.is_some())
            .finish()
    }
}

impl<B: Body, G> Carry<G> for http::Response<B> {
    type Output = http::Response<Guarded<B, G>>;

    fn carry(self, guard: G) -> Self::Output {
        self.map(|body| Guarded::new(body, guard))
    }

    fn carry_watched(self, guard: G, watch: fn(&mut G, Progress)) -> Self::Output {
        self.map(|body| Guarded::watched(body, guard, watch))
    }

    fn carry_nothing(self) -> Self::Output {
        self.map(Guarded::from)
    }
}
