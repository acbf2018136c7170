//! The response body, which settles the usage of its request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::{Reservation, stream_end::StreamEnd};
use crate::{
    ai::{tokens::TokenUsage, usage::UsageReader},
    circuit_breaker::LateFailures,
    http::{
        IntoHttp, WithBody,
        guarded_body::{FramePoll, is_last},
        peek_body::each_slice,
        peeked_body::PeekedBody,
    },
};

/// A response whose body settles the usage of its request.
pub type SettlingResponse<R> = <R as WithBody<ResponseBody<<R as IntoHttp>::Body>>>::Output;

pin_project! {
    /// A response body that reads the token usage while the frames pass through unchanged.
    ///
    /// The request is settled, and no longer in flight, after the last frame, after the first
    /// error, or when the body is dropped.
    #[must_use = "dropping it ends the request"]
    pub struct ResponseBody<B: Body> {
        #[pin]
        body: PeekedBody<B>,
        settlement: Option<Settlement>,
    }
}

/// The state needed to end a request. Dropping it ends the request.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) reservation: Option<Reservation>,
    pub(super) reads: Reads,
    pub(super) is_complete: bool,
    pub(super) end: StreamEnd,
    pub(super) report: Option<LateFailures>,
}

/// How to read the usage from a response.
#[derive(Debug)]
pub(super) enum Reads {
    Usage(Box<UsageReader>),
    /// The body can't be read.
    Nothing,
    /// The response is an error, for which no tokens are counted.
    Failure,
}

// ===== impl Settlement =====

impl Settlement {
    pub(super) fn new(
        reservation: Reservation,
        reads: Reads,
        report: Option<LateFailures>,
    ) -> Self {
        Self {
            reservation: Some(reservation),
            reads,
            is_complete: false,
            end: StreamEnd::default(),
            report,
        }
    }

    #[inline]
    fn feed<D: Buf>(&mut self, frame: &Frame<D>) {
        if let (Reads::Usage(reader), Some(data)) = (&mut self.reads, frame.data_ref()) {
            // If bytes are missing, the rest would be misread.
            let mut feed = |slice: &[u8]| {
                reader.feed(slice);
                if reader.is_stream() {
                    self.end.feed(slice);
                }
            };
            if !each_slice(data, usize::MAX, &mut feed) {
                self.reads = Reads::Nothing;
            }
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        let Some(mut reservation) = self.reservation.take() else {
            return;
        };
        let reported = match &self.reads {
            Reads::Usage(reader) => reader.usage().map(|usage| (usage, reader.is_final())),
            Reads::Nothing => None,
            Reads::Failure => return reservation.end(|_| Some(TokenUsage::default())),
        };
        if let Some(error) = self.end.error() {
            let limit = error.limit.as_ref();
            if let Some(report) = &self.report {
                report.failed_as(error.outcome, limit.and_then(|limit| limit.retry_after));
            }
            if let Some(limit) = limit {
                return reservation.refuse_late(reported, limit);
            }
        }
        match reported {
            Some((usage, true)) => reservation.settle(usage),
            _ if self.is_complete => reservation.end(|_| None),
            _ => reservation.end(|on_drop| on_drop.usage(reported.unwrap_or_default().0)),
        }
    }
}

// ===== impl ResponseBody =====

impl<B: Body> ResponseBody<B> {
    pub(super) fn new(body: PeekedBody<B>, mut settlement: Settlement) -> Self {
        settlement.is_complete = body.is_end_stream();
        let settlement = (!settlement.is_complete).then_some(settlement);
        Self { body, settlement }
    }

    /// Creates a body of which some or all was read. It settles nothing.
    pub(super) const fn of_refusal(body: PeekedBody<B>) -> Self {
        let settlement = None;
        Self { body, settlement }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<Self> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(settlement) = this.settlement {
            if let Some(Ok(frame)) = &frame {
                settlement.feed(frame);
            }
            if is_last(frame.as_ref(), &*this.body) {
                settlement.is_complete = !matches!(frame, Some(Err(_)));
                *this.settlement = None;
            }
        }
        Poll::Ready(frame)
    }

    crate::http::body_macros::body_hints!(body);
}

/// Creates a body that settles nothing, such as a fallback response.
impl<B: Body> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        Self::of_refusal(body.into())
    }
}

crate::http::body_macros::wraps_body!(ResponseBody<B: Body>);

crate::macros::debug!(impl<B: Body> Debug for ResponseBody<B> where B: std::fmt::Debug |self| {
    body: self.body.get_ref(),
    is_held: self.settlement.is_some(),
    ..
});

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::combinators::UnsyncBoxBody;

    use super::*;

    #[test]
    fn response_body_is_small() {
        let body = size_of::<ResponseBody<UnsyncBoxBody<Bytes, std::io::Error>>>();
        let reader = size_of::<UsageReader>();
        assert!(body + reader <= 1_024, "{body} and {reader} bytes");
    }
}
