//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::ResponseBody,
    entry::Entry,
    follow::{Followed, Following},
    lead::Lead,
    original::Shareable,
    status::Told,
};
use crate::{IntoHttp, RequestHead, WithBody};

pin_project! {
    /// The response future of a [`Cache`](super::Cache).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point. Where others wait for the answer to this request, one of them asks in its place.
    pub struct ResponseFuture<S, Request>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<S, Request>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Request>
    where
        S: Service<Request>,
    {
        Hit { entry: Option<(Arc<Entry>, Told)> },
        // Boxed, so that hits have a small future.
        Calling { #[pin] future: S::Future, lead: Option<Box<Lead>> },
        Following { following: Box<Following<S, Request>> },
    }
}

// ===== impl ResponseFuture =====

impl<S: Service<Request>, Request> ResponseFuture<S, Request> {
    pub(super) fn hit(entry: Arc<Entry>, told: Told) -> Self {
        let entry = Some((entry, told));
        let state = State::Hit { entry };
        Self { state }
    }

    /// Without a lead the cache has nothing to do with the request.
    pub(super) fn calling(future: S::Future, lead: Option<Lead>) -> Self {
        let lead = lead.map(Box::new);
        let state = State::Calling { future, lead };
        Self { state }
    }

    pub(super) fn following(following: Following<S, Request>) -> Self {
        let following = Box::new(following);
        let state = State::Following { following };
        Self { state }
    }
}

impl<S, Request, R, B> Future for ResponseFuture<S, Request>
where
    S: Service<Request, Response = R>,
    Request: RequestHead,
    R: IntoHttp<Body = B> + WithBody<ResponseBody>,
    B: Shareable,
{
    type Output = Result<<R as WithBody<ResponseBody>>::Output, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let response = match this.state.as_mut().project() {
                // ## Hit => done
                StateProj::Hit { entry } => hit(entry.take()),
                // ## Calling => done
                StateProj::Calling { future, lead } => {
                    let outcome = ready!(match &*lead {
                        Some(lead) => lead.poll(cx, |cx| future.poll(cx)),
                        None => future.poll(cx),
                    });
                    answer(outcome, lead.take())?
                }
                // ## Following => (Calling | done)
                StateProj::Following { following } => match ready!(following.poll(cx))? {
                    Followed::Read(reader) => {
                        let mut response = reader.respond();
                        Told::Collapsed.note(&mut response);
                        response
                    }
                    Followed::Called(future, lead) => {
                        let lead = Some(Box::new(lead));
                        this.state.set(State::Calling { future, lead });
                        continue;
                    }
                },
            };
            return Poll::Ready(Ok(R::from_http(response)));
        }
    }
}

fn hit(entry: Option<(Arc<Entry>, Told)>) -> http::Response<ResponseBody> {
    let Some((entry, told)) = entry else {
        unreachable!("polled after it was done")
    };
    let mut response = entry.head.respond(ResponseBody::kept(entry.clone()));
    told.note(&mut response);
    response
}

fn answer<R, E>(
    outcome: Result<R, E>,
    lead: Option<Box<Lead>>,
) -> Result<http::Response<ResponseBody>, E>
where
    R: IntoHttp<Body: Shareable>,
{
    match (outcome, lead) {
        (Ok(response), Some(lead)) => Ok(lead.answer(response.into_http())),
        (Ok(response), None) => {
            let mut response = response.into_http().map(ResponseBody::new);
            Told::Bypass.note(&mut response);
            Ok(response)
        }
        (Err(error), lead) => {
            if let Some(lead) = lead {
                lead.fail();
            }
            Err(error)
        }
    }
}

impl<S: Service<Request>, Request> fmt::Debug for ResponseFuture<S, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Hit { .. } => "Hit",
            State::Calling { lead: Some(_), .. } => "Leading",
            State::Calling { lead: None, .. } => "Calling",
            State::Following { .. } => "Following",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
