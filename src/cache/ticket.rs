//! The place of a request that waits for the answer of another one.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    body::Reader,
    flight::{Charge, Flight, Owed, Phase},
    landing::Landing,
};

/// A place among those who wait. Dropping it gives it up.
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
    /// Ask for itself.
    Alone,
}

// ===== impl Ticket =====

impl Ticket {
    pub(super) const fn new(flight: Arc<Flight>, id: u64) -> Self {
        Self {
            flight,
            id,
            is_used: false,
        }
    }

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
