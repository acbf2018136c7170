//! Who is asked next.

use std::{
    iter,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use super::{
    Target,
    race::Race,
    run::{Admitted, Run},
};
use crate::BoxError;

/// How it goes on.
pub(super) enum Next<S> {
    Send(Admitted<S>),
    Wait(Race<S>),
}

// ===== impl Run =====

impl<S, Request> Run<S, Request>
where
    S: Service<Request> + Clone,
{
    /// Finds a target that lets the request in now, or a place in the queue of each.
    ///
    /// # Errors
    ///
    /// What is told where no target does.
    pub(super) fn next(&self) -> Result<Next<S>, BoxError> {
        // Rather one that has failed lately than none; but not after another one has failed, too.
        let asks_all = self.left().all(|(_, target)| target.circuit.is_open());
        if asks_all && self.tried() > 0 {
            return Err(self.no_target().into());
        }
        let started = match &self.targets.weights {
            None => {
                let mut ranked = self.left();
                ranked.find_map(|(number, target)| self.start(number, target, asks_all))
            }
            Some(weights) => {
                let able = |(_, target): &(usize, &Target<Request>)| {
                    (asks_all || !target.circuit.is_open()) && target.limiter.can_start(self.tokens)
                };
                let able = self.left().filter(able);
                let mut able: Vec<_> = able.map(|(number, one)| (number, one.weight)).collect();
                let mut turns = iter::from_fn(|| {
                    let place = weights.pick(&able)?;
                    Some(able.remove(place).0)
                });
                turns.find_map(|number| {
                    let target = self.targets.list.get(number)?;
                    self.start(number, target, asks_all)
                })
            }
        };
        match started {
            Some(admitted) => Ok(Next::Send(admitted)),
            None => Race::join(self, asks_all).map(Next::Wait),
        }
    }

    /// Takes from the target's limits, if there is room now.
    fn start(
        &self,
        number: usize,
        target: &Target<Request>,
        asks_all: bool,
    ) -> Option<Admitted<S>> {
        if !target.limiter.can_start(self.tokens) {
            return None;
        }
        let watch = target.circuit.enter().ok();
        if watch.is_none() && !asks_all {
            return None;
        }
        // Ready first and taken after: what is taken is used at once. One that is not ready, or has failed, is polled
        // again in its turn.
        let mut service = self.services.get(number);
        let mut nobody = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(())) = service.poll_ready(&mut nobody) else {
            return None;
        };
        Some(Admitted {
            target: number,
            service,
            reservation: target.limiter.start(self.tokens)?,
            watch,
        })
    }
}
