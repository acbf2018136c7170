//! Circuit breaker: counts failures, and rejects calls for a while after too many of them.
//!
//! After too many failures a [`Circuit`] *opens*: it rejects all calls for a cooldown. Then it is
//! *half open*: it admits one call as a probe. If the probe fails, the circuit opens again for a
//! longer cooldown; if it succeeds, the circuit *closes* and admits all calls.
//!
//! [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) is the middleware. A `Circuit` also works
//! without a service.
//!
//! # Examples
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
//! // The server's hint is longer than the cooldown.
//! assert!(open.retry_after() >= Some(Duration::from_secs(20)));
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
//! - After 6 [failures in a row](Circuit::failures), which is more than the attempts of one
//!   request, or
//! - if at least 20 calls ended in the last 10 s, and at least half of them failed.
//!
//! At a failure rate of 15 %, spread at random, it opens about once in ninety thousand calls,
//! because of six failures in a row. It is then open for a second.
//!
//! An outcome counts in the state in which its call began. If the circuit opens with a hundred
//! calls under way, these can neither close it nor extend the cooldown.
//!
//! # Cooldown
//!
//! About a second at first, and twice as long each time that the probe fails, up to a minute: see
//! [`cooldown`](Circuit::cooldown). If the failures that opened the circuit had a `Retry-After`, at
//! least that long, up to [5 minutes](Circuit::longest_hint).
//!
//! After a probe has been under way for a minute, another call is admitted as a probe.
//!
//! # What is shared
//!
//! Clones share the circuit.
//!
//! # Performance
//!
//! While it is closed, a successful call counts a reference, reads the clock and adds to an atomic
//! number. A failure takes a lock, and so does any call while it is open. Nothing is allocated
//! after it is made. Its size is under 400 bytes.

mod call_guard;
mod engine;
#[cfg(all(test, throttle_loom))]
mod loom_tests;
mod tally;
#[cfg(all(test, not(throttle_loom)))]
mod tests;

use std::{sync::Arc, time::Duration};

pub use self::call_guard::CallGuard;
use self::engine::{CircuitSettings, Engine};
#[doc(no_inline)]
pub use crate::error::CircuitOpen;
use crate::{
    backoff::{Backoff, Jitter},
    limit::Clock,
};

/// Counts failures, and rejects calls after too many of them. See the [module docs](self) for an
/// example.
///
/// A clone is another handle to the same circuit. The setters return a new, closed circuit: call
/// them before it is cloned.
#[derive(Clone)]
#[must_use]
pub struct Circuit(Arc<SharedEngine>);

struct SharedEngine {
    engine: Engine,
    clock: Clock,
}

/// The state of a [`Circuit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// All calls are admitted.
    Closed,
    /// All calls are rejected.
    Open,
    /// One call at a time is admitted, as a probe.
    HalfOpen,
}

// ===== impl Circuit =====

impl Circuit {
    /// Creates a closed circuit with the defaults.
    pub fn new() -> Self {
        Self::with_clock(Clock::tokio())
    }

    /// Creates a circuit that reads another clock.
    pub fn with_clock(clock: Clock) -> Self {
        let terms = CircuitSettings {
            failures: 6,
            cooldown: cooldown(Duration::from_secs(1), Duration::from_secs(60)),
            longest_hint: Duration::from_secs(5 * 60),
        };
        Self::on(terms, clock)
    }

    /// Sets how many failures in a row open the circuit. Default: 6. 0 counts as 1.
    pub fn failures(self, failures: u32) -> Self {
        self.set(|terms| terms.failures = failures.max(1).into())
    }

    /// Sets the cooldown: `first`, and twice as long each time that a probe fails, up to `most`.
    /// Default: 1 s to 60 s.
    ///
    /// Half of it is random, so that clients that failed together do not return together. With 0
    /// the circuit is half open at once.
    pub fn cooldown(self, first: Duration, most: Duration) -> Self {
        self.set(|terms| terms.cooldown = cooldown(first, most))
    }

    /// Sets the longest wait that the circuit accepts from a server. Default: 5 minutes.
    pub fn longest_hint(self, longest: Duration) -> Self {
        self.set(|terms| terms.longest_hint = longest)
    }

    /// Admits a call, whose outcome then counts.
    ///
    /// # Errors
    ///
    /// Returns [`CircuitOpen`] while the circuit is open, and while a probe is under way.
    #[inline]
    pub fn enter(&self) -> Result<CallGuard, CircuitOpen> {
        let ticket = self.0.engine.enter(|| self.now())?;
        let circuit = self.clone();
        Ok(CallGuard {
            circuit,
            ticket,
            is_counted: false,
        })
    }

    /// Returns whether a call would be rejected now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.check().is_err()
    }

    /// Returns an error if a call would be rejected now, without counting a call.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), CircuitOpen> {
        self.0.engine.check(|| self.now())
    }

    /// Returns the time until the next probe is admitted; zero once the cooldown is over.
    ///
    /// `None` while the circuit is closed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.engine.state(self.now()).1
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.engine.state(self.now()).0
    }

    /// Counts a call that a layer has rejected.
    #[cfg(feature = "metrics")]
    pub(crate) fn count_rejection(&self) {
        // Relaxed: a lone number.
        let rejected = &self.0.engine.counts.rejected;
        rejected.fetch_add(1, crate::sync::Ordering::Relaxed);
    }

    #[inline]
    fn now(&self) -> u64 {
        self.0.clock.now()
    }

    fn set(self, change: impl FnOnce(&mut CircuitSettings)) -> Self {
        let mut terms = self.0.engine.terms;
        change(&mut terms);
        Self::on(terms, self.0.clock.clone())
    }

    fn on(terms: CircuitSettings, clock: Clock) -> Self {
        let engine = Engine::new(terms);
        Self(Arc::new(SharedEngine { engine, clock }))
    }
}

const fn cooldown(first: Duration, most: Duration) -> Backoff {
    Backoff::new(first, most).jitter(Jitter::Equal)
}

/// Records `tower_throttle_circuit_state`, which is 1 for the state of the circuit and 0 for the
/// others, `tower_throttle_circuit_transitions_total` and
/// `tower_throttle_circuit_rejections_total`.
#[cfg(feature = "metrics")]
impl crate::telemetry::metrics::Publish for Circuit {
    fn publish(&self, name: &'static str) {
        use ::metrics::{counter, gauge};

        use crate::{
            sync::Ordering,
            telemetry::metrics::{CIRCUIT_REJECTIONS, CIRCUIT_STATE, CIRCUIT_TRANSITIONS},
        };

        let now = self.state();
        for state in [State::Closed, State::Open, State::HalfOpen] {
            let labels = [("name", name), ("state", state.as_str())];
            gauge!(CIRCUIT_STATE, &labels).set(f64::from(u8::from(state == now)));
        }
        // Relaxed: lone numbers.
        let counts = &self.0.engine.counts;
        for (state, count) in [
            (State::Closed, &counts.closed),
            (State::Open, &counts.opened),
        ] {
            let labels = [("name", name), ("state", state.as_str())];
            counter!(CIRCUIT_TRANSITIONS, &labels).absolute(count.load(Ordering::Relaxed));
        }
        let rejected = counts.rejected.load(Ordering::Relaxed);
        counter!(CIRCUIT_REJECTIONS, "name" => name).absolute(rejected);
    }
}

// ===== impl State =====

impl State {
    /// Returns a stable label, as for metrics: `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

crate::macros::default!(Circuit);

crate::macros::debug!(impl Debug for Circuit |self| {
    state: self.state(),
    retry_after: self.retry_after(),
    ..
});
