//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{body::ResponseBody, channel::Shareable, entry::Entry, lead::Lead, status::Told};
use crate::{IntoHttp, WithBody};

pin_project! {
    /// The response future of a [`Cache`](super::Cache).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Hit { entry: Option<(Arc<Entry>, Told)> },
        Calling { #[pin] future: F, lead: Option<Lead> },
    }
}

// ===== impl ResponseFuture =====

impl<F> ResponseFuture<F> {
    pub(super) fn hit(entry: Arc<Entry>, told: Told) -> Self {
        let entry = Some((entry, told));
        let state = State::Hit { entry };
        Self { state }
    }

    /// Without a lead the cache has nothing to do with the request.
    pub(super) fn calling(future: F, lead: Option<Lead>) -> Self {
        let state = State::Calling { future, lead };
        Self { state }
    }
}

impl<F, R, E, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoHttp<Body = B> + WithBody<ResponseBody<B>>,
    B: Shareable,
{
    type Output = Result<<R as WithBody<ResponseBody<B>>>::Output, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project().state.project() {
            StateProj::Hit { entry } => match entry.take() {
                Some((entry, told)) => {
                    let mut response = entry.head.respond(ResponseBody::kept(entry.clone()));
                    told.note(&mut response);
                    response
                }
                None => unreachable!("polled after it was done"),
            },
            StateProj::Calling { future, lead } => {
                let response = ready!(future.poll(cx))?.into_http();
                match lead.take() {
                    Some(lead) => lead.answer(response),
                    None => {
                        let mut response = response.map(ResponseBody::from);
                        Told::Bypass.note(&mut response);
                        response
                    }
                }
            }
        };
        Poll::Ready(Ok(R::from_http(response)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Hit { .. } => "Hit",
            State::Calling { lead: Some(_), .. } => "Leading",
            State::Calling { lead: None, .. } => "Bypassing",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
