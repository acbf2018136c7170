//! Equal requests that are under way at one time.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use super::{
    body::Reader, channel::Channel, landing::Landing, original::Original, pulse::Pulse,
    wakers::Wakers,
};

/// After so many failures in a row nobody waits for another attempt.
const MOST_FAILURES: u32 = 2;

/// One request that asks, the lead, and those who wait for its answer.
#[derive(Debug)]
pub(super) struct Flight {
    landing: Landing,
    wakers: Wakers,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Which lead is in charge. One that was passed over has an older number.
    term: u64,
    pulse: Arc<Pulse>,
    failures: u32,
    followers: BTreeSet<u64>,
}

#[derive(Debug)]
enum Phase {
    /// The lead is out.
    Asking,
    /// It gave up: who is polled first takes over.
    Vacant,
    /// There is an answer.
    Streaming(Arc<Channel>),
    /// There is none that could be shared.
    Over,
}

/// A poll that a lead owes those who follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    term: u64,
    poll: u64,
}

/// The right to ask for all. Who drops it leaves it to another.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) flight: Arc<Flight>,
    pub(super) pulse: Arc<Pulse>,
    term: u64,
}

/// What became of a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It was dropped, or panicked.
    Gone,
    /// It got no answer that could be shared. Another attempt may.
    Failed,
    /// Its answer is for it alone, and so will others be.
    Private,
}

/// A place among those who wait.
#[derive(Debug)]
pub(super) struct Ticket {
    flight: Arc<Flight>,
    id: u64,
    is_used: bool,
}

/// What a follower is to do.
#[derive(Debug)]
pub(super) enum Turn {
    Read(Reader),
    Lead(Charge),
    Alone,
}

// ===== impl Flight =====

impl Flight {
    /// With its first lead.
    pub(super) fn begin(landing: Landing) -> Charge {
        let pulse = Pulse::new();
        let state = State {
            phase: Phase::Asking,
            term: 0,
            pulse: pulse.clone(),
            failures: 0,
            followers: BTreeSet::new(),
        };
        let flight = Arc::new(Self {
            landing,
            wakers: Wakers::default(),
            state: Mutex::new(state),
        });
        Charge {
            flight,
            pulse,
            term: 0,
        }
    }

    /// A place for one more, with an id that nobody else has; none where it is too late.
    pub(super) fn follow(self: &Arc<Self>, id: u64) -> Option<Ticket> {
        let mut state = self.lock();
        let is_let_in = match &state.phase {
            Phase::Asking | Phase::Vacant => state.followers.insert(id),
            Phase::Streaming(channel) => channel.join(id),
            Phase::Over => false,
        };
        is_let_in.then(|| Ticket {
            flight: self.clone(),
            id,
            is_used: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl State {
    fn owed(&self) -> Option<Owed> {
        if !matches!(self.phase, Phase::Asking) {
            return None;
        }
        let poll = self.pulse.owes()?;
        let term = self.term;
        Some(Owed { term, poll })
    }

    /// Gives the charge to a follower.
    fn appoint(&mut self, flight: &Arc<Flight>, id: u64) -> Charge {
        self.followers.remove(&id);
        self.phase = Phase::Asking;
        self.term += 1;
        self.pulse = Pulse::new();
        #[cfg(feature = "tracing")]
        tracing::debug!(waiting = self.followers.len(), "taking the lead");
        Charge {
            flight: flight.clone(),
            pulse: self.pulse.clone(),
            term: self.term,
        }
    }
}

// ===== impl Charge =====

impl Charge {
    /// Says how it went. Of no account where another lead is in charge.
    pub(super) fn report(&self, report: Report) {
        let mut state = self.flight.lock();
        if !self.is_in_charge(&state) {
            return;
        }
        state.failures += u32::from(report == Report::Failed);
        let goes_on = report != Report::Private
            && state.failures < MOST_FAILURES
            && !state.followers.is_empty();
        state.phase = match goes_on {
            true => Phase::Vacant,
            false => Phase::Over,
        };
        drop(state);
        if !goes_on {
            self.flight.landing.abandon();
        }
        self.flight.wakers.wake_all();
    }

    /// There is an answer, which `open` lets those read whose ids it is given. Gives it back where another lead is in charge.
    pub(super) fn answer(
        &self,
        original: Original,
        open: impl FnOnce(Original, BTreeSet<u64>) -> Arc<Channel>,
    ) -> Result<Arc<Channel>, Original> {
        let mut state = self.flight.lock();
        if !self.is_in_charge(&state) {
            return Err(original);
        }
        let followers = mem::take(&mut state.followers);
        let channel = open(original, followers);
        state.phase = Phase::Streaming(channel.clone());
        drop(state);
        self.flight.wakers.wake_all();
        Ok(channel)
    }

    fn is_in_charge(&self, state: &State) -> bool {
        state.term == self.term && matches!(state.phase, Phase::Asking)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Of no account where it has reported, or got an answer.
        self.report(Report::Gone);
    }
}

// ===== impl Ticket =====

impl Ticket {
    pub(super) fn landing(&self) -> &Landing {
        &self.flight.landing
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Turn> {
        let mut state = self.flight.lock();
        let turn = match &state.phase {
            Phase::Asking => {
                self.flight.wakers.wait(self.id, cx);
                return Poll::Pending;
            }
            Phase::Vacant => Turn::Lead(state.appoint(&self.flight, self.id)),
            Phase::Streaming(channel) => {
                // Nothing was given to the caller yet: one that has broken off already does not matter.
                match channel.is_open_to(self.id) {
                    true => Turn::Read(Reader::new(channel.clone(), self.id)),
                    false => Turn::Alone,
                }
            }
            Phase::Over => Turn::Alone,
        };
        drop(state);
        self.is_used = true;
        Poll::Ready(turn)
    }

    /// The poll that the lead owes, if it owes one.
    pub(super) fn owed(&self) -> Option<Owed> {
        self.flight.lock().owed()
    }

    /// Passes a lead over that still owes that poll.
    pub(super) fn take_over(&mut self, owed: Owed) -> Option<Charge> {
        let mut state = self.flight.lock();
        let is_stalled = state.owed() == Some(owed);
        let charge = is_stalled.then(|| state.appoint(&self.flight, self.id));
        drop(state);
        self.is_used |= charge.is_some();
        charge
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flight.wakers.leave(self.id);
        if self.is_used {
            return;
        }
        let mut state = self.flight.lock();
        state.followers.remove(&self.id);
        if let Phase::Streaming(channel) = &state.phase {
            let channel = channel.clone();
            drop(state);
            channel.leave(self.id);
        } else if matches!(state.phase, Phase::Vacant) && state.followers.is_empty() {
            state.phase = Phase::Over;
            drop(state);
            self.flight.landing.abandon();
        }
    }
}
