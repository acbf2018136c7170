//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    ResponseBody,
    patient::Patient,
    watch::{Settings, Watch},
};
use crate::{BoxError, IntoHttp, WithBody};

/// A response whose body may have been read a little.
pub type Diagnosed<R> = <R as WithBody<ResponseBody<<R as IntoHttp>::Body>>>::Output;

pin_project! {
    /// The response future of a service whose errors are what they are.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point. What was read of a response is dropped with it, and so is the response.
    pub struct ResponseFuture<F, R: IntoHttp> {
        #[pin]
        inner: F,
        settings: Settings,
        // Set once there is a response with something to read.
        patient: Option<Box<Patient<R::Body>>>,
    }
}

// ===== impl ResponseFuture =====

impl<F, R: IntoHttp> ResponseFuture<F, R> {
    pub(super) const fn new(inner: F, settings: Settings) -> Self {
        Self {
            inner,
            settings,
            patient: None,
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<R, E>>,
    R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    E: Into<BoxError>,
    <R::Body as Body>::Error: Into<BoxError>,
{
    type Output = Result<Diagnosed<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let patient = match this.patient {
            Some(patient) => patient,
            None => {
                let response = ready!(this.inner.poll(cx)).map_err(Into::into)?;
                let watch = Watch::of(&response, *this.settings);
                let (parts, body) = response.into_http().into_parts();
                // Of an error the head may tell something, too.
                let is_of_use = |watch: &Watch| watch.is_of_error() || !body.is_end_stream();
                let Some((watch, bounds)) = watch.filter(|(watch, _)| is_of_use(watch)) else {
                    let response = http::Response::from_parts(parts, body.into());
                    return Poll::Ready(Ok(R::from_http(response)));
                };
                let patient = Patient::new(parts, body, watch, bounds);
                this.patient.insert(Box::new(patient))
            }
        };
        let response = ready!(patient.poll(cx))?;
        Poll::Ready(Ok(R::from_http(response)))
    }
}

impl<F: fmt::Debug, R: IntoHttp> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .field("is_reading", &self.patient.is_some())
            .finish()
    }
}
