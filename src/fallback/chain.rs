//! What a layer is told about its fallbacks.

use std::sync::Arc;

use super::{
    FallbackLayer,
    backup::{Chain, Cloned, FromFn, Or, Outcome, Restrict, To, Value},
    rule::Plan,
};

/// Each of these adds one that is tried where those before it have failed.
impl<B: Clone, R: Clone> FallbackLayer<B, R> {
    /// Sends the request to `backup` where all before it have failed.
    pub fn or<B2>(self, backup: B2) -> FallbackLayer<Or<B, To<B2>>, R> {
        self.add(To::new(backup))
    }

    /// Answers with a clone of `value` where all before it have failed.
    ///
    /// The value has to be a response of the type that the service's are, and [`Clone`]. A `reqwest::Response` is not: there,
    /// [`or_from_fn`](Self::or_from_fn) makes one, as with `or_from_fn(|_| http::Response::new("sorry").into())`.
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

    /// Lets the fallback that was added last answer where this condition holds, and nowhere else; see
    /// [`when`](crate::fallback::when).
    ///
    /// So each class of errors can have a target of its own:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// # use std::convert::Infallible;
    /// # use http::{Request, Response};
    /// # use tower::{Layer, ServiceExt, service_fn};
    /// use tower_throttle::{Outcome, FallbackLayer, fallback::{AnsweredBy, when}};
    ///
    /// # let answers = |status: u16, kind: Option<Outcome>| service_fn(move |_: Request<()>| async move {
    /// #     let mut response = Response::builder().status(status).body(()).unwrap();
    /// #     if let Some(kind) = kind { response.extensions_mut().insert(kind); }
    /// #     Ok::<_, Infallible>(response)
    /// # });
    /// # let (other_provider, long_context) = (answers(200, None), answers(200, None));
    /// let layer = FallbackLayer::new(other_provider)
    ///     .named("other provider")
    ///     .only(when::outcome([Outcome::RateLimited, Outcome::Overloaded]))
    ///     .or(long_context)
    ///     .named("long context")
    ///     .only(when::outcome([Outcome::ContextTooLong]));
    ///
    /// # let (busy, too_long, wrong) =
    /// #     (answers(429, None), answers(400, Some(Outcome::ContextTooLong)), answers(400, None));
    /// let response = layer.layer(busy).oneshot(Request::new(())).await?;
    /// assert_eq!(AnsweredBy::of(&response).name(), Some("other provider"));
    /// let response = layer.layer(too_long).oneshot(Request::new(())).await?;
    /// assert_eq!(AnsweredBy::of(&response).name(), Some("long context"));
    /// let response = layer.layer(wrong).oneshot(Request::new(())).await?;
    /// assert_eq!(response.status(), 400);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It is asked about each outcome that comes to this fallback's turn, that of the primary or of the fallback before it,
    /// whether or not the layer's own condition, [`when`](Self::when), says that it is a failure. Where it does not hold the
    /// fallback is passed over; where nobody is left, the outcome passes unchanged. While a circuit keeps the primary from being
    /// asked, [`when::outcome`](super::when::outcome) goes by what opened it: name the outcomes that do if the fallback is to answer then.
    ///
    /// To be called after [`map_request`](Self::map_request) and [`clone_request`](Self::clone_request). Called twice, both
    /// conditions have to hold.
    pub fn only<W>(self, when: W) -> FallbackLayer<B::Output, R>
    where
        B: Restrict<W>,
    {
        self.change(|Plan { backup, rule }| Plan {
            backup: backup.restrict(when),
            rule,
        })
    }

    fn add<B2>(self, next: B2) -> FallbackLayer<Or<B, B2>, R> {
        self.change(|Plan { backup, rule }| Plan {
            backup: Or::new(backup, next),
            rule,
        })
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
