use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Fallback,
    backup::{FromFn, Outcome, To, Value},
    rule::{Forgets, Plan, Remembers, Rule, Told, Untold},
    when::{self, AnyError, Condition},
};
use crate::Circuit;

/// Answers from elsewhere where a service fails. See the [module docs](crate::fallback) for examples.
#[must_use]
pub struct FallbackLayer<B, R = Rule> {
    pub(super) plan: Arc<Plan<B, R>>,
}

// ===== impl FallbackLayer =====

impl<B> FallbackLayer<To<B>> {
    /// Sends the request to `backup` where the service fails.
    ///
    /// A clone of `backup` is made and readied when it is needed, not before.
    pub fn new(backup: B) -> Self {
        Self::from_backup(To::new(backup))
    }
}

impl<V> FallbackLayer<Value<V>> {
    /// Answers with a clone of `value` where the service fails.
    ///
    /// The value has to be a response of the type that the service's are, and [`Clone`]. A `reqwest::Response` is not: there,
    /// [`from_fn`](FallbackLayer::from_fn) makes one, as with `from_fn(|_| http::Response::new("sorry").into())`.
    pub fn value(value: V) -> Self {
        Self::from_backup(Value::new(value))
    }
}

impl<F> FallbackLayer<FromFn<F>> {
    /// Answers with what `f` makes of the failure, an error or a response.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_throttle::FallbackLayer;
    ///
    /// let broken = service_fn(async |_: Request<()>| Err::<Response<String>, _>("no route to host"));
    /// let client = FallbackLayer::from_fn(|failure| match failure {
    ///     Ok(response) => response,
    ///     Err(error) => Response::new(format!("sorry: {error}")),
    /// })
    /// .layer(broken);
    ///
    /// let response = client.oneshot(Request::new(())).await?;
    /// assert_eq!(response.body(), "sorry: no route to host");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fn<Response>(f: F) -> Self
    where
        F: Fn(Outcome<Response>) -> Response,
    {
        Self::from_backup(FromFn::new(f))
    }
}

impl<B> FallbackLayer<B> {
    fn from_backup(backup: B) -> Self {
        let rule = Rule {
            when: when::failure(),
            told: Told,
            memory: Forgets,
        };
        Self {
            plan: Arc::new(Plan { backup, rule }),
        }
    }
}

impl<B: Clone, W: Clone, T: Clone, M: Clone> FallbackLayer<B, Rule<W, T, M>> {
    /// Which outcomes are failures. See [`when`](crate::fallback::when).
    ///
    /// Unless told, any error, and the statuses 429, 500, 502, 503, 504 and 529. It is asked about the outcome of each
    /// fallback but the last one, too. A fallback with a [condition of its own](Self::only) goes by that alone.
    pub fn when<W2>(self, when: W2) -> FallbackLayer<B, Rule<W2, T, M>> {
        self.change(|Plan { backup, rule }| Plan {
            backup,
            rule: Rule {
                when,
                told: rule.told,
                memory: rule.memory,
            },
        })
    }

    /// Leaves the primary alone while `circuit` is open: the request goes to a fallback at once, and does not wait in the queues
    /// of the primary's limits first.
    ///
    /// This only looks. Somebody has to tell the circuit what comes of the calls, and that is a
    /// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) made from it, next to the primary's client: without one it never
    /// opens. Without `remember` the breaker by itself does as well where the primary has no limits to wait for. The
    /// [module docs](crate::fallback#a-primary-that-keeps-failing) have both.
    ///
    /// - The outcome that the fallbacks are chosen by is the error [`CircuitOpen`](crate::CircuitOpen). Where none of them is for
    ///   it, or can answer, the primary is asked all the same.
    /// - The request itself goes to the first fallback, so that one that can't be cloned has one as well.
    /// - When the cooldown is over one request at a time goes to the primary, to find out whether all is well again.
    /// - The primary has to be [`Clone`], so that nothing that was polled ready is held meanwhile.
    pub fn remember(self, circuit: Circuit) -> FallbackLayer<B, Rule<W, T, Remembers>> {
        self.change(|Plan { backup, rule }| Plan {
            backup,
            rule: Rule {
                when: rule.when,
                told: rule.told,
                memory: Remembers(circuit),
            },
        })
    }

    /// Lets the responses be of any type, not HTTP alone.
    ///
    /// The failures are then [any error](when::any_error), unless [`when`](Self::when) is called after this, and no
    /// [`AnsweredBy`](super::AnsweredBy) is left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// use std::convert::Infallible;
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_throttle::FallbackLayer;
    ///
    /// let small_model = service_fn(async |prompt: &'static str| Ok::<_, Infallible>(prompt.len()));
    /// let large_model = service_fn(async |_: &'static str| Err::<usize, _>("overloaded"));
    /// let model = FallbackLayer::new(small_model).any_response().layer(large_model);
    ///
    /// assert_eq!(model.oneshot("hello").await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_response(self) -> FallbackLayer<B, Rule<Condition<AnyError>, Untold, M>> {
        self.change(|Plan { backup, rule }| Plan {
            backup,
            rule: Rule {
                when: when::any_error(),
                told: Untold,
                memory: rule.memory,
            },
        })
    }
}

impl<B: Clone, R: Clone> FallbackLayer<B, R> {
    pub(super) fn change<B2, R2>(
        self,
        f: impl FnOnce(Plan<B, R>) -> Plan<B2, R2>,
    ) -> FallbackLayer<B2, R2> {
        let plan = f(Arc::unwrap_or_clone(self.plan));
        FallbackLayer {
            plan: Arc::new(plan),
        }
    }
}

impl<B, R> Clone for FallbackLayer<B, R> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
        }
    }
}

impl<B: fmt::Debug, R: fmt::Debug> fmt::Debug for FallbackLayer<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer")
            .field("backup", &self.plan.backup)
            .field("rule", &self.plan.rule)
            .finish()
    }
}

impl<S, B, R> Layer<S> for FallbackLayer<B, R> {
    type Service = Fallback<S, B, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, self.plan.clone())
    }
}
