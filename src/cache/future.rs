//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{ResponseBody, Shareable},
    coalesce::{Followed, Follower, Lead},
    hit::Hit,
    status::Detail,
};
use crate::http::{IntoHttp, WithBody};

pin_project! {
    /// The response future of a [`Cache`](super::Cache).
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any point. If equal requests wait for its response, one of them calls
    /// the inner service instead.
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
        Hit { hit: Option<Hit> },
        // Boxed, so that hits have a small future.
        Calling { #[pin] future: S::Future, lead: Option<Box<Lead>> },
        Following { follower: Box<Follower<S, Request>> },
    }
}

// ===== impl ResponseFuture =====

impl<S: Service<Request>, Request> ResponseFuture<S, Request> {
    pub(super) fn hit(hit: Hit) -> Self {
        let state = State::Hit { hit: Some(hit) };
        Self { state }
    }

    /// Without a lead the request is passed on as it is.
    pub(super) fn calling(future: S::Future, lead: Option<Lead>) -> Self {
        let lead = lead.map(Box::new);
        let state = State::Calling { future, lead };
        Self { state }
    }

    pub(super) fn following(follower: Follower<S, Request>) -> Self {
        let follower = Box::new(follower);
        let state = State::Following { follower };
        Self { state }
    }
}

impl<S, Request, R, B> Future for ResponseFuture<S, Request>
where
    S: Service<Request, Response = R>,
    R: IntoHttp<Body = B> + WithBody<ResponseBody>,
    B: Shareable,
{
    type Output = Result<<R as WithBody<ResponseBody>>::Output, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let response = match this.state.as_mut().project() {
                // ## Hit => done
                StateProj::Hit { hit } => match hit.take() {
                    Some(hit) => hit.respond(),
                    None => unreachable!("polled after it was done"),
                },
                // ## Calling => done
                StateProj::Calling { future, lead } => {
                    let outcome = ready!(match &*lead {
                        Some(lead) => lead.poll(cx, |cx| future.poll(cx)),
                        None => future.poll(cx),
                    });
                    respond(outcome, lead.take())?
                }
                // ## Following => (Calling | done)
                StateProj::Following { follower } => match ready!(follower.poll(cx))? {
                    Followed::Response(response) => response,
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

fn respond<R, E>(
    outcome: Result<R, E>,
    lead: Option<Box<Lead>>,
) -> Result<http::Response<ResponseBody>, E>
where
    R: IntoHttp<Body: Shareable>,
{
    match (outcome, lead) {
        (Ok(response), Some(lead)) => Ok(lead.respond(response.into_http())),
        (Ok(response), None) => {
            let mut response = response.into_http().map(ResponseBody::new);
            Detail::Bypass.add_to(&mut response);
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
