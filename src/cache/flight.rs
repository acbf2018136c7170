//! Equal requests that are under way at one time.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    channel::Channel, head::Head, landing::Landing, original::Original, pulse::Pulse,
    ticket::Ticket, wakers::Wakers,
};

/// After so many failures in a row nobody waits for another attempt.
const MOST_FAILURES: u32 = 2;

/// One request that asks, the lead, and those who wait for its answer.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) landing: Landing,
    pub(super) wakers: Wakers,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Which lead is in charge. One that was passed over has an older number.
    term: u64,
    pulse: Arc<Pulse>,
    failures: u32,
    pub(super) followers: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) enum Phase {
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

    /// A place for one more, with an id that nobody else has; none where it is too late, or an answer is there that it does
    /// not take.
    pub(super) fn follow(
        self: &Arc<Self>,
        id: u64,
        takes: impl FnOnce(&Head) -> bool,
    ) -> Option<Ticket> {
        let mut state = self.lock();
        let is_let_in = match &state.phase {
            Phase::Asking | Phase::Vacant => state.followers.insert(id),
            Phase::Streaming(channel) => takes(&channel.head) && channel.join(id),
            Phase::Over => false,
        };
        is_let_in.then(|| Ticket::new(self.clone(), id))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl State {
    pub(super) fn owed(&self) -> Option<Owed> {
        if !matches!(self.phase, Phase::Asking) {
            return None;
        }
        let poll = self.pulse.owes()?;
        let term = self.term;
        Some(Owed { term, poll })
    }

    /// Gives the charge to a follower.
    pub(super) fn appoint(&mut self, flight: &Arc<Flight>, id: u64) -> Charge {
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
