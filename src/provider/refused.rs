//! Reading what a refusal means before it is passed on.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{StatusCode, response::Parts};

use super::{
    QuotaExhausted, Reservation, ResponseBody,
    class::{Diagnosis, Told},
    future::Settling,
};
use crate::{
    BoxError, IntoHttp, RateLimits, WithBody,
    opening::{Bounds, Opening, Step},
};

/// As much of a refusal is read as any provider has to say, or it is passed on unread.
pub(crate) const BOUNDS: Bounds = Bounds {
    bytes: 16 * 1024,
    frames: 256,
    patience: Duration::from_secs(5),
};

/// A refusal whose body is being read.
pub(super) struct Refused<R: IntoHttp> {
    /// The head and what was read, until it was judged.
    refusal: Option<(Parts, Opening<R::Body>)>,
    reservation: Option<Reservation>,
}

/// Whether a response of that status may be a refusal by a limit.
pub(super) fn may_be_one(status: StatusCode) -> bool {
    matches!(status.as_u16(), 402 | 403 | 429 | 503 | 529)
}

/// What a layer further in has read.
fn known(parts: &Parts) -> Option<&Diagnosis> {
    let known = parts.extensions.get::<Diagnosis>();
    known.filter(|known| known.status == parts.status)
}

// ===== impl Refused =====

impl<R: IntoHttp> Refused<R> {
    pub(super) fn new(response: R, reservation: Reservation) -> Self {
        let (parts, body) = response.into_http().into_parts();
        Self {
            refusal: Some((parts, Opening::new(body, BOUNDS))),
            reservation: Some(reservation),
        }
    }

    /// The response as it came, once it is known what it means; or the error that it means.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Settling<R>, BoxError>>
    where
        R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    {
        if let Some((parts, opening)) = &mut self.refusal {
            let is_known = known(parts).is_some();
            while !is_known && ready!(opening.poll_step(cx)) == Step::Frame {}
        }
        let Some((parts, opening)) = self.refusal.take() else {
            unreachable!("polled after it was done")
        };
        if let Some(error) = self.judge(&parts, &opening) {
            return Poll::Ready(Err(error.into()));
        }
        let body = ResponseBody::of_refusal(opening.into_body());
        Poll::Ready(Ok(R::from_http(http::Response::from_parts(parts, body))))
    }

    /// Tells the limiter, and makes an error of what no retry will mend.
    fn judge(&mut self, parts: &Parts, opening: &Opening<R::Body>) -> Option<QuotaExhausted> {
        let reservation = self.reservation.take()?;
        let limits = RateLimits::from_headers(&parts.headers);
        let told = match known(parts) {
            Some(diagnosis) => diagnosis.told.clone(),
            None => Told::read(parts.status, &parts.headers, &opening.text()),
        };
        let Some(told) = told else {
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
        if let Some((parts, opening)) = self.refusal.take() {
            drop(self.judge(&parts, &opening));
        }
    }
}
