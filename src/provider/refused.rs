//! Reading what a refusal means before it is passed on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http::{StatusCode, response::Parts};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use super::{
    QuotaExhausted, Reservation, ResponseBody, body::Frames, class::Told, future::Settling,
};
use crate::{BoxError, IntoHttp, RateLimits, WithBody};

/// As much of a refusal is read as any provider has to say.
const MOST_BYTES: usize = 16 * 1024;
/// A refusal of many small frames is cut off, too.
const MOST_FRAMES: usize = 256;
/// For as long, or the body is passed on unread.
const LONGEST: Duration = Duration::from_secs(5);

/// A refusal whose body is being read.
pub(super) struct Refused<R: IntoHttp> {
    parts: Option<Parts>,
    body: Option<Pin<Box<R::Body>>>,
    has_ended: bool,
    read: Frames<R::Body>,
    text: Vec<u8>,
    /// Set once the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    reservation: Option<Reservation>,
}

/// Whether a response of that status may be a refusal by a limit.
pub(super) fn may_be_one(status: StatusCode) -> bool {
    matches!(status.as_u16(), 402 | 403 | 429 | 503 | 529)
}

// ===== impl Refused =====

impl<R: IntoHttp> Refused<R> {
    pub(super) fn new(response: R, reservation: Reservation) -> Self {
        let (parts, body) = response.into_http().into_parts();
        Self {
            parts: Some(parts),
            body: Some(Box::pin(body)),
            has_ended: false,
            read: Frames::<R::Body>::new(),
            text: Vec::new(),
            timer: None,
            reservation: Some(reservation),
        }
    }

    /// The response as it came, once it is known what it means; or the error that it means.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Settling<R>, BoxError>>
    where
        R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    {
        if self.read_on(cx).is_pending() && self.is_in_time(cx) {
            return Poll::Pending;
        }
        let (Some(parts), Some(body)) = (self.parts.take(), self.body.take()) else {
            unreachable!("polled after it was done")
        };
        if let Some(error) = self.judge(&parts) {
            return Poll::Ready(Err(error.into()));
        }
        let read = std::mem::take(&mut self.read);
        let body = ResponseBody::of_refusal(read, body, self.has_ended);
        Poll::Ready(Ok(R::from_http(http::Response::from_parts(parts, body))))
    }

    fn is_in_time(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(LONGEST)));
        timer.as_mut().poll(cx).is_pending()
    }

    fn read_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(());
        };
        while self.text.len() < MOST_BYTES && self.read.len() < MOST_FRAMES && !body.is_end_stream()
        {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.has_ended = true;
                    break;
                }
                Poll::Ready(Some(frame)) => {
                    let is_error = frame.is_err();
                    if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                        let chunk = data.chunk();
                        let room = MOST_BYTES - self.text.len();
                        self.text.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                    self.read.push_back(frame);
                    if is_error {
                        break;
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Tells the limiter, and makes an error of what no retry will mend.
    fn judge(&mut self, parts: &Parts) -> Option<QuotaExhausted> {
        let reservation = self.reservation.take()?;
        let limits = RateLimits::from_headers(&parts.headers);
        let Some(told) = Told::read(parts.status, &parts.headers, &self.text) else {
            // An error like any other.
            reservation.observe(&limits);
            reservation.fail();
            return None;
        };
        reservation.refuse_and_tell(told.class, told.retry_after, &limits);
        let status = parts.status;
        told.class
            .is_final()
            .then_some(QuotaExhausted { status, told })
    }
}

/// One that nobody waits for any more, as after a timeout, was a refusal all the same.
impl<R: IntoHttp> Drop for Refused<R> {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            drop(self.judge(&parts));
        }
    }
}
