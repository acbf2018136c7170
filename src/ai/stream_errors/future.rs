//! The response future.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use pin_project_lite::pin_project;

use super::{StreamErrorLayer, body::ResponseBody, inspection::Inspection};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody},
};

/// A response whose body may have been read in part.
pub type Diagnosed<R> = <R as WithBody<ResponseBody<<R as IntoHttp>::Body>>>::Output;

pin_project! {
    /// Response future of [`StreamErrorService`](super::StreamErrorService).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point. The response is dropped, with what was read of it.
    pub struct ResponseFuture<F, R: IntoHttp> {
        #[pin]
        pub(super) inner: F,
        pub(super) layer: StreamErrorLayer,
        // Set once there is a response to read.
        pub(super) inspection: Option<Box<Inspection<R::Body>>>,
    }
}

// ===== impl ResponseFuture =====

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
        let inspection = match this.inspection {
            Some(inspection) => inspection,
            None => {
                let response = ready!(this.inner.poll(cx)).map_err(Into::into)?;
                match Inspection::of(response.into_http(), *this.layer) {
                    Ok(inspection) => this.inspection.insert(Box::new(inspection)),
                    Err(response) => {
                        return Poll::Ready(Ok(R::from_http(response.map(Into::into))));
                    }
                }
            }
        };
        let response = ready!(inspection.poll(cx))?;
        Poll::Ready(Ok(R::from_http(response)))
    }
}

crate::macros::debug!(impl<F: std::fmt::Debug, R: IntoHttp> Debug for ResponseFuture<F, R> |self| {
    inner,
    layer,
    ..
});
