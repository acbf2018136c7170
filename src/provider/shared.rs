//! What all handles of one limiter share: the quotas, behind a lock, and the queue in front of them.
//!
//! The lock is what makes several limits one: all of them change at one instant, or none. It is held for sums alone,
//! some tens of nanoseconds, and never while anything waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

#[cfg(feature = "tracing")]
use super::learned::Known;
use super::{
    Accounting, Provider, Reservation,
    ask::Ask,
    quota::{Decided, Due, Quotas},
};
use crate::{
    Clock, Limit, Rejected, Tokens,
    limit::{Entry, Gate, Place, Queued, Turnstile, Waiting},
};

/// A timer that is set so much later has passed what it was set for.
const TICK: Duration = Duration::from_millis(1);

/// The state.
#[derive(Debug)]
pub struct Shared {
    quotas: Mutex<Quotas>,
    clock: Clock,
    turnstile: Turnstile,
    accounting: Accounting,
    /// Tells the head of the queue that something has come back, or that a limit has changed.
    changed: Notify,
}

/// A place in the queue, and what is asked for there.
#[derive(Debug)]
pub struct Line {
    place: Place<Shared>,
    ask: Ask,
}

// ===== impl Shared =====

impl Shared {
    pub(super) fn new(provider: &Provider, clock: Clock) -> Self {
        let quotas = Quotas::new(provider, rand::random(), clock.now());
        Self {
            quotas: Mutex::new(quotas),
            clock,
            turnstile: Turnstile::new(),
            accounting: provider.accounting(),
            changed: Notify::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Quotas> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The quotas, and what time it is for them.
    #[inline]
    pub(super) fn quotas(&self) -> (MutexGuard<'_, Quotas>, u64) {
        let quotas = self.lock();
        // Read under the lock, so that time never goes back for the sums.
        (quotas, self.clock.now())
    }

    pub(super) fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// Lets the head of the queue look again.
    #[inline]
    pub(super) fn tell(&self) {
        if self.turnstile.waiting() > 0 {
            self.changed.notify_one();
        }
    }

    /// Lets the quotas hear what the provider said, and tells those who wait, and whoever listens to events, what it changed.
    pub(super) fn learn(&self, hear: impl FnOnce(&mut Quotas, u64)) {
        // Asked before the lock is taken: it may take as long as whoever listens likes.
        #[cfg(feature = "tracing")]
        let is_heard = Known::is_wanted();
        let (mut quotas, now) = self.quotas();
        #[cfg(feature = "tracing")]
        let known = is_heard.then(|| Known::of(&mut quotas, now));
        hear(&mut quotas, now);
        #[cfg(feature = "tracing")]
        let learned = known.map(|known| known.and_now(&mut quotas, now));
        drop(quotas);
        self.tell();
        #[cfg(feature = "tracing")]
        if let Some(learned) = learned {
            learned.tell();
        }
    }

    /// What time it is for the quotas, while they are locked.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    #[inline]
    pub(super) fn try_enter(self: &Arc<Self>, ask: &Ask) -> Entry<Reservation> {
        let (mut quotas, now) = self.quotas();
        match quotas.decide(ask.tokens, now) {
            Decided::Admit(ticket) => {
                drop(quotas);
                Entry::Pass(Reservation::new(self.clone(), ticket, ask.lesson.clone()))
            }
            Decided::Wait(due) => Entry::Wait(due.wait()),
            Decided::Never(never) => {
                quotas.count_refusal();
                Entry::Never(never.rejected())
            }
        }
    }

    /// The limit that a newcomer who asks for so much waits for.
    pub(super) fn waits_for(&self, tokens: Tokens) -> Limit {
        let (mut quotas, now) = self.quotas();
        quotas.waits_for(tokens, now, false)
    }

    fn due_in_turn(&self, tokens: Tokens) -> (Due, Limit) {
        let (mut quotas, now) = self.quotas();
        quotas.due_in_turn(tokens, now)
    }
}

impl Queued for Shared {
    #[allow(private_interfaces)]
    fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }
}

impl Gate for Arc<Shared> {
    type Ask = Ask;
    type Pass = Reservation;
    type Turn = Line;

    #[inline]
    fn enter(&self, ask: &Ask) -> Entry<Reservation> {
        self.try_enter(ask)
    }

    fn wait(
        &self,
        ask: Ask,
        expected: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Waiting<Line>, Rejected> {
        let limit = self.waits_for(ask.tokens);
        let place = Place::join(self.clone(), limit, 0, expected, default_max_wait);
        let place = place.inspect_err(|_| self.lock().count_refusal())?;
        self.lock().join(ask.tokens);
        let mut line = Line { place, ask };
        Ok(Box::pin(async move {
            line.place.reach_head().await;
            until_due(line).await
        }))
    }

    fn deadline(turn: &Line) -> Option<(Instant, Rejected)> {
        let (mut quotas, now) = turn.place.queue().quotas();
        let limit = quotas.waits_for(turn.ask.tokens, now, true);
        drop(quotas);
        let refusal = turn.place.waited_too_long(limit, Some(Duration::ZERO));
        Some((turn.place.last_instant()?, refusal))
    }

    fn take(turn: Line) -> Result<Reservation, Waiting<Line>> {
        let shared = turn.place.queue();
        let (mut quotas, now) = shared.quotas();
        let decided = quotas.decide_in_turn(turn.ask.tokens, now);
        drop(quotas);
        match decided {
            Decided::Admit(ticket) => Ok(Reservation::new(
                shared.clone(),
                ticket,
                turn.ask.lesson.clone(),
            )),
            // The place, and with it the turn, is kept.
            Decided::Wait(_) | Decided::Never(_) => Err(Box::pin(until_due(turn))),
        }
    }
}

/// Sleeps, as the head of the queue, until there is room.
async fn until_due(line: Line) -> Result<Line, Rejected> {
    let shared = line.place.queue().clone();
    loop {
        let (due, limit) = shared.due_in_turn(line.ask.tokens);
        let wait = due.wait();
        let last = line.place.last_instant();
        let is_too_long = last.is_some_and(|last| {
            let due = Instant::now().checked_add(wait.unwrap_or_default());
            due.is_none_or(|due| due > last)
        });
        if is_too_long {
            shared.lock().count_refusal();
            return Err(line.place.waited_too_long(limit, wait));
        }
        if due == Due::Now {
            return Ok(line);
        }
        // Told before it began to listen, it finds that out at once: one word is kept.
        let changed = shared.changed.notified();
        match (wait, last) {
            (Some(wait), _) => drop(timeout(wait, changed).await),
            (None, Some(last)) => drop(timeout_at(last + TICK, changed).await),
            (None, None) => changed.await,
        }
    }
}

// ===== impl Line =====

impl Drop for Line {
    fn drop(&mut self) {
        self.place.queue().lock().leave(self.ask.tokens);
    }
}

// ===== impl Due =====

impl Due {
    /// How long it will take, where that is known.
    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::In(nanos) => Some(Duration::from_nanos(nanos)),
            Self::Unknown => None,
        }
    }
}
