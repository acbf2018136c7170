//! The response future.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{
    Budget, Policy, RetryAction, RetryAfterBackoffLayer, budget::Withdrawal, settings::RetryState,
};
use crate::{
    backoff::above_hint,
    error::{BoxError, CircuitOpen, Outcome, find_source},
    http::{TryClone, timer::FAR},
};

pin_project! {
    /// The response future of [`RetryAfterBackoff`](super::RetryAfterBackoff).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point. The budget gets back the cost of a retry that was not made
    /// yet.
    pub struct ResponseFuture<S, P, Request>
    where
        S: Service<Request>,
    {
        #[pin]
        pub(super) state: State<S::Future>,
        pub(super) next: NextAttempt<S, P, Request>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<F> {
        Calling { #[pin] future: F },
        // Boxed because a timer is large, and most requests never sleep.
        Between { between: Box<Between> },
    }
}

/// A request between two attempts: sleeps, then waits until the inner service is ready.
pub(super) struct Between {
    /// For the sleep, then for the deadline.
    timer: Pin<Box<Sleep>>,
    has_slept: bool,
    /// Whether the wait is for an attempt of this request, not for the one of another.
    is_counted: bool,
    /// The cost of the next attempt.
    withdrawal: Withdrawal,
    /// The time by which the next attempt must start.
    deadline: Instant,
    /// The outcome of the last attempt, as a label.
    #[allow(dead_code, reason = "only metrics read it")]
    cause: &'static str,
}

/// The error of a request whose deadline passed before the inner service was ready for another
/// attempt.
///
/// The outcome of the last attempt was dropped before the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlinePassed;

/// The state that another attempt needs.
pub(super) struct NextAttempt<S, P, Request> {
    /// `None` if there are no further attempts or the request can't be cloned.
    pub(super) request: Option<Request>,
    /// The budget of the retries, after the first one.
    pub(super) budget: Option<Budget>,
    pub(super) service: S,
    pub(super) layer: RetryAfterBackoffLayer<P>,
    pub(super) progress: RetryState,
}

// ===== impl ResponseFuture =====

impl<S, P, Request> Future for ResponseFuture<S, P, Request>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    P: Policy<Request, S::Response>,
    Request: TryClone,
{
    type Output = Result<S::Response, BoxError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, next) = (this.state, this.next);
        loop {
            match state.as_mut().project() {
                // ## Calling => (Between | done)
                StateProj::Calling { future } => {
                    let Poll::Ready(result) = future.poll(cx) else {
                        next.progress.started.get_or_insert_with(Instant::now);
                        return Poll::Pending;
                    };
                    let result = result.map_err(Into::into);
                    let Some(between) = next.judge(&result) else {
                        return Poll::Ready(next.record(result));
                    };
                    // Permits held by the response and the future are released before the sleep.
                    drop(result);
                    state.set(State::Between { between });
                }
                // ## Between => (Calling | done)
                StateProj::Between { between } => {
                    if !between.has_slept {
                        ready!(between.timer.as_mut().poll(cx));
                        between.has_slept = true;
                        between.timer.as_mut().reset(between.deadline);
                    }
                    let Poll::Ready(ready) = next.service.poll_ready(cx) else {
                        ready!(between.timer.as_mut().poll(cx));
                        return Poll::Ready(Err(next.error(DeadlinePassed.into())));
                    };
                    ready.map_err(|error| next.error(error.into()))?;
                    between.withdrawal.spend();
                    #[cfg(feature = "metrics")]
                    next.layer
                        .settings
                        .count(between.cause, next.progress.last_wait);
                    if between.is_counted {
                        next.progress.attempts.add();
                    }
                    let future = next.call();
                    state.set(State::Calling { future });
                }
            }
        }
    }
}

crate::macros::debug! {
    impl<S: Service<Request>, P, Request> Debug for ResponseFuture<S, P, Request> |self| {
        state: match &self.state {
            State::Calling { .. } => "Calling",
            State::Between { between } if between.has_slept => "Readying",
            State::Between { .. } => "Sleeping",
        },
        attempts: self.next.progress.attempts,
        ..
    }
}

// ===== impl DeadlinePassed =====

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed before the inner service was ready for another attempt")
    }
}

/// The outcome is [`Outcome::Timeout`].
impl std::error::Error for DeadlinePassed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Outcome::Timeout)
    }
}

// ===== impl NextAttempt =====

impl<S, P, Request> NextAttempt<S, P, Request>
where
    S: Service<Request>,
    P: Policy<Request, S::Response>,
    Request: TryClone,
{
    /// Returns the next attempt after this result, if there is one.
    #[inline]
    fn judge(&mut self, result: &Result<S::Response, BoxError>) -> Option<Box<Between>> {
        let Some(request) = &self.request else {
            // A success of the last attempt also adds to the budget.
            let is_success = || self.layer.policy.is_success(result.as_ref());
            if let Some(budget) = self.budget.as_ref().filter(|_| is_success()) {
                budget.deposit();
            }
            return None;
        };
        match self.layer.policy.action(request, result.as_ref()) {
            RetryAction::Retry { after, outcome } => {
                let outcome = outcome.or_else(|| Outcome::of_error(result.as_ref().err()?));
                self.plan(result, after, outcome)
            }
            RetryAction::Forbid => None,
            RetryAction::Accept => {
                let host = || self.layer.policy.host(request);
                self.layer.settings.budget.with(host, Budget::deposit);
                None
            }
        }
    }

    #[cold]
    fn plan(
        &mut self,
        result: &Result<S::Response, BoxError>,
        after: Option<Duration>,
        outcome: Option<Outcome>,
    ) -> Option<Box<Between>> {
        let request = self.request.as_ref()?;
        let settings = &*self.layer.settings;
        if self.budget.is_none() {
            let host = || self.layer.policy.host(request);
            self.budget = settings.budget.with(host, Budget::clone);
        }
        // For 421 and 425 another connection helps, or nothing does.
        let is_unsent = result.is_ok() && outcome == Some(Outcome::NotSent);
        if is_unsent && mem::replace(&mut self.progress.has_resent, true) {
            return None;
        }
        let open: Option<&CircuitOpen> = result.as_ref().err().and_then(find_source);
        let max_backoff = match settings.max_backoff {
            // The jitter in the wait of a circuit does not count.
            max_backoff if open.is_some() => above_hint(max_backoff, u64::MAX),
            max_backoff => max_backoff,
        };
        let now = Instant::now();
        let started = *self.progress.started.get_or_insert(now);
        let elapsed = now.saturating_duration_since(started);
        let left = settings.deadline.checked_sub(elapsed)?;
        let wait = settings.wait(&self.progress, after, max_backoff, left)?;
        let is_followed = after.is_some_and(|hint| settings.follows(hint));
        let withdrawal = match &self.budget {
            // Nothing was sent while a circuit is open, so the next attempt is no additional load.
            Some(budget) if open.is_none() && !is_followed => {
                let withdrawal = budget.pay(outcome, now);
                if withdrawal.is_none() {
                    crate::telemetry::count!(BUDGET_EXHAUSTED, "name" => settings.name);
                    crate::macros::event!(
                        target: "tower_throttle::retry",
                        name = settings.name,
                        "retry budget exhausted"
                    );
                }
                withdrawal?
            }
            _ => Withdrawal::default(),
        };
        // A partly recorded body is not sent. One that the first attempt still reads is taken from
        // it.
        if !request.claim() {
            return None;
        }
        let cause = match outcome {
            _ if open.is_some() => "circuit_open",
            Some(outcome) => outcome.as_str(),
            None => "unknown",
        };
        crate::macros::event!(
            target: "tower_throttle::retry",
            attempt = self.progress.attempts.attempts(),
            name = settings.name,
            cause,
            failed = if result.is_ok() { "response" } else { "error" },
            ?wait,
            reason = match is_followed {
                true if result.is_ok() => "the server's hint",
                true => "a hint",
                false => "backoff",
            },
            "retrying"
        );
        self.progress.attempts.wait(wait);
        self.progress.last_wait = wait;
        Some(Box::new(Between {
            timer: Box::pin(sleep(wait)),
            has_slept: false,
            // Otherwise another request is the probe of an inner circuit breaker.
            is_counted: open.is_none_or(|open| open.retry_after().is_some()),
            withdrawal,
            deadline: now + left.max(wait).min(FAR),
            cause,
        }))
    }

    /// Puts the number of attempts into the result.
    #[inline]
    fn record(&self, result: Result<S::Response, BoxError>) -> Result<S::Response, BoxError> {
        let mut response = result.map_err(|error| self.error(error))?;
        if self.progress.attempts.attempts() > 1 {
            self.layer
                .policy
                .record(&mut response, self.progress.attempts);
        }
        Ok(response)
    }

    fn error(&self, error: BoxError) -> BoxError {
        match self.layer.settings.attempts_in_errors {
            true => self.progress.attempts.wrap(error),
            false => error,
        }
    }

    /// Calls the service, which must be ready.
    fn call(&mut self) -> S::Future {
        let is_last = self.progress.attempts.attempts() >= self.layer.settings.attempts;
        let request = self.request.as_ref().filter(|_| !is_last);
        let again = request.and_then(TryClone::try_clone);
        #[allow(clippy::expect_used, reason = "a request is kept")]
        let request = mem::replace(&mut self.request, again).expect("a request is kept");
        self.service.call(request)
    }
}
