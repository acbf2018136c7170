//! A request that waits for several targets at once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    guarded::Guarded,
    run::{Admitted, Run},
    waits::{Expected, Refusals},
};
use crate::{BoxError, Circuit, limit::Stopped, provider::Lane};

/// How much longer than it may wait a request is kept: the lateness of the timers of those ahead of it.
const GRACE: Duration = Duration::from_millis(10);

/// A place in the queue of each target that a request may go to. The first one in which it is its turn has it, and the
/// other places are left: nothing has been taken there.
pub(super) struct Race<S> {
    lanes: Vec<(usize, Lane<Guarded<S>>)>,
    refusals: Refusals,
    patience: Option<Pin<Box<Sleep>>>,
}

// ===== impl Race =====

impl<S: Clone> Race<S> {
    /// Joins the queues.
    ///
    /// A target that is left alone has a place, too, for when it is well again; but none is joined for its sake, unless
    /// `asks_all` are asked, whatever has come of those before.
    ///
    /// # Errors
    ///
    /// What is told where no queue takes the request.
    pub(super) fn join<Request>(run: &Run<S, Request>, asks_all: bool) -> Result<Self, BoxError> {
        let mut race = Self {
            lanes: Vec::new(),
            refusals: Refusals::default(),
            patience: None,
        };
        let (left_alone, well) = run
            .left()
            .zip(run.expected())
            .partition::<Vec<_>, _>(|((_, target), _)| !asks_all && target.circuit.is_open());
        for ((number, target), wait) in well {
            let circuit = (!asks_all).then(|| target.circuit.clone());
            race.add(run, number, wait, circuit);
        }
        if race.lanes.is_empty() {
            return Err(race.stop(run));
        }
        for ((number, target), wait) in left_alone {
            race.add(run, number, wait, Some(target.circuit.clone()));
        }
        Ok(race)
    }

    fn add<Request>(
        &mut self,
        run: &Run<S, Request>,
        number: usize,
        wait: Expected,
        circuit: Option<Circuit>,
    ) {
        let Some(target) = run.targets.list.get(number) else {
            return;
        };
        let max_wait = run.patience();
        let lane = wait.and_then(|wait| {
            if max_wait.is_zero() || wait.is_some_and(|wait| wait > max_wait) {
                return Err(run.too_long(target, wait));
            }
            let service = Guarded::new(run.services.get(number), circuit);
            target.limiter.queue(run.tokens, wait, service)
        });
        match lane {
            Ok(lane) => self.lanes.push((number, lane)),
            Err(rejected) => self.refusals.add(rejected),
        }
    }
}

impl<S> Race<S> {
    /// In how many queues it stands.
    #[cfg(feature = "tracing")]
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Ends with the first target that lets the request in.
    pub(super) fn poll<Request>(
        &mut self,
        run: &Run<S, Request>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Admitted<S>, BoxError>>
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
    {
        let mut place = 0;
        while let Some((number, lane)) = self.lanes.get_mut(place) {
            match lane.poll::<Request>(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(reservation)) => {
                    let number = *number;
                    let service = self.lanes.swap_remove(place).1.into_service().into_inner();
                    self.lanes.clear();
                    return Poll::Ready(Ok(run.admitted(number, service, reservation)));
                }
                Poll::Ready(Err(stopped)) => {
                    self.lanes.remove(place);
                    match stopped {
                        Stopped::Refused(rejected) => self.refusals.add(rejected),
                        Stopped::NotReady(error) => self.refusals.add_error(error.into()),
                    }
                }
            }
        }
        if self.lanes.is_empty() {
            return Poll::Ready(Err(self.stop(run)));
        }
        if self.is_in_time(run.deadline, cx) {
            return Poll::Pending;
        }
        self.lanes.clear();
        self.refuse(run);
        Poll::Ready(Err(self.stop(run)))
    }

    fn is_in_time(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(last) = deadline.and_then(|deadline| deadline.checked_add(GRACE)) else {
            return true;
        };
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep_until(last)));
        patience.as_mut().poll(cx).is_pending()
    }

    /// Says how long it would still take.
    fn refuse<Request>(&mut self, run: &Run<S, Request>) {
        for ((_, target), wait) in run.left().zip(run.expected()) {
            let rejected = wait.map(|wait| run.too_long(target, wait));
            self.refusals.add(rejected.unwrap_or_else(|never| never));
        }
    }

    fn stop<Request>(&mut self, run: &Run<S, Request>) -> BoxError {
        let refusals = std::mem::take(&mut self.refusals);
        refusals
            .into_error()
            .unwrap_or_else(|| run.no_target().into())
    }
}

impl<S> fmt::Debug for Race<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.lanes.iter().map(|(number, _)| number).collect();
        f.debug_struct("Race").field("targets", &targets).finish()
    }
}
