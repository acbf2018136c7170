//! The response future.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Attach, found::Resolution};

pin_project! {
    /// The response future of a [`Resolve`](super::Resolve).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point. The look-up is dropped with it, and the inner service is not
    /// called if it was not called before.
    ///
    /// The look-up makes progress only while this is polled. No service that was polled ready is
    /// held while it waits. Before the first poll and after the look-up, a future that is not
    /// polled may hold a place in the inner service.
    pub struct ResponseFuture<S, Request, L>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<L, S::Future>,
        // Gone once it is called.
        held: Option<PendingRequest<S, Request>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<L, F> {
        Resolving { #[pin] look_up: L, is_ready: bool },
        Readying { is_ready: bool },
        Calling { #[pin] future: F },
    }
}

/// The request, and the service that it is for.
struct PendingRequest<S, Request> {
    service: S,
    request: Request,
}

// ===== impl ResponseFuture =====

impl<S, Request, L> ResponseFuture<S, Request, L>
where
    S: Service<Request>,
{
    /// `service` has been polled ready.
    pub(super) const fn new(look_up: L, service: S, request: Request) -> Self {
        let is_ready = true;
        Self {
            state: State::Resolving { look_up, is_ready },
            held: Some(PendingRequest { service, request }),
        }
    }
}

impl<S, Request, L> Future for ResponseFuture<S, Request, L>
where
    S: Service<Request> + Clone,
    L: Future,
    L::Output: Resolution<S::Response>,
    Request: Attach<<L::Output as Resolution<S::Response>>::KeyedService>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match (this.state.as_mut().project(), &mut *this.held) {
                // ## Resolving => (Readying | done)
                (StateProj::Resolving { look_up, is_ready }, Some(held)) => {
                    let Poll::Ready(resolution) = look_up.poll(cx) else {
                        // What the ready instance holds, such as the only permit of a limit further
                        // in, must not be held while this sleeps.
                        if mem::take(is_ready) {
                            held.service = held.service.clone();
                        }
                        return Poll::Pending;
                    };
                    match resolution.into_found() {
                        Ok(found) => held.request.attach(found),
                        Err(answer) => {
                            *this.held = None;
                            return Poll::Ready(Ok(answer));
                        }
                    }
                    let is_ready = *is_ready;
                    this.state.set(State::Readying { is_ready });
                }
                // ## Readying => (Calling | done)
                (StateProj::Readying { is_ready }, Some(held)) => {
                    if !*is_ready {
                        ready!(held.service.poll_ready(cx))?;
                    }
                    if let Some(PendingRequest {
                        mut service,
                        request,
                    }) = this.held.take()
                    {
                        let future = service.call(request);
                        this.state.set(State::Calling { future });
                    }
                }
                // ## Calling => done
                (StateProj::Calling { future }, _) => return future.poll(cx),
                (_, None) => unreachable!("polled after it was done"),
            }
        }
    }
}

crate::macros::debug! {
    impl<S: Service<Request>, Request, L> Debug for ResponseFuture<S, Request, L> |self| { .. }
}
