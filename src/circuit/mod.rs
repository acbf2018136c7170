//! A memory of what fails, so that it can be left alone for a while.
//!
//! A [`Circuit`] is told what came of each call. After too many failures it *opens*: nobody is let through for a cooldown.
//! When that is over it lets one call through, to find out whether all is well again, and one only. If that one fails the
//! cooldown grows; if it succeeds the circuit *closes*, and everybody is let through.
//!
//! [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) does all of this for a service. A circuit by itself is for what is no
//! service, and to look at:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::time::Duration;
//! use tower_throttle::{Circuit, circuit::State};
//!
//! let circuit = Circuit::new().failures(2);
//! circuit.enter()?.failed(None);
//! circuit.enter()?.failed(Some(Duration::from_secs(20)));
//!
//! assert!(circuit.is_open());
//! let open = circuit.enter().unwrap_err();
//! assert!(open.retry_after() >= Some(Duration::from_secs(20)), "the server's wish is more than the cooldown");
//!
//! tokio::time::sleep(open.retry_after().unwrap()).await;
//! assert_eq!(circuit.state(), State::HalfOpen);
//! let probe = circuit.enter()?;
//! assert!(circuit.enter().is_err(), "one at a time");
//! probe.succeeded();
//! assert_eq!(circuit.state(), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! # When it opens
//!
//! - After 6 [failures in a row](Circuit::failures), which are more than the attempts of one request, or
//! - when of the outcomes of the last 10 s, which must be 20 or more, half are failures.
//!
//! So a share of 15 % of failures, spread among the successes, does not open it. By chance six come in a row once in some
//! ninety thousand; then it is open for a second.
//!
//! What comes of a call counts for the time in which it began. When it opens with a hundred calls under way, those can
//! neither close it nor make it stay open for longer.
//!
//! # For how long
//!
//! About a second at first, and twice as long each time that the probe fails, up to a minute: see
//! [`cooldown`](Circuit::cooldown). Never for less than the failures of the row that opened it asked for, of which up to
//! [5 minutes](Circuit::longest_hint) are granted.
//!
//! A probe that takes longer than a minute no longer keeps another one from finding out.
//!
//! # What is shared
//!
//! A clone of a circuit is another handle to the same one.
//!
//! # What it costs
//!
//! While it is closed, a call that succeeds counts a reference, reads the clock and adds to an atomic number. A lock is taken
//! for a failure, and while it is open; nothing is allocated once it is made. It is under 400 bytes.

mod engine;
#[cfg(all(test, throttle_loom))]
mod loom_tests;
mod opening;
mod tally;
#[cfg(all(test, not(throttle_loom)))]
mod tests;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use self::engine::{Engine, Look, Terms, Ticket};
pub(crate) use self::watch::Scout;
pub use self::watch::Watch;
#[doc(no_inline)]
pub use crate::CircuitOpen;
use crate::{
    Clock, Outcome,
    algorithm::backoff::{Backoff, Jitter},
};

/// Remembers failures, and says who is let through. See the [module docs](self) for an example.
///
/// A clone is another handle to the same circuit. The setters make a circuit of their own that is closed: call them before
/// it is cloned.
#[derive(Clone)]
#[must_use]
pub struct Circuit(Arc<Shared>);

struct Shared {
    engine: Engine,
    clock: Clock,
}

/// How a [`Circuit`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Everybody is let through.
    Closed,
    /// Nobody is.
    Open,
    /// One at a time is, to find out whether all is well again.
    HalfOpen,
}

// ===== impl Circuit =====

impl Circuit {
    /// A circuit that is closed, with the defaults for everything.
    pub fn new() -> Self {
        Self::with_clock(Clock::tokio())
    }

    /// A circuit that reads another clock.
    pub fn with_clock(clock: Clock) -> Self {
        let terms = Terms {
            failures: 6,
            cooldown: cooldown(Duration::from_secs(1), Duration::from_secs(60)),
            longest_hint: Duration::from_secs(5 * 60),
        };
        Self::on(terms, clock)
    }

    /// How many failures one after the other open it. 6 unless told otherwise; 0 counts as 1.
    pub fn failures(self, failures: u32) -> Self {
        self.set(|terms| terms.failures = failures.max(1).into())
    }

    /// How long it is open for: `first`, and twice as long each time that a probe fails, up to `most`. From 1 s to 60 s unless
    /// told otherwise.
    ///
    /// Half of it is certain and the rest is chance, so that those who failed together do not come back together. At 0
    /// somebody is let through at once, one at a time.
    pub fn cooldown(self, first: Duration, most: Duration) -> Self {
        self.set(|terms| terms.cooldown = cooldown(first, most))
    }

    /// How long it is open for at most because the other side asked for it. 5 minutes unless told otherwise.
    pub fn longest_hint(self, longest: Duration) -> Self {
        self.set(|terms| terms.longest_hint = longest)
    }

    /// Lets a call through, which then is to say what came of it.
    ///
    /// # Errors
    ///
    /// While it is open, and while the one is under way that was let through to find out.
    #[inline]
    pub fn enter(&self) -> Result<Watch, CircuitOpen> {
        let ticket = self.0.engine.enter(|| self.now())?;
        Ok(Watch::new(self.clone(), ticket))
    }

    /// Whether a call that came now would be turned away.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.engine.is_closed() && self.0.engine.check(self.now()).is_err()
    }

    /// How long until the next call is let through to find out whether all is well again; zero once the cooldown is over.
    ///
    /// `None` while it is closed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.engine.state(self.now()).1
    }

    /// How it stands now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.engine.state(self.now()).0
    }

    /// Looks from further out whether a call would be let through. Of those who find that one would while it is open, only
    /// one at a time is told so, and that one is the scout.
    pub(crate) fn look(&self) -> Result<Option<Scout>, CircuitOpen> {
        match self.0.engine.look(|| self.now()) {
            Look::Closed => Ok(None),
            Look::Open(open) => Err(open),
            Look::Scout(ticket) => Ok(Some(Scout::new(self.clone(), ticket))),
        }
    }

    #[inline]
    fn succeeded(&self, ticket: Ticket) {
        let _closed = self.0.engine.succeeded(ticket, || self.now());
        #[cfg(feature = "tracing")]
        if _closed {
            tracing::debug!("circuit closed");
        }
    }

    fn failed(&self, ticket: Ticket, hint: Option<Duration>, outcome: Option<Outcome>) {
        let engine = &self.0.engine;
        let _cooldown = engine.failed(ticket, hint, outcome, self.now(), rand::random());
        #[cfg(feature = "tracing")]
        if let Some(cooldown) = _cooldown {
            tracing::debug!(?cooldown, "circuit opened");
        }
    }

    #[inline]
    fn now(&self) -> u64 {
        self.0.clock.now()
    }

    fn set(self, change: impl FnOnce(&mut Terms)) -> Self {
        let mut terms = self.0.engine.terms();
        change(&mut terms);
        Self::on(terms, self.0.clock.clone())
    }

    fn on(terms: Terms, clock: Clock) -> Self {
        let engine = Engine::new(terms);
        Self(Arc::new(Shared { engine, clock }))
    }
}

const fn cooldown(first: Duration, most: Duration) -> Backoff {
    Backoff::new(first, most).jitter(Jitter::Equal)
}

impl Default for Circuit {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, retry_after) = self.0.engine.state(self.now());
        f.debug_struct("Circuit")
            .field("state", &state)
            .field("retry_after", &retry_after)
            .finish_non_exhaustive()
    }
}
