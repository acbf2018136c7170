//! The response future.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pub use super::body::SettlingResponse;
use super::{
    QuotaExhausted, Reservation,
    body::{Reads, ResponseBody, Settlement},
    shared::ProviderState,
};
use crate::{
    ai::usage::UsageReader,
    circuit_breaker::LateFailures,
    error::{BoxError, Outcome, Rejected},
    http::{IntoHttp, RateLimits, ResponseHead, WithBody, with_body::map_body},
    limit::{
        engine::ReleasePolicy,
        rejection::{AsError, Rejection},
    },
    payload::error_body::{ErrorReader, says_more},
};

type Inner<S, Request, F> =
    crate::limit::engine::ResponseFuture<S, Request, Arc<ProviderState>, F, WithReservation>;

pin_project! {
    /// Response future of [`ProviderService`](super::ProviderService).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point. A queued request has not taken anything from the limits. A
    /// request that was sent costs what [`on_drop`](super::ProviderLayer::on_drop) says.
    pub struct ResponseFuture<S, Request, F = AsError>
    where
        S: Service<Request>,
        S::Response: IntoHttp,
    {
        #[pin]
        pub(super) inner: Inner<S, Request, F>,
        pub(super) refused: Option<Box<RefusalReader<S::Response>>>,
    }
}

/// A rejection whose body is read before the response is passed on. Empty once it was read.
pub(super) struct RefusalReader<R: IntoHttp>(Option<(ErrorReader<R::Body>, Reservation)>);

/// Puts the reservation into the response body.
#[derive(Debug, Clone, Copy)]
pub struct WithReservation;

impl<Response> ReleasePolicy<Response, Reservation> for WithReservation {
    type Output = (Response, Reservation);

    fn hold(&self, response: Response, reservation: Reservation) -> Self::Output {
        (response, reservation)
    }

    fn rejected(&self, _: Response, _: &Rejected) -> Self::Output {
        unreachable!("a refusal is an error here")
    }
}

// ===== impl ResponseFuture =====

impl<S, Request> ResponseFuture<S, Request>
where
    S: Service<Request>,
    S::Response: IntoHttp,
{
    /// Creates the future of a request that was admitted and sent.
    pub(crate) fn called(future: S::Future, reservation: Reservation) -> Self {
        Self {
            inner: Inner::called(future, reservation, AsError, WithReservation),
            refused: None,
        }
    }
}

impl<S, Request, F> Future for ResponseFuture<S, Request, F>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    F: Rejection<Request, S::Response, S::Error, Error = BoxError>,
{
    type Output = Result<SettlingResponse<S::Response>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(refused) = this.refused {
                return refused.poll(cx);
            }
            match ready!(this.inner.as_mut().poll(cx)) {
                // Rejected by an inner limit, or not processed by the server.
                Ok((response, reservation)) if is_unsent(&response) => {
                    reservation.refund();
                    return Poll::Ready(Ok(map_body(response, ResponseBody::from)));
                }
                Ok((response, reservation)) if says_more(response.status()) => {
                    let reader = ErrorReader::new(response.into_http());
                    *this.refused = Some(Box::new(RefusalReader(Some((reader, reservation)))));
                }
                Ok((response, reservation)) => {
                    return Poll::Ready(Ok(settled_by_body(response, reservation)));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn is_unsent<R: ResponseHead>(response: &R) -> bool {
    let is_own = response.extensions().get::<Rejected>().is_some();
    is_own || Outcome::of_status(response.status()) == Outcome::NotSent
}

fn settled_by_body<R>(mut response: R, reservation: Reservation) -> SettlingResponse<R>
where
    R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
{
    let learns = reservation.learns();
    let limits = learns.then(|| RateLimits::from_headers(response.headers()));
    reservation.observe(&limits.unwrap_or_default());
    let is_failure = response.status().is_client_error() || response.status().is_server_error();
    let reads = match UsageReader::of(response.headers()) {
        _ if is_failure => Reads::Failure,
        Some(reader) => Reads::Usage(Box::new(reader)),
        None => {
            crate::macros::event!(
                target: "tower_throttle::provider",
                "response usage can't be read: compressed or unknown content type"
            );
            Reads::Nothing
        }
    };
    let is_stream = matches!(&reads, Reads::Usage(reader) if reader.is_stream());
    let report = is_stream.then(|| {
        let late: &mut LateFailures = response.extensions_mut().get_or_insert_default();
        late.clone()
    });
    let settlement = Settlement::new(reservation, reads, report);
    map_body(response, |body| ResponseBody::new(body.into(), settlement))
}

crate::macros::debug! {
    impl<S: Service<Request, Response: IntoHttp>, Request, F>
    Debug for ResponseFuture<S, Request, F> |self| { is_refused: self.refused.is_some(), .. }
}

// ===== impl RefusalReader =====

impl<R: IntoHttp> RefusalReader<R> {
    /// Returns the unchanged response once its reason is known, or the error that it stands for.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<SettlingResponse<R>, BoxError>>
    where
        R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    {
        if let Some((reader, _)) = &mut self.0 {
            ready!(reader.poll(cx));
        }
        let Some(outcome) = self.finish() else {
            unreachable!("polled after it was done")
        };
        Poll::Ready(Ok(R::from_http(outcome?)))
    }

    /// Notifies the limiter. Returns an error if no retry can succeed.
    fn finish(&mut self) -> Option<Result<http::Response<ResponseBody<R::Body>>, QuotaExhausted>> {
        let (reader, reservation) = self.0.take()?;
        let (mut response, diagnosis) = reader.finish();
        if let Some(hint) = diagnosis.hint() {
            response.extensions_mut().insert(hint);
        }
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
