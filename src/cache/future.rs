//! The response future.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{ResponseBody, Shareable},
    coalesce::{Followed, Follower, Lead},
    hit::Hit,
    status::Status,
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
        pub(super) state: State<S, Request>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<S, Request>
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
                    let result = ready!(match &*lead {
                        Some(lead) => lead.flight.poll(cx, |cx| future.poll(cx)),
                        None => future.poll(cx),
                    });
                    let lead = lead.take();
                    let response = result?.into_http();
                    match lead {
                        Some(lead) => lead.respond(response),
                        None => Status::Bypass.mark(response.map(ResponseBody::new), "fwd=bypass"),
                    }
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

crate::macros::debug! {
    impl<S: Service<Request>, Request> Debug for ResponseFuture<S, Request> |self| { .. }
}
