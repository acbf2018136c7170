use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Fallback,
    backup::{Chain, Cloned, FromFn, Or, Outcome, To, Value},
    rule::{Plan, Rule, Told, Untold},
    when::{self, AnyError, Condition},
};

/// Answers from elsewhere where a service fails. See the [module docs](crate::fallback) for examples.
#[must_use]
pub struct FallbackLayer<B, R = Rule> {
    plan: Arc<Plan<B, R>>,
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
        };
        Self {
            plan: Arc::new(Plan { backup, rule }),
        }
    }
}

impl<B: Clone, W: Clone, T: Clone> FallbackLayer<B, Rule<W, T>> {
    /// Which outcomes are failures. See [`when`](crate::fallback::when).
    ///
    /// Unless told, any error, and the statuses 429, 500, 502, 503, 504 and 529. It is asked about the outcome of each
    /// fallback but the last one, too.
    pub fn when<W2>(self, when: W2) -> FallbackLayer<B, Rule<W2, T>> {
        self.change(|Plan { backup, rule }| Plan {
            backup,
            rule: Rule {
                when,
                told: rule.told,
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
    pub fn any_response(self) -> FallbackLayer<B, Rule<Condition<AnyError>, Untold>> {
        self.change(|Plan { backup, .. }| Plan {
            backup,
            rule: Rule {
                when: when::any_error(),
                told: Untold,
            },
        })
    }
}

/// Each of these adds one that is tried where those before it have failed.
impl<B: Clone, R: Clone> FallbackLayer<B, R> {
    /// Sends the request to `backup` where all before it have failed.
    pub fn or<B2>(self, backup: B2) -> FallbackLayer<Or<B, To<B2>>, R> {
        self.add(To::new(backup))
    }

    /// Answers with a clone of `value` where all before it have failed.
    pub fn or_value<V>(self, value: V) -> FallbackLayer<Or<B, Value<V>>, R> {
        self.add(Value::new(value))
    }

    /// Answers with what `f` makes of the last failure where all before it have failed.
    pub fn or_from_fn<Response, F>(self, f: F) -> FallbackLayer<Or<B, FromFn<F>>, R>
    where
        F: Fn(Outcome<Response>) -> Response,
    {
        self.add(FromFn::new(f))
    }

    /// Names the fallback that was added last, as [`AnsweredBy`](super::AnsweredBy) and events tell it.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self
    where
        B: Chain,
    {
        self.change(|mut plan| {
            plan.backup.name_last(name.into());
            plan
        })
    }

    fn add<B2>(self, next: B2) -> FallbackLayer<Or<B, B2>, R> {
        self.change(|Plan { backup, rule }| Plan {
            backup: Or::new(backup, next),
            rule,
        })
    }

    fn change<B2, R2>(self, f: impl FnOnce(Plan<B, R>) -> Plan<B2, R2>) -> FallbackLayer<B2, R2> {
        let plan = f(Arc::unwrap_or_clone(self.plan));
        FallbackLayer {
            plan: Arc::new(plan),
        }
    }
}

impl<B: Clone, R: Clone> FallbackLayer<To<B>, R> {
    /// Makes the request one for the backup: another model, host or key. The primary's is left as it is.
    ///
    /// It is called only when the backup is, with the request as it came to this layer.
    pub fn map_request<Request, M>(self, map: M) -> FallbackLayer<To<B, M>, R>
    where
        M: Fn(Request) -> Request,
    {
        self.change(|Plan { backup, rule }| Plan {
            backup: backup.map(map),
            rule,
        })
    }
}

impl<B: Clone, M: Clone, R: Clone> FallbackLayer<To<B, M>, R> {
    /// Lets the request be of any type that is [`Clone`], also where it is not [`TryClone`](crate::TryClone).
    ///
    /// To be called after [`map_request`](Self::map_request).
    pub fn clone_request(self) -> FallbackLayer<To<B, Cloned<M>>, R> {
        self.change(|Plan { backup, rule }| Plan {
            backup: backup.cloned(),
            rule,
        })
    }
}

impl<A: Clone, B: Clone, R: Clone> FallbackLayer<Or<A, To<B>>, R> {
    /// Makes the request one for the backup that was added last. Those before it see it as it came to this layer.
    pub fn map_request<Request, M>(self, map: M) -> FallbackLayer<Or<A, To<B, M>>, R>
    where
        M: Fn(Request) -> Request,
    {
        self.change(|Plan { backup, rule }| Plan {
            backup: backup.map_second(|last| last.map(map)),
            rule,
        })
    }
}

impl<A: Clone, B: Clone, M: Clone, R: Clone> FallbackLayer<Or<A, To<B, M>>, R> {
    /// Lets the request of the backup that was added last be of any type that is [`Clone`].
    ///
    /// To be called after [`map_request`](Self::map_request).
    pub fn clone_request(self) -> FallbackLayer<Or<A, To<B, Cloned<M>>>, R> {
        self.change(|Plan { backup, rule }| Plan {
            backup: backup.map_second(To::cloned),
            rule,
        })
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
