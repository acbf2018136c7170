//! Retry policies.

use std::time::Duration;

use http::StatusCode;

use super::Attempts;
use crate::{
    error::{
        BoxError, CircuitOpen, Classify, HttpClassifier, Outcome, Repeat, TimedOut, find_source,
        is_permanent,
    },
    http::{Hint, RequestHead, ResponseHead, is_idempotent},
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The shortest wait for another request's probe.
///
/// It is less than a tenth of the default backoff, which therefore replaces it. It keeps a backoff
/// of zero from spinning.
const LEAST_WAIT: Duration = Duration::from_millis(40);

/// Decides whether a request is sent again.
///
/// Default: [`OutcomePolicy`]. Closures are policies for requests and responses that have a
/// [head](ResponseHead); write out the types of their arguments.
///
/// # Examples
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower_throttle::{BoxError, RetryAfterBackoffLayer, retry::RetryAction};
///
/// let layer = RetryAfterBackoffLayer::new().policy(
///     |_: &Request<String>, result: Result<&Response<String>, &BoxError>| match result {
///         Ok(response) if response.status() == StatusCode::CONFLICT => RetryAction::retry(),
///         Ok(_) => RetryAction::Accept,
///         Err(_) => RetryAction::Forbid,
///     },
/// );
/// # let _ = layer;
/// ```
///
/// For other requests and responses use [`policy_fn`], or implement this trait.
pub trait Policy<Request, Response> {
    /// Returns the action after `result`. The request is a clone of the one that was sent.
    fn action(&self, request: &Request, result: Result<&Response, &BoxError>) -> RetryAction;

    /// Records the number of attempts in a response that took more than one. Does nothing by
    /// default.
    fn record(&self, response: &mut Response, attempts: Attempts) {
        let _ = (response, attempts);
    }

    /// Returns whether the last attempt was a success, which adds to the retry budget. By default
    /// `false`.
    ///
    /// The request is no longer available then, so that [`action`](Policy::action) can't be called.
    fn is_success(&self, result: Result<&Response, &BoxError>) -> bool {
        let _ = result;
        false
    }

    /// Returns the host of the request, which is the name of its budget if there is [one per
    /// host](crate::RetryAfterBackoffLayer::budget_by_host).
    ///
    /// Requests without a host share a budget. By default this is `None` for all of them.
    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let _ = request;
        None
    }
}

/// The action after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use]
pub enum RetryAction {
    /// Returns the result, which is a success and adds to the retry budget.
    Accept,
    /// Sends the request again.
    Retry {
        /// The wait that the server asked for, if any. A retry after such a wait is free, unless it
        /// is so short that a backoff is added.
        after: Option<Duration>,
        /// The outcome, which determines the [price](super::Budget::price) of the retry. If it is
        /// `None`, an error is [classified](Outcome::of_error). After a response that is `NotSent`,
        /// a request is sent again once.
        outcome: Option<Outcome>,
    },
    /// Returns the result, a failure that must not be retried or would fail again.
    Forbid,
}

/// Retries requests that may succeed later, if another attempt does no harm.
///
/// | [outcome](Outcome) | GET, PUT and other idempotent methods, and any with an `Idempotency-Key` | POST, PATCH, … | any, with [`retry_non_idempotent`](OutcomePolicy::retry_non_idempotent) |
/// | --- | --- | --- | --- |
/// | `x-should-retry: false` | no | no | no |
/// | `QuotaExhausted`, `ContextTooLong`, `ContentPolicy`, status 413 without `Retry-After` | no | no | no |
/// | `x-should-retry: true`, any other 4xx or 5xx | yes | yes | yes |
/// | `RateLimited`: 429, and 403 with `Retry-After` or a limit that is used up | yes | yes | yes |
/// | `NotSent`: no connection; 421 and 425, once | yes | yes | yes |
/// | `Overloaded` with a hint when to retry: 503, 529, 413; and 498 | yes | yes | yes |
/// | `Overloaded`, `Timeout`, `Interrupted` | yes | no | yes |
/// | `ServerError` of status 424, 500, 502, 520, 521, 523, 527 or 530 | yes | no | yes |
/// | `ServerError` of any other 5xx or gRPC's DATA_LOSS, `ClientError`, `Success` | no | no | no |
/// | none: a [`Rejected`](crate::Rejected) or [`CircuitOpen`] of this crate, an unknown error | no, but see [`wait_for_circuit`](OutcomePolicy::wait_for_circuit) | no | no |
/// | a [timeout of the whole call](TimedOut::Call) | no | no | no |
/// | no connection because of the URL or a certificate, with hyper or reqwest | no | no | no |
///
/// Idempotent are GET, HEAD, OPTIONS, TRACE, PUT, DELETE, and the others in the IANA registry of
/// methods, such as QUERY, PROPFIND, REPORT and SEARCH.
///
/// A server that supports `Idempotency-Key` acts once on all requests with the same key, whatever
/// the method. The layer of [`idempotency_key`](crate::idempotency_key) sets one. An empty key
/// counts as none.
///
/// An error does not tell *which* connection failed. A client that follows redirects may fail to
/// connect to the target of a redirect after the server has acted on the POST; so may a service in
/// this process that calls another one. If that matters, disable redirects, or write a [`Policy`].
///
/// Bodies are not read. A 429 that means that the credit is used up, such as OpenAI's
/// `insufficient_quota`, looks like any other 429 unless the server sends `x-should-retry: false`.
/// An inner `StreamErrorLayer` reads it and inserts the outcome, and the wait, into the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct OutcomePolicy<C = HttpClassifier> {
    classifier: C,
    retry_non_idempotent: bool,
    wait_for_circuit: bool,
}

/// A [`Policy`] from a closure. See [`policy_fn`].
#[derive(Clone, Copy)]
pub struct PolicyFn<F>(F);

/// Creates a policy from a closure, for requests and responses that are not HTTP.
///
/// The number of attempts is not recorded in the response.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_throttle::BoxError> {
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_throttle::{BoxError, RetryAfterBackoffLayer, retry::{RetryAction, policy_fn}};
///
/// static TRIES: AtomicU32 = AtomicU32::new(0);
/// let second_time_lucky = service_fn(async |n: u32| match TRIES.fetch_add(1, Ordering::Relaxed) {
///     0 => Err("not yet"),
///     _ => Ok(n + 1),
/// });
/// let policy = policy_fn(|_: &u32, result: Result<&u32, &BoxError>| match result {
///     Ok(_) => RetryAction::Accept,
///     Err(_) => RetryAction::retry(),
/// });
/// let service = RetryAfterBackoffLayer::new().policy(policy).layer(second_time_lucky);
/// assert_eq!(service.oneshot(1).await?, 2);
/// # Ok(())
/// # }
/// ```
pub const fn policy_fn<F>(f: F) -> PolicyFn<F> {
    PolicyFn(f)
}

// ===== impl RetryAction =====

impl RetryAction {
    /// Returns an action that sends the request again after a backoff.
    pub const fn retry() -> Self {
        Self::Retry {
            after: None,
            outcome: None,
        }
    }

    /// Returns an action that sends the request again after the wait that the server asked for.
    pub const fn retry_after(wait: Duration) -> Self {
        Self::Retry {
            after: Some(wait),
            outcome: None,
        }
    }

    /// Sets the outcome of a retry. Does nothing for other actions.
    pub const fn because(mut self, because: Outcome) -> Self {
        if let Self::Retry { outcome, .. } = &mut self {
            *outcome = Some(because);
        }
        self
    }
}

// ===== impl OutcomePolicy =====

impl OutcomePolicy {
    /// Creates a policy that retries a non-idempotent method only if the server did not act.
    pub const fn new() -> Self {
        Self {
            classifier: HttpClassifier,
            retry_non_idempotent: false,
            wait_for_circuit: false,
        }
    }
}

impl<C> OutcomePolicy<C> {
    /// Sets the classifier, which returns the outcome of an attempt. Default: [`HttpClassifier`].
    pub fn classify<C2>(self, classifier: C2) -> OutcomePolicy<C2> {
        OutcomePolicy {
            classifier,
            retry_non_idempotent: self.retry_non_idempotent,
            wait_for_circuit: self.wait_for_circuit,
        }
    }

    /// Retries every method like GET.
    ///
    /// This is for requests that the server may act on twice without harm, whatever their method.
    /// Completions of a language model are POST requests, and the SDKs of the providers retry them
    /// all. Both responses may be billed.
    pub const fn retry_non_idempotent(mut self) -> Self {
        self.retry_non_idempotent = true;
        self
    }

    /// Waits while an inner circuit breaker is open and then tries again, instead of failing at
    /// once. Use it if there is no fallback.
    ///
    /// Nothing was sent, so every method is retried. The wait is the rest of the circuit's
    /// cooldown, has the bounds of a wait that a server asks for, and counts as an attempt. While
    /// another request is the probe, the wait is a backoff and does not count as an attempt,
    /// because the probe may take as long as any response.
    pub const fn wait_for_circuit(mut self) -> Self {
        self.wait_for_circuit = true;
        self
    }

    fn is_idempotent<R: RequestHead>(&self, request: &R) -> bool {
        let has_key = || {
            let key = request.headers().get(IDEMPOTENCY_KEY);
            key.is_some_and(|key| !key.is_empty())
        };
        self.retry_non_idempotent || is_idempotent(request.method()) || has_key()
    }

    #[cold]
    fn after_failure<Request, Response>(
        &self,
        request: &Request,
        result: Result<&Response, &BoxError>,
        outcome: Option<Outcome>,
    ) -> RetryAction
    where
        C: Classify<Response>,
        Request: RequestHead,
        Response: ResponseHead,
    {
        let (hint, status) = match result {
            Ok(response) => (self.classifier.hint(response), Some(response.status())),
            Err(error) => {
                if let (true, Some(open)) = (self.wait_for_circuit, find_source(error)) {
                    let wait = CircuitOpen::retry_after(open).unwrap_or(LEAST_WAIT);
                    return RetryAction::retry_after(wait);
                }
                // The client no longer waits for a response.
                let is_over = matches!(find_source(error), Some(TimedOut::Call(_)));
                if is_over || is_permanent(error) {
                    return RetryAction::Forbid;
                }
                (Hint::default(), None)
            }
        };
        let Some(outcome) = outcome else {
            return RetryAction::Forbid;
        };
        let after = hint.retry_after();
        let is_retried = match (hint.should_retry(), outcome.repeat(status, after.is_some())) {
            (Some(should), _) => should && may_change(outcome, status),
            (None, Repeat::Always) => true,
            (None, Repeat::Idempotent) => !has_lost_data(result) && self.is_idempotent(request),
            (None, Repeat::Never) => false,
        };
        if is_retried {
            let outcome = Some(outcome);
            RetryAction::Retry { after, outcome }
        } else if hint.should_retry().is_none() && is_handled(outcome) {
            RetryAction::Accept
        } else {
            RetryAction::Forbid
        }
    }
}

/// Returns whether the `grpc-status` is DATA_LOSS, which another attempt does not change.
fn has_lost_data<R: ResponseHead>(result: Result<&R, &BoxError>) -> bool {
    let status = result.ok().and_then(|it| it.headers().get("grpc-status"));
    status.is_some_and(|status| status == "15")
}

/// Returns whether the same request may get another response later.
fn may_change(outcome: Outcome, status: Option<StatusCode>) -> bool {
    let is_final = matches!(
        outcome,
        Outcome::QuotaExhausted | Outcome::ContextTooLong | Outcome::ContentPolicy
    );
    let is_too_large =
        outcome == Outcome::ClientError && status == Some(StatusCode::PAYLOAD_TOO_LARGE);
    !is_final && !is_too_large
}

/// Returns whether the service works, even if the request was at fault.
const fn is_handled(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Success | Outcome::ClientError | Outcome::ContextTooLong | Outcome::ContentPolicy
    )
}

// ===== impl Policy =====

impl<C, Request, Response> Policy<Request, Response> for OutcomePolicy<C>
where
    C: Classify<Response>,
    Request: RequestHead,
    Response: ResponseHead,
{
    #[inline]
    fn action(&self, request: &Request, result: Result<&Response, &BoxError>) -> RetryAction {
        match self.classifier.classify(result) {
            Some(Outcome::Success) => RetryAction::Accept,
            outcome => self.after_failure(request, result, outcome),
        }
    }

    fn record(&self, response: &mut Response, attempts: Attempts) {
        response.extensions_mut().insert(attempts);
    }

    fn is_success(&self, result: Result<&Response, &BoxError>) -> bool {
        self.classifier.classify(result).is_some_and(is_handled)
    }

    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.authority()
    }
}

impl<F, Request, Response> Policy<Request, Response> for F
where
    F: Fn(&Request, Result<&Response, &BoxError>) -> RetryAction,
    Request: RequestHead,
    Response: ResponseHead,
{
    fn action(&self, request: &Request, result: Result<&Response, &BoxError>) -> RetryAction {
        self(request, result)
    }

    fn record(&self, response: &mut Response, attempts: Attempts) {
        response.extensions_mut().insert(attempts);
    }

    fn host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.authority()
    }
}

impl<F, Request, Response> Policy<Request, Response> for PolicyFn<F>
where
    F: Fn(&Request, Result<&Response, &BoxError>) -> RetryAction,
{
    fn action(&self, request: &Request, result: Result<&Response, &BoxError>) -> RetryAction {
        (self.0)(request, result)
    }
}

crate::macros::debug!(impl<F> Debug for PolicyFn<F> |self| { .. });

/// The trait is object safe, so that a policy can be chosen at run time.
const _: fn(&dyn Policy<(), ()>) = |_| {};

#[cfg(test)]
mod tests {
    use std::{error::Error, fmt, io};

    use http::{HeaderValue, Method, Request, Response};
    use io::ErrorKind as Kind;

    use super::*;
    use crate::error::{LimitKind, Reason, Rejected};

    const YES: RetryAction = RetryAction::retry();
    const NO: RetryAction = RetryAction::Forbid;
    const OK: RetryAction = RetryAction::Accept;

    /// An error with a source.
    #[derive(Debug)]
    struct Outer(BoxError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn action(
        policy: OutcomePolicy,
        method: Method,
        outcome: Result<&Response<()>, &BoxError>,
    ) -> RetryAction {
        let mut request = Request::new(());
        *request.method_mut() = method;
        plain(policy.action(&request, outcome))
    }

    /// Removes the outcome of a retry.
    fn plain(action: RetryAction) -> RetryAction {
        match action {
            RetryAction::Retry { after, .. } => RetryAction::Retry {
                after,
                outcome: None,
            },
            other => other,
        }
    }

    /// Returns the actions for GET, POST, and POST with `retry_non_idempotent`. A POST with a key
    /// gets the action of GET.
    fn three(outcome: Result<&Response<()>, &BoxError>) -> [RetryAction; 3] {
        let mut keyed = Request::post("/").body(()).unwrap();
        let mut classified = |key| {
            let key = HeaderValue::from_static(key);
            keyed.headers_mut().insert(IDEMPOTENCY_KEY, key);
            plain(OutcomePolicy::new().action(&keyed, outcome))
        };
        assert_eq!(
            classified("key"),
            action(OutcomePolicy::new(), Method::GET, outcome)
        );
        assert_eq!(
            classified(""),
            action(OutcomePolicy::new(), Method::POST, outcome)
        );
        [
            action(OutcomePolicy::new(), Method::GET, outcome),
            action(OutcomePolicy::new(), Method::POST, outcome),
            action(
                OutcomePolicy::new().retry_non_idempotent(),
                Method::POST,
                outcome,
            ),
        ]
    }

    #[test]
    fn statuses() {
        const TWO: RetryAction = RetryAction::retry_after(std::time::Duration::from_secs(2));
        for (status, field, expected) in [
            (200, None, [OK, OK, OK]),
            (200, Some(("x-should-retry", "true")), [OK, OK, OK]),
            (301, Some(("retry-after", "2")), [OK, OK, OK]),
            (400, None, [OK, OK, OK]),
            (400, Some(("retry-after", "2")), [OK, OK, OK]),
            (404, None, [OK, OK, OK]),
            (404, Some(("x-should-retry", "false")), [NO, NO, NO]),
            (409, Some(("x-should-retry", "true")), [YES, YES, YES]),
            (402, None, [NO, NO, NO]),
            (403, None, [OK, OK, OK]),
            (403, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (403, Some(("retry-after", "soon")), [OK, OK, OK]),
            (413, None, [OK, OK, OK]),
            (413, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (421, None, [YES, YES, YES]),
            (424, None, [YES, NO, YES]),
            (425, None, [YES, YES, YES]),
            (425, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (498, None, [YES, YES, YES]),
            (402, Some(("retry-after", "2")), [NO, NO, NO]),
            (402, Some(("x-should-retry", "true")), [NO, NO, NO]),
            (413, Some(("x-should-retry", "true")), [NO, NO, NO]),
            (408, None, [YES, NO, YES]),
            (429, None, [YES, YES, YES]),
            (429, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (429, Some(("retry-after", "-2")), [YES, YES, YES]),
            (429, Some(("x-should-retry", "false")), [NO, NO, NO]),
            (500, None, [YES, NO, YES]),
            (500, Some(("retry-after", "2")), [TWO, NO, TWO]),
            (500, Some(("x-should-retry", "true")), [YES, YES, YES]),
            (501, None, [NO, NO, NO]),
            (502, None, [YES, NO, YES]),
            (503, None, [YES, NO, YES]),
            (503, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (503, Some(("retry-after-ms", "2000")), [TWO, TWO, TWO]),
            (503, Some(("retry-after", "soon")), [YES, NO, YES]),
            (504, None, [YES, NO, YES]),
            (505, None, [NO, NO, NO]),
            (507, Some(("retry-after", "2")), [NO, NO, NO]),
            (511, None, [OK, OK, OK]),
            (520, None, [YES, NO, YES]),
            (521, None, [YES, NO, YES]),
            (522, None, [YES, NO, YES]),
            (523, None, [YES, NO, YES]),
            (524, None, [YES, NO, YES]),
            (524, Some(("retry-after", "2")), [TWO, NO, TWO]),
            (525, None, [NO, NO, NO]),
            (526, None, [NO, NO, NO]),
            (527, None, [YES, NO, YES]),
            (530, None, [YES, NO, YES]),
            (529, None, [YES, NO, YES]),
            (529, Some(("retry-after", "2")), [TWO, TWO, TWO]),
            (999, None, [OK, OK, OK]),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some((name, value)) = field {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            }
            assert_eq!(three(Ok(&response)), expected, "{status} {field:?}");
        }
    }

    #[test]
    fn methods() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        let named = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        for (method, expected) in [
            (Method::GET, YES),
            (Method::HEAD, YES),
            (Method::OPTIONS, YES),
            (Method::TRACE, YES),
            (Method::PUT, YES),
            (Method::DELETE, YES),
            (Method::POST, NO),
            (Method::PATCH, NO),
            (Method::CONNECT, NO),
            (named("PURGE"), NO),
            (named("QUERY"), YES),
            (named("PROPFIND"), YES),
            (named("REPORT"), YES),
            (named("SEARCH"), YES),
            (named("MKCOL"), YES),
            (named("VERSION-CONTROL"), YES),
            (named("LOCK"), NO),
            (named("propfind"), NO),
        ] {
            let action = action(OutcomePolicy::new(), method.clone(), Ok(&response));
            assert_eq!(action, expected, "{method}");
        }
    }

    #[test]
    fn errors_of_the_connection() {
        for (kind, expected) in [
            (Kind::ConnectionRefused, [YES, YES, YES]),
            (Kind::AddrNotAvailable, [YES, YES, YES]),
            (Kind::ConnectionReset, [YES, NO, YES]),
            (Kind::BrokenPipe, [YES, NO, YES]),
            (Kind::TimedOut, [YES, NO, YES]),
            (Kind::UnexpectedEof, [YES, NO, YES]),
            (Kind::NetworkUnreachable, [YES, NO, YES]),
            (Kind::InvalidData, [NO, NO, NO]),
            (Kind::PermissionDenied, [NO, NO, NO]),
        ] {
            let plain: BoxError = io::Error::from(kind).into();
            let deep: BoxError = Outer(Outer(io::Error::from(kind).into()).into()).into();
            let wrapped: BoxError = io::Error::other(io::Error::from(kind)).into();
            for error in [plain, deep, wrapped] {
                assert_eq!(three(Err(&error)), expected, "{error:?}");
            }
        }
        // A refused connection takes precedence over the errors around it.
        let refused = io::Error::from(Kind::ConnectionRefused);
        let timed_out: BoxError = io::Error::new(Kind::TimedOut, Outer(refused.into())).into();
        assert_eq!(three(Err(&timed_out)), [YES; 3]);
        let other: BoxError = "no idea".into();
        assert_eq!(three(Err(&other)), [NO; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_may_have_been_acted_on() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(std::time::Duration::ZERO, never).await;
        let tokios: BoxError = elapsed.unwrap_err().into();
        let towers: BoxError = tower::timeout::error::Elapsed::new().into();
        assert_eq!(three(Err(&tokios)), [YES, NO, YES]);
        assert_eq!(three(Err(&towers)), [YES, NO, YES]);
    }

    #[test]
    fn timeouts_of_this_crate() {
        let after = std::time::Duration::from_secs(1);
        for (timed_out, expected) in [
            (TimedOut::Attempt(after), [YES, NO, YES]),
            (TimedOut::FirstByte(after), [YES, NO, YES]),
            (TimedOut::BetweenChunks(after), [YES, NO, YES]),
            (TimedOut::Call(after), [NO, NO, NO]),
        ] {
            let plain: BoxError = timed_out.into();
            let deep: BoxError = Outer(Outer(timed_out.into()).into()).into();
            for error in [plain, deep] {
                assert_eq!(three(Err(&error)), expected, "{error:?}");
            }
        }
    }

    #[test]
    fn a_retry_has_an_outcome() {
        fn of(outcome: Result<&Response<()>, &BoxError>) -> Option<Outcome> {
            match OutcomePolicy::new().action(&Request::new(()), outcome) {
                RetryAction::Retry { outcome, .. } => outcome,
                other => panic!("{other:?}"),
            }
        }
        for (status, kind) in [
            (429, Outcome::RateLimited),
            (500, Outcome::ServerError),
            (503, Outcome::Overloaded),
            (504, Outcome::Timeout),
            (522, Outcome::Timeout),
            (524, Outcome::Timeout),
            (425, Outcome::NotSent),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            assert_eq!(of(Ok(&response)), Some(kind), "{status}");
        }
        let timed_out: BoxError = TimedOut::Attempt(std::time::Duration::ZERO).into();
        assert_eq!(of(Err(&timed_out)), Some(Outcome::Timeout));
        let broken: BoxError = io::Error::from(Kind::ConnectionReset).into();
        assert_eq!(of(Err(&broken)), Some(Outcome::Interrupted));
    }

    #[test]
    fn success_of_the_last_attempt() {
        for (status, expected) in [
            (200, true),
            (304, true),
            (404, true),
            (402, false),
            (429, false),
            (500, false),
            (501, false),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let policy: &dyn Policy<Request<()>, _> = &OutcomePolicy::new();
            assert_eq!(policy.is_success(Ok(&response)), expected, "{status}");
        }
    }

    #[test]
    fn rejections_of_this_crate_are_never_retried() {
        let rejected = || {
            let max_wait = std::time::Duration::ZERO;
            Rejected::new(
                LimitKind::TokenBucket,
                Reason::WaitTooLong { max_wait },
                None,
            )
        };
        let plain: BoxError = rejected().into();
        let deep: BoxError = Outer(Outer(rejected().into()).into()).into();
        let in_io: BoxError = io::Error::new(Kind::ConnectionRefused, rejected()).into();
        let open = CircuitOpen::new(None, None);
        let open_in_io: BoxError = io::Error::new(Kind::ConnectionRefused, open).into();
        for error in [plain, deep, in_io, open.into(), open_in_io] {
            assert_eq!(three(Err(&error)), [NO; 3], "{error:?}");
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.extensions_mut().insert(rejected());
        assert_eq!(three(Ok(&response)), [NO; 3]);
    }

    #[cfg(feature = "reqwest")]
    #[tokio::test]
    async fn reqwest_connection_errors() {
        use tokio::io::AsyncReadExt;

        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        // The port of a dropped listener refuses connections; a server that reads a request and
        // drops the connection breaks it.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hang_up = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.read_u8().await.unwrap();
        };
        let (broken, ()) = tokio::join!(client.get(&url).send(), hang_up);
        let broken: BoxError = broken.unwrap_err().into();
        assert_eq!(three(Err(&broken)), [YES, NO, YES], "{broken:?}");
        drop(listener);
        let refused: BoxError = client.get(&url).send().await.unwrap_err().into();
        assert_eq!(three(Err(&refused)), [YES, YES, YES], "{refused:?}");
        let no_url: BoxError = client.get("//").send().await.unwrap_err().into();
        assert_eq!(three(Err(&no_url)), [NO; 3], "{no_url:?}");
    }
}
