//! A request in the queue.

use std::task::{Context, Poll, Waker, ready};

use tower_service::Service;

use super::{
    limiter::{Front, Limiter, Waiting},
    wait_queue::Expiry,
};
use crate::error::Rejected;

/// The place of a request in the queue, and its service.
pub(crate) struct QueuedCall<S, G: Limiter> {
    waiting: Waiting<G>,
    /// Set once it is next, and the limit has room.
    turn: Option<Front<G>>,
    /// Ends the turn of a request whose inner service does not become ready.
    expiry: Option<Expiry>,
    /// Ready if a pass was returned.
    pub(crate) service: S,
}

/// Why a request that waited was not called.
pub(crate) enum Stopped<E> {
    Refused(Rejected),
    NotReady(E),
}

// ===== impl QueuedCall =====

impl<S, G: Limiter> QueuedCall<S, G> {
    /// Joins the queue, unless the request is rejected at once.
    pub(crate) fn join(mut waiting: Waiting<G>, service: S) -> Result<Self, Rejected> {
        // The place is taken with the first poll. A waker is registered with the next one.
        let mut noop = Context::from_waker(Waker::noop());
        let turn = match waiting.as_mut().poll(&mut noop) {
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
            // Ready first, then taken: units of a request that then waits for the inner service
            // would be counted at a time at which it did not start.
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
    fn keep<T, E>(&mut self, turn: Front<G>, cx: &mut Context<'_>) -> Poll<Result<T, Stopped<E>>> {
        let expiry = self.expiry.get_or_insert_with(|| turn.expiry());
        if let Poll::Ready(rejected) = expiry.as_mut().poll(cx) {
            drop(turn.refuse(&rejected));
            return Poll::Ready(Err(Stopped::Refused(rejected)));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}
