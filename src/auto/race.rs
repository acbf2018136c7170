//! A request that waits for several targets at once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    guarded::{Aside, Guarded, NotReady},
    run::{Admitted, Run},
    waits::{Expected, Refusals},
};
use crate::{BoxError, clock::TIMER_LATENESS, limit::Stopped, provider::Lane};

/// A place in the queue of each target that a request may go to. The first one in which it is its turn has it, and the
/// other places are left: nothing has been taken there.
pub(super) struct Race<S> {
    lanes: Vec<(usize, Lane<Guarded<S>>)>,
    /// Those that are left alone. Their queues are joined when they are well again.
    aside: Vec<(usize, Aside)>,
    /// Whether those that are left alone are asked all the same.
    asks_all: bool,
    refusals: Refusals,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S: Clone> Race<S> {
    /// Joins the queues.
    ///
    /// One that is left alone is joined later, when it is well again; and nobody waits for that, unless all are. Then they
    /// are asked, whatever has come of those before.
    ///
    /// # Errors
    ///
    /// What is told where no queue takes the request.
    pub(super) fn join<Request>(run: &Run<S, Request>, asks_all: bool) -> Result<Self, BoxError> {
        let (left_alone, well) = run
            .left()
            .zip(run.expected())
            .partition::<Vec<_>, _>(|((_, target), _)| !asks_all && target.circuit.is_open());
        // One may have opened only now.
        let is_any_well = !well.is_empty() || run.tried() > 0;
        let (left_alone, well) = match is_any_well {
            true => (left_alone, well),
            false => (well, left_alone),
        };
        let mut race = Self {
            lanes: Vec::new(),
            aside: Vec::new(),
            asks_all: asks_all || !is_any_well,
            refusals: Refusals::default(),
            patience: None,
        };
        for ((number, _), wait) in well {
            race.add(run, number, wait);
        }
        if race.lanes.is_empty() {
            return Err(race.stop(run));
        }
        for ((number, target), wait) in left_alone {
            match wait {
                Ok(_) => race
                    .aside
                    .push((number, Aside::new(target.circuit.clone()))),
                Err(never) => race.refusals.add(never),
            }
        }
        Ok(race)
    }

    /// Joins a queue.
    fn add<Request>(&mut self, run: &Run<S, Request>, number: usize, wait: Expected) {
        let Some(target) = run.targets.list.get(number) else {
            return;
        };
        let max_wait = run.patience();
        let lane = wait.and_then(|wait| {
            if max_wait.is_zero() || wait.is_some_and(|wait| wait > max_wait) {
                return Err(run.too_long(target, wait));
            }
            let circuit = (!self.asks_all).then(|| target.circuit.clone());
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
    /// In how many queues it stands, or will.
    #[cfg(feature = "tracing")]
    pub(super) fn len(&self) -> usize {
        self.lanes.len() + self.aside.len()
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
        loop {
            if !self.asks_all && self.is_all_left_alone(run) {
                self.ask_all();
            }
            self.come_back(run, cx);
            let aside = self.aside.len();
            if let Some(admitted) = self.poll_lanes(run, cx) {
                self.lanes.clear();
                return Poll::Ready(Ok(admitted));
            }
            match (self.lanes.is_empty(), self.aside.is_empty()) {
                (true, true) => return Poll::Ready(Err(self.stop(run))),
                // Nobody waits for the sake of one that is left alone.
                (true, false) => self.ask_all(),
                (false, _) if self.aside.len() == aside => break,
                // For the wakers of those that were put aside.
                (false, _) => {}
            }
        }
        if self.is_in_time(run.deadline, cx) {
            return Poll::Pending;
        }
        self.lanes.clear();
        self.aside.clear();
        self.refuse(run);
        Poll::Ready(Err(self.stop(run)))
    }

    /// Polls each place, and gives up those that lead nowhere.
    fn poll_lanes<Request>(
        &mut self,
        run: &Run<S, Request>,
        cx: &mut Context<'_>,
    ) -> Option<Admitted<S>>
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
    {
        let mut place = 0;
        while let Some((number, lane)) = self.lanes.get_mut(place) {
            let number = *number;
            match lane.poll::<Request>(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(reservation)) => {
                    let service = self.lanes.swap_remove(place).1.into_service().into_inner();
                    return Some(run.admitted(number, service, reservation));
                }
                Poll::Ready(Err(stopped)) => {
                    self.lanes.remove(place);
                    match stopped {
                        Stopped::Refused(rejected) => self.refusals.add(rejected),
                        Stopped::NotReady(NotReady::LeftAlone(circuit)) => {
                            self.aside.push((number, Aside::new(circuit)));
                        }
                        Stopped::NotReady(NotReady::Failed(error)) => {
                            self.refusals.add_error(error.into());
                        }
                    }
                }
            }
        }
        None
    }

    /// Joins the queues of those that are well again, or that are asked all the same.
    fn come_back<Request>(&mut self, run: &Run<S, Request>, cx: &mut Context<'_>)
    where
        S: Clone,
    {
        let mut place = 0;
        while let Some((number, aside)) = self.aside.get_mut(place) {
            if self.asks_all || aside.poll(cx).is_ready() {
                let number = *number;
                self.aside.remove(place);
                self.add(run, number, run.expected_at(number));
            } else {
                place += 1;
            }
        }
    }

    fn is_all_left_alone<Request>(&self, run: &Run<S, Request>) -> bool {
        let lanes = self.lanes.iter().map(|(number, _)| *number);
        let mut all = lanes.chain(self.aside.iter().map(|(number, _)| *number));
        all.all(|number| {
            let target = run.targets.list.get(number);
            target.is_some_and(|target| target.circuit.is_open())
        })
    }

    fn ask_all(&mut self) {
        self.asks_all = true;
        for (_, lane) in &mut self.lanes {
            lane.service_mut().ask_always();
        }
    }

    fn is_in_time(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(last) = deadline.and_then(|deadline| deadline.checked_add(TIMER_LATENESS)) else {
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
