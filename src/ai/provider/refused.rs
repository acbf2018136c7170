//! Reads the reason of a rejection before the response is passed on.

use std::task::{Context, Poll, ready};

use super::{
    QuotaExhausted, Reservation,
    body::{Reads, ResponseBody, Settlement, SettlingResponse},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, RateLimits, WithBody},
    payload::error_body::ErrorReader,
};

/// A rejection whose body is being read.
pub(super) struct RefusalReader<R: IntoHttp> {
    reader: ErrorReader<R::Body>,
    reservation: Option<Reservation>,
}

// ===== impl RefusalReader =====

impl<R: IntoHttp> RefusalReader<R> {
    pub(super) fn new(response: R, reservation: Reservation) -> Self {
        Self {
            reader: ErrorReader::new(response.into_http()),
            reservation: Some(reservation),
        }
    }

    /// Returns the unchanged response once its reason is known, or the error that it stands for.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SettlingResponse<R>, BoxError>>
    where
        R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    {
        ready!(self.reader.poll(cx));
        let Some(outcome) = self.finish() else {
            unreachable!("polled after it was done")
        };
        Poll::Ready(Ok(R::from_http(outcome?)))
    }

    /// Notifies the limiter. Returns an error if no retry can succeed.
    fn finish(&mut self) -> Option<Result<http::Response<ResponseBody<R::Body>>, QuotaExhausted>> {
        let (mut response, diagnosis) = self.reader.finish()?;
        if let Some(hint) = diagnosis.hint() {
            response.extensions_mut().insert(hint);
        }
        let reservation = self.reservation.take()?;
        let limits = RateLimits::from_headers(response.headers());
        let Some(limit) = diagnosis.limit else {
            // An error that is no rejection ends with its body.
            reservation.observe(&limits);
            let settlement = Settlement::new(reservation, Reads::Failure, None);
            return Some(Ok(response.map(|body| ResponseBody::new(body, settlement))));
        };
        reservation.refuse_and_tell(limit.class, limit.retry_after, &limits);
        let exhausted = QuotaExhausted::from_limit(response.status(), limit);
        Some(exhausted.map_or_else(|| Ok(response.map(ResponseBody::of_refusal)), Err))
    }
}

/// A reader that is dropped early, such as by a timeout, still was a rejection.
impl<R: IntoHttp> Drop for RefusalReader<R> {
    fn drop(&mut self) {
        drop(self.finish());
    }
}
