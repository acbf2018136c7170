//! A request that waits for several targets at once.

use std::{
    cmp::Reverse,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_service::Service;

use super::run::{Dispatch, Run};
use crate::{
    ai::provider::{Lane, WHOLE},
    error::{BoxError, Reason, Rejected},
    http::timer::Timer,
    limit::{clock::TIMER_LATENESS, engine::Stopped},
};

/// The shortest time between two checks of an open circuit.
const RECHECK: Duration = Duration::from_millis(200);

/// The places of one request in the queues of all its targets. The first target that admits it
/// wins; nothing has been taken from the others.
///
/// A target with an open circuit takes part only if no other target is left. Until then the request
/// has no place in its queue.
pub(super) struct Race<S> {
    pub(super) candidates: Vec<Candidate<S>>,
    refusals: Vec<Rejected>,
    /// The first error of a service that did not become ready.
    error: Option<BoxError>,
    timer: Timer,
}

pub(super) struct Candidate<S> {
    target: usize,
    is_open: bool,
    lane: Option<Lane<S>>,
}

/// The expected wait, if it is known, or an error if the request never fits.
type Expected = Result<Option<Duration>, Rejected>;

// ===== impl Race =====

impl<S: Clone> Race<S> {
    /// Joins the queues.
    ///
    /// # Errors
    ///
    /// Returns the most useful rejection if no queue accepts the request.
    pub(super) fn join<Request>(run: &Run<S, Request>) -> Result<Self, BoxError> {
        let candidate = |&target: &usize| Candidate {
            target,
            is_open: false,
            lane: None,
        };
        let mut race = Self {
            candidates: run.left.iter().map(candidate).collect(),
            refusals: Vec::new(),
            error: None,
            timer: Timer::default(),
        };
        race.update_lanes(run);
        let never_fits = race.refusals.iter().all(Rejected::is_final);
        if run.tried == 0 && never_fits {
            // The request may fit only targets with an open circuit.
            race.update_lanes(run);
        }
        match race.candidates.iter().any(|one| one.lane.is_some()) {
            true => Ok(race),
            false => Err(race.stop(run)),
        }
    }

    /// Resolves to the first target that admits the request.
    pub(super) fn poll<Request>(
        &mut self,
        run: &Run<S, Request>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Dispatch<S>, BoxError>>
    where
        S: Service<Request, Error: Into<BoxError>>,
    {
        loop {
            let before = self.candidates.len();
            self.update_lanes(run);
            if let Some(start) = self.poll_lanes(run, cx) {
                self.candidates.clear();
                return Poll::Ready(Ok(start));
            }
            if self.candidates.is_empty() {
                return Poll::Ready(Err(self.stop(run)));
            }
            if self.candidates.len() < before {
                // Only targets with an open circuit may be left.
                continue;
            }
            let now = Instant::now();
            let last = run.deadline.and_then(|at| at.checked_add(TIMER_LATENESS));
            if last.is_some_and(|last| last <= now) {
                // No queue is joined after the deadline: each rejection contains the wait.
                self.candidates.iter_mut().for_each(|one| one.lane = None);
                self.update_lanes(run);
                return Poll::Ready(Err(self.stop(run)));
            }
            let aside = self.candidates.iter().filter(|one| one.lane.is_none());
            let wait = aside.map(|one| run.target(one.target).circuit.retry_after());
            let wait = wait.min().map(|wait| wait.unwrap_or_default().max(RECHECK));
            let recheck = wait.and_then(|wait| now.checked_add(wait));
            let Some(at) = last.into_iter().chain(recheck).min() else {
                return Poll::Pending;
            };
            ready!(self.timer.poll(at, now, cx));
        }
    }

    /// Leaves the queues of targets with an open circuit, and joins the others.
    fn update_lanes<Request>(&mut self, run: &Run<S, Request>) {
        for one in &mut self.candidates {
            one.is_open = run.target(one.target).circuit.is_open();
        }
        let all_open = self.candidates.iter().all(|one| one.is_open);
        for one in &mut self.candidates {
            one.lane.take_if(|_| one.is_open && !all_open);
        }
        let joins = |one: &Candidate<S>| one.lane.is_none() && (all_open || !one.is_open);
        if !self.candidates.iter().any(joins) {
            return;
        }
        let mut waits = self.expected(run).into_iter();
        self.candidates.retain_mut(|one| {
            let wait = waits.next().unwrap_or(Ok(None));
            if !joins(one) {
                return true;
            }
            match wait.and_then(|wait| run.queue(one.target, wait)) {
                Ok(lane) => one.lane = Some(lane),
                Err(rejected) => self.refusals.push(rejected),
            }
            one.lane.is_some()
        });
    }

    /// Polls each place, and drops the failed ones.
    fn poll_lanes<Request>(
        &mut self,
        run: &Run<S, Request>,
        cx: &mut Context<'_>,
    ) -> Option<Dispatch<S>>
    where
        S: Service<Request, Error: Into<BoxError>>,
    {
        let mut start = None;
        self.candidates.retain_mut(|one| {
            let lane = one.lane.as_mut().filter(|_| start.is_none());
            match lane.map(|lane| lane.poll::<Request>(cx)) {
                None | Some(Poll::Pending) => return true,
                Some(Poll::Ready(Ok(reservation))) => {
                    start = one.lane.take().map(|lane| Dispatch {
                        target: one.target,
                        service: lane.service,
                        reservation,
                        watch: run.target(one.target).circuit.enter().ok(),
                    });
                }
                Some(Poll::Ready(Err(Stopped::Refused(rejected)))) => self.refusals.push(rejected),
                Some(Poll::Ready(Err(Stopped::NotReady(error)))) => {
                    self.error.get_or_insert_with(|| error.into());
                }
            }
            false
        });
        start
    }

    /// Returns the expected wait at each candidate.
    ///
    /// Queued requests wait for several targets at once, so each target serves only a part of its
    /// queue, in proportion to its speed.
    fn expected<Request>(&self, run: &Run<S, Request>) -> Vec<Expected> {
        let wait = |one: &Candidate<S>, share| -> Expected {
            let wait = run.target(one.target).limiter.outlook(run.tokens, share)?;
            Ok(wait.filter(|_| !one.is_open))
        };
        let ones = &self.candidates;
        let alone: Vec<_> = ones.iter().map(|one| wait(one, WHOLE)).collect();
        let is_first = |one: &Candidate<S>| run.target(one.target).limiter.waiting() == 0;
        if ones.len() < 2 || ones.iter().all(is_first) {
            return alone;
        }
        let speed = |wait: &Expected| match wait {
            Ok(Some(wait)) => u128::from(u64::MAX) / wait.as_nanos().max(1),
            Ok(None) | Err(_) => 0,
        };
        let all = alone.iter().map(speed).sum::<u128>().max(1);
        let shared = ones.iter().zip(&alone).map(|(one, alone)| {
            let share = (u128::from(WHOLE) * speed(alone)).div_ceil(all);
            wait(one, share.min(u128::from(WHOLE)) as u64)
        });
        shared.collect()
    }

    fn stop<Request>(&mut self, run: &Run<S, Request>) -> BoxError {
        let rejected = most_helpful(self.refusals.drain(..)).map(Into::into);
        let error = rejected.or_else(|| self.error.take());
        error.unwrap_or_else(|| run.no_target())
    }
}

/// Returns the rejection with the shortest wait, or else the one with the largest limit.
fn most_helpful(refusals: impl Iterator<Item = Rejected>) -> Option<Rejected> {
    refusals.min_by_key(|rejected| {
        let capacity = match rejected.reason() {
            Reason::ExceedsCapacity { capacity, .. } => Some(Reverse(capacity)),
            _ => None,
        };
        (capacity, rejected.retry_after().unwrap_or(Duration::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::LimitKind;

    fn never(capacity: u64) -> Rejected {
        let reason = Reason::ExceedsCapacity { cost: 9, capacity };
        Rejected::new(LimitKind::Pause, reason, None)
    }

    fn late(seconds: Option<u64>) -> Rejected {
        let max_wait = Duration::ZERO;
        let wait = seconds.map(Duration::from_secs);
        Rejected::new(LimitKind::Pause, Reason::WaitTooLong { max_wait }, wait)
    }

    fn best<const N: usize>(refusals: [Rejected; N]) -> Rejected {
        most_helpful(refusals.into_iter()).unwrap()
    }

    #[test]
    fn shortest_wait_or_else_largest_limit() {
        assert_eq!(best([never(1), never(3), never(2)]), never(3));
        assert_eq!(best([never(3), late(Some(9))]), late(Some(9)));
        assert_eq!(best([late(None), never(3)]), late(None));
        assert_eq!(
            best([late(Some(9)), late(None), late(Some(2)), late(Some(5))]),
            late(Some(2))
        );
        assert_eq!(best([late(None), late(Some(5))]), late(Some(5)));
    }
}
