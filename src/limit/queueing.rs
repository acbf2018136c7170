//! A request on its way through the queue.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::gate::{Gate, Waiting};
use crate::Rejected;

/// A request that waits its turn.
pub(super) struct Queueing<S, Request, G: Gate> {
    waiting: Waiting<G::Turn>,
    /// Set once it is next, and the limit has room.
    turn: Option<G::Turn>,
    /// Ends the turn of a request whose inner service does not become ready, for the sake of those behind it.
    patience: Option<(Pin<Box<Sleep>>, Rejected)>,
    service: S,
    request: Option<Request>,
}

/// Why a request that waited was not called.
pub(super) enum Stopped<E> {
    Refused(Rejected),
    NotReady(E),
}

// ===== impl Queueing =====

impl<S, Request, G: Gate> Queueing<S, Request, G> {
    /// Takes a place in the queue, unless it is refused before it would have to wait.
    pub(super) fn join(
        mut waiting: Waiting<G::Turn>,
        service: S,
        request: Request,
    ) -> Result<Self, Rejected> {
        // The place is taken with the first poll. A waker is registered with the next one.
        let mut nobody = Context::from_waker(Waker::noop());
        let turn = match waiting.as_mut().poll(&mut nobody) {
            Poll::Pending => None,
            Poll::Ready(turn) => Some(turn?),
        };
        Ok(Self {
            waiting,
            turn,
            patience: None,
            service,
            request: Some(request),
        })
    }
}

impl<S, Request, G> Queueing<S, Request, G>
where
    S: Service<Request> + Clone,
    G: Gate,
{
    #[cold]
    #[allow(clippy::type_complexity, reason = "named once, here")]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(S::Future, G::Pass), Stopped<S::Error>>> {
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
            self.patience = None;
            match G::take(turn) {
                Ok(pass) => {
                    let Some(request) = self.request.take() else {
                        unreachable!("polled after it was done")
                    };
                    return Poll::Ready(Ok((self.service.call(request), pass)));
                }
                Err(again) => {
                    self.waiting = again;
                    // The ready instance must not be held while this sleeps.
                    self.service = self.service.clone();
                }
            }
        }
    }

    /// Keeps the turn while the inner service is not ready, as long as the request may wait.
    fn keep<T>(
        &mut self,
        turn: G::Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Stopped<S::Error>>> {
        if self.patience.is_none() {
            self.patience = G::deadline(&turn)
                .map(|(deadline, rejected)| (Box::pin(sleep_until(deadline)), rejected));
        }
        if let Some((sleep, rejected)) = &mut self.patience {
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Refused(rejected.clone())));
            }
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}
