//! A call for the first request in the queue, and for as much of the queue behind it as fits.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime, time::Instant};

use super::{
    Asker, Link,
    state::{PendingReport, State, StoreWait, shortest_hold},
};
use crate::limit::{
    nanos,
    store::{
        call::{Call, ChargedUnits, Outcome, Reply, StoreError, Take, TakeReply},
        constants,
        handle::Outage,
        pot::{Grant, Marks},
    },
};

/// What the first request in the queue asks for.
struct TakeRequest {
    asker: Asker,
    cost: Vec<u64>,
    more: Vec<u64>,
}

/// A call that was sent.
struct SentTake {
    take: Take,
    /// As it was before the units that come back were added.
    charged: Vec<ChargedUnits>,
    at: Instant,
    pause: Option<Instant>,
}

/// Ends a call that is under way, without a reply if it is dropped before.
struct AskGuard {
    link: Arc<Link>,
    /// Not if the runtime has ended before.
    has_begun: bool,
}

// ===== impl Link =====

impl Link {
    /// Sends a call in a task of its own, unless one is under way.
    pub(super) fn ask(
        self: &Arc<Self>,
        state: &mut State,
        cost: &[u64],
        asker: Asker,
        now: Instant,
    ) {
        let Ok(runtime) = runtime::Handle::try_current() else {
            return;
        };
        // Acquire and release: the next call sees what the one before has noted.
        if self.is_asking.swap(true, Ordering::Acquire) {
            return;
        }
        let mut guard = AskGuard {
            link: self.clone(),
            has_begun: false,
        };
        let cost = state.limits.iter().zip(cost);
        let cost: Vec<_> = cost.map(|(limit, cost)| limit.cost(*cost)).collect();
        let more = match cost.iter().all(|cost| *cost == 0) {
            true => vec![0; cost.len()],
            false => self.more(state, &cost, asker, now),
        };
        let ask = TakeRequest { asker, cost, more };
        runtime.spawn(async move {
            guard.has_begun = true;
            let link = guard.link.clone();
            link.run(ask).await;
            drop(guard);
            // What came while it was under way.
            let mut state = link.state();
            if state.must_tell_now() {
                link.tell(&mut state, Instant::now());
            }
            if link.must_sweep(&state) {
                link.sweep();
            }
        });
    }

    /// Returns the units for the queue behind a request of `cost`, and ahead of need.
    fn more(&self, state: &mut State, cost: &[u64], asker: Asker, now: Instant) -> Vec<u64> {
        let limits = state.limits.clone();
        let more = limits.iter().zip(cost).enumerate();
        let more = more.map(|(number, (limit, cost))| {
            let queued = match asker {
                Asker::New(_) => self.queue.units(number),
                Asker::Head => self.queue.units(number).saturating_sub(*cost),
            };
            let ahead = state.pace.units(number, now, state.hold);
            let ahead = ahead.min(limit.capacity() / constants::AHEAD);
            limit.cost(queued.saturating_add(ahead).min(limit.capacity()))
        });
        more.collect()
    }

    /// Returns the wait of requests that take `cost` or more of a limit.
    fn wait(
        &self,
        state: &State,
        (limit, wait): (usize, Duration),
        cost: u64,
        now: Instant,
    ) -> StoreWait {
        let wait = wait.max(constants::floor(state.hold));
        // There may be many clients, so each asks when it may have something. But a large request
        // renews its claim, or small ones of other processes would take all that comes back.
        let is_alone = cost <= 1 || self.queue.units(limit) == 0;
        let again = match self.is_client() && is_alone {
            true => wait,
            false => constants::look_again(wait, state.hold, self.timeout()),
        };
        StoreWait {
            limit,
            cost,
            until: constants::later(now, wait),
            again: constants::later(now, again),
        }
    }

    async fn run(&self, ask: TakeRequest) {
        // There may be many clients.
        let turn = match self.is_client() {
            true => self.handle.turn().await,
            false => None,
        };
        if turn.is_none() && self.is_client() {
            // A call for no request can wait.
            if ask.cost.iter().any(|cost| *cost > 0) {
                let mut state = self.state();
                state.unsent = Some(Outage::after(state.unsent, Instant::now(), self.timeout()));
            }
            return;
        }
        let result = match self.prepare().await {
            Ok(()) => self.carry_out(ask).await,
            error => error,
        };
        match result {
            // The store has forgotten the limits.
            Ok(()) if self.state().report == Some(PendingReport::All) => {
                let _unknown = self.prepare().await;
            }
            Err(StoreError::Unreadable(_)) => {
                let mut state = self.state();
                let broken = Outage::after(state.broken, Instant::now(), self.timeout());
                state.broken = Some(broken);
            }
            _ => {}
        }
    }

    /// Makes a call that takes nothing.
    pub(super) async fn hear_only(&self) -> Result<(), StoreError> {
        let [cost, more] = [(); 2].map(|()| vec![0; self.code.len()]);
        let asker = Asker::New(Duration::ZERO);
        self.carry_out(TakeRequest { asker, cost, more }).await
    }

    async fn carry_out(&self, ask: TakeRequest) -> Result<(), StoreError> {
        let sent = self.take_to_send(ask);
        let reply = self.handle.call(Call::Take(sent.take.clone())).await;
        let mut state = self.state();
        let result = match reply {
            Ok(Reply::Take(taken)) => {
                self.hear(&mut state, taken, &sent);
                Ok(())
            }
            other => other.and(Err(StoreError::Unreadable("another reply".into()))),
        };
        if result.is_err() || state.report == Some(PendingReport::All) {
            // The store may not have heard of it, or has lost it.
            let newer = std::mem::replace(&mut state.charged, sent.charged);
            let now = state.store_time(Instant::now());
            for charged in newer {
                state.charge(charged, now);
            }
        }
        result
    }

    /// Returns the call, which also gives back what is left in the pot.
    fn take_to_send(&self, ask: TakeRequest) -> SentTake {
        let TakeRequest { asker, cost, more } = ask;
        let (mut state, now) = (self.state(), Instant::now());
        let has_lapsed = state.pot.until().is_some_and(|until| until <= now);
        if has_lapsed || cost.iter().any(|cost| *cost > 0) {
            state.empty_pot();
        }
        let timeout = self.timeout();
        // A reply that comes later than that is of no use.
        let twice = self.handle.reply_time().saturating_mul(2);
        state.hold = shortest_hold(&state.limits, timeout).max(twice);
        let look_again = constants::look_again(Duration::MAX, state.hold, timeout);
        let at = state.store_time(now);
        let is_used = state.is_used_at(at);
        let age = now.saturating_duration_since(state.clock.0);
        // A client that is lost starts anew.
        let version = state.version.filter(|_| !self.is_client());
        let pause = state.new_pause;
        let pause_left = pause.map(|until| until.saturating_duration_since(now));
        // Before a report the store may not know of what comes back.
        let (returned, charged) = match state.report.is_none() && state.sent_report.is_none() {
            true => (
                std::mem::take(&mut state.returned),
                std::mem::take(&mut state.charged),
            ),
            false => (Vec::new(), Vec::new()),
        };
        let mut with_returned = charged.clone();
        for charge in &mut with_returned {
            // What comes back is still used when it is charged.
            let of_limit = returned.iter().filter(|(limit, _)| *limit == charge.limit);
            let back: u64 = of_limit.map(|(_, mark)| mark.cost).sum();
            charge.up_to = charge.up_to.map(|up_to| up_to.saturating_add(back));
        }
        let take = Take {
            key: self.key.clone(),
            limits: self.limits_to_send(&state),
            process: self.id,
            cost,
            more,
            hold: state.hold,
            is_in_turn: matches!(asker, Asker::Head),
            patience: match asker {
                Asker::New(max_wait) => max_wait,
                Asker::Head => self.queue.wait_queue().patience(),
            },
            claim: look_again.saturating_add(timeout),
            not_after: state.knows_clock.then(|| at.saturating_add(nanos(timeout))),
            seen: version.filter(|_| is_used || age < constants::KEPT),
            grace: constants::grace(timeout),
            returned,
            charged: with_returned,
            pause: pause_left.unwrap_or_default(),
        };
        SentTake {
            take,
            charged,
            at: now,
            pause,
        }
    }

    /// Notes the reply.
    fn hear(&self, state: &mut State, mut taken: TakeReply, sent: &SentTake) {
        let now = Instant::now();
        let code = Some(&self.code).filter(|_| !self.is_client());
        state.note(&mut taken, sent.at, code, self.timeout());
        state.new_pause = state.new_pause.filter(|pause| Some(*pause) != sent.pause);
        let slowest = taken.slowest;
        match taken.outcome {
            Outcome::Granted { marks, more_in } => {
                let marks = Marks::from(marks);
                if marks.have_units() {
                    state.told = None;
                    let wanted = sent.take.cost.iter().zip(&sent.take.more);
                    let wanted = wanted.map(|(cost, more)| cost.saturating_add(*more));
                    let mut both = marks.iter().zip(wanted);
                    if both.any(|(mark, wanted)| mark.cost < wanted) {
                        state.told = Some(self.wait(state, (slowest, more_in), 1, now));
                    }
                    Self::granted(state, marks, taken.now, sent, now);
                }
            }
            Outcome::Wait(wait) => {
                let cost = sent.take.cost.get(slowest).copied().unwrap_or(0);
                state.told = Some(self.wait(state, (slowest, wait), cost, now));
            }
            // The capacity has changed, which the next look finds.
            Outcome::Never | Outcome::TooLate => {}
            Outcome::Lost(closed) => state.lost(closed),
        }
    }

    /// Puts a grant into the pot.
    fn granted(state: &mut State, marks: Marks, at: u64, sent: &SentTake, now: Instant) {
        state.empty_pot();
        let until = constants::later(sent.at, sent.take.hold);
        if until <= now {
            // They count from an instant on that has passed, so none may start any more.
            for (limit, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.cost > 0) {
                state.give_back(limit, *mark);
            }
            state.told = None;
            return;
        }
        let grant = Grant {
            marks,
            taken_at: at,
            until,
            is_local: false,
        };
        state.put(grant, now);
    }
}

// ===== impl AskGuard =====

impl Drop for AskGuard {
    fn drop(&mut self) {
        self.link.is_asking.store(false, Ordering::Release);
        // Otherwise a request that looks again would ask again at once, without end.
        if self.has_begun {
            self.link.queue.wait_queue().wake_head();
        }
    }
}
