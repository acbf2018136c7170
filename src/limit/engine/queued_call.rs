//! A request on its way through the queue.

use std::task::{Context, Poll, Waker, ready};

use tower_service::Service;

use super::{
    limiter::{Limiter, Turn, Waiting},
    wait_queue::Expiry,
};
use crate::error::Rejected;

/// The place of a request that waits its turn, and the service that it waits with.
pub(crate) struct QueuedCall<S, G: Limiter> {
    waiting: Waiting<G::Turn>,
    /// Set once it is next, and the limit has room.
    turn: Option<G::Turn>,
    /// Ends the turn of a request whose inner service does not become ready, for the sake of those behind it.
    expiry: Option<Expiry>,
    service: S,
}

/// Why a request that waited was not called.
pub(crate) enum Stopped<E> {
    Refused(Rejected),
    NotReady(E),
}

// ===== impl QueuedCall =====

impl<S, G: Limiter> QueuedCall<S, G> {
    /// Takes a place in the queue, unless it is refused before it would have to wait.
    pub(crate) fn join(mut waiting: Waiting<G::Turn>, service: S) -> Result<Self, Rejected> {
        // The place is taken with the first poll. A waker is registered with the next one.
        let mut nobody = Context::from_waker(Waker::noop());
        let turn = match waiting.as_mut().poll(&mut nobody) {
            Poll::Pending => None,
            Poll::Ready(turn) => Some(turn?),
        };
        Ok(Self {
            waiting,
            turn,
            expiry: None,
            service,
        })
    }

    /// The service, which has been polled ready if a pass was handed out.
    pub(crate) fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// The same, without its place.
    #[cfg(feature = "provider")]
    pub(crate) fn into_service(self) -> S {
        self.service
    }

    /// Waits until it may be called: the service is ready then, and the limit has counted it.
    #[cold]
    pub(crate) fn poll<Request>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<G::Pass, Stopped<S::Error>>>
    where
        S: Service<Request> + Clone,
    {
        loop {
            let turn = match self.turn.take() {
                Some(turn) => turn,
                None => ready!(self.waiting.as_mut().poll(cx)).map_err(Stopped::Refused)?,
            };
            // Ready first and taken after: units taken for a request that then waits for the inner service would be
            // counted in a time in which it did not start.
            match self.service.poll_ready(cx) {
                Poll::Pending => return self.keep(turn, cx),
                Poll::Ready(ready) => ready.map_err(Stopped::NotReady)?,
            }
            self.expiry = None;
            match turn.take() {
                Ok(pass) => return Poll::Ready(Ok(pass)),
                Err(again) => {
                    self.waiting = again;
                    // The ready instance must not be held while this sleeps.
                    self.service = self.service.clone();
                }
            }
        }
    }

    /// Keeps the turn while the inner service is not ready, until it expires.
    fn keep<T, E>(&mut self, turn: G::Turn, cx: &mut Context<'_>) -> Poll<Result<T, Stopped<E>>> {
        let expiry = self.expiry.get_or_insert_with(|| turn.expiry());
        if let Poll::Ready(rejected) = expiry.as_mut().poll(cx) {
            turn.expired(&rejected);
            return Poll::Ready(Err(Stopped::Refused(rejected)));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}
