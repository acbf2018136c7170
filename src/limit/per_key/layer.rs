use std::{any::type_name, fmt, time::Duration};

use tower_layer::Layer;

use super::{
    PerKey, PerKeyLimiter,
    answer::{Answer, Face},
    ask::{ByKey, Except, MissingKey, WithPlan},
    kind::{Bucket, Joint, Kind, Rate},
    settle::{ByBytes, ByResponse, Settle, Settled},
    several::OneOfSeveral,
};
use crate::{
    error::Rejected,
    http::{RequestHead, headers::rate_limit::emit::RateLimitHeaders},
    limit::{
        cost::One,
        engine::WaitLimits,
        rejection::{
            AsError, AsResponse, AsResponseWith, AsResponseWithHead, OnRejected, RejectedRequest,
        },
    },
};

/// A limit for each caller. See the [module docs](crate::per_key) for examples.
///
/// `A` says what is asked of a request, `F` how a refusal looks, `K` what is counted.
#[derive(Clone)]
#[must_use]
pub struct PerKeyLayer<A, F = AsError, K: Kind = Bucket> {
    limiter: PerKeyLimiter<K>,
    limits: WaitLimits,
    ask: A,
    face: F,
}

// ===== impl PerKeyLayer =====

impl<Key, K: Kind> PerKeyLayer<ByKey<Key>, AsError, K> {
    /// A layer of `limiter` that counts each request for the caller that `key` finds.
    pub fn new(limiter: PerKeyLimiter<K>, key: Key) -> Self {
        let (cost, missing) = (One, MissingKey::default());
        Self {
            limiter,
            limits: WaitLimits {
                max_wait: Some(Duration::ZERO),
                ..WaitLimits::NONE
            },
            ask: ByKey { key, cost, missing },
            face: AsError,
        }
    }
}

impl<Key, C, F, K: Kind> PerKeyLayer<ByKey<Key, C>, F, K> {
    /// Sets what happens to a request without a key: by default it is [rejected](MissingKey::Refuse), in HTTP as a 401.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer, key, per_key::MissingKey};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::bearer())
    ///     .missing_key(MissingKey::RefuseWith(http::StatusCode::FORBIDDEN))
    ///     .respond();
    /// # let _ = layer;
    /// ```
    pub fn missing_key(mut self, missing: MissingKey) -> Self {
        self.ask.missing = missing;
        self
    }

    /// What a request costs: a closure that looks at its route, or any other [`Cost`](crate::Cost). One unit unless told.
    pub fn cost<C2>(self, cost: C2) -> PerKeyLayer<ByKey<Key, C2>, F, K> {
        let ByKey { key, missing, .. } = self.ask;
        PerKeyLayer {
            limiter: self.limiter,
            limits: self.limits,
            ask: ByKey { key, cost, missing },
            face: self.face,
        }
    }
}

impl<A, F, K: Kind> PerKeyLayer<A, F, K> {
    /// Gives each caller the plan that `plan` says of its request: a [`Quota`](crate::Quota), or how many may be in flight, or with several
    /// limits one for each. A caller whose plan changes keeps what it has used. Those who share, since they have no key or found
    /// no room, share the limiter's own plan.
    ///
    /// Say the same of all requests of a caller: it is counted once, by what was said last. For a limit of each
    /// route the route belongs into the key, `(key, route)`. And go by what was verified: a plan that a header claims is
    /// anybody's.
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// #[derive(Clone)]
    /// struct Pro;
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_minute(60))
    ///     .per(key::ApiKey::header("x-api-key"))
    ///     .limits_for(|request: &Request<String>| match request.extensions().get::<Pro>() {
    ///         Some(Pro) => Quota::per_minute(6_000),
    ///         None => Quota::per_minute(60),
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn limits_for<P>(self, plan: P) -> PerKeyLayer<WithPlan<A, P>, F, K> {
        self.ask(|ask| WithPlan { ask, plan })
    }

    /// Lets requests pass uncounted for which `exempt` says `true`. Demand before the key and the cost.
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::header("x-api-key"))
    ///     .exempt(|request: &Request<String>| request.uri().path() == "/health");
    /// # let _ = layer;
    /// ```
    pub fn exempt<E>(self, exempt: E) -> PerKeyLayer<Except<A, E>, F, K> {
        self.ask(|ask| Except { ask, exempt })
    }

    /// How many callers are told apart, 1,000,000 unless told: see [`PerKeyLimiter::max_callers`]. It makes another limiter.
    pub fn max_callers(mut self, max_callers: usize) -> Self {
        self.limiter = self.limiter.max_callers(max_callers);
        self
    }

    crate::limit::engine::wait_limits! {
        /// The longest that a request waits in its caller's line, give or take the 10 ms that a timer may be
        /// late. One that would wait longer is rejected at once. By default nothing waits.
        max_wait;
        /// How many requests of a caller may wait if one more is to wait here. The default is no limit.
        max_waiting;
    }

    /// Takes over the settings of a layer without keys. By default requests do not wait.
    pub(super) fn limits(mut self, limits: WaitLimits) -> Self {
        if let Some(name) = limits.name {
            self.limiter.rename(name);
        }
        self.limits.max_wait = limits.max_wait.or(self.limits.max_wait);
        self.limits.max_waiting = limits.max_waiting;
        self
    }

    /// Lets requests pass that would be rejected, and counts them: see
    /// [`PerKeyLimiter::set_shadow`]. This is a setting of the limiter, for all that share it.
    pub fn shadow(self) -> Self {
        self.limiter.set_shadow(true);
        self
    }

    /// Sets the name of the first limit, in the `RateLimit` headers of responses and in
    /// [`Rejected::name`].
    ///
    /// By default it is `default`, and limits of requests in flight have none. Layers that are
    /// stacked need a name each. This is a setting of the limiter, for all that share it.
    pub fn name(self, name: &'static str) -> Self {
        self.limiter.rename(name);
        self
    }

    /// Calls `hook` for each request that is rejected, or would be without
    /// [`shadow`](Self::shadow).
    ///
    /// The hook sees the rejection with the limit's [`name`](Self::name), the key and the head of
    /// the request. It runs in the task of the request, under no lock. Requests have to implement
    /// [`RequestHead`]. A rejection by the [limiter](Self::limiter) itself does not call it.
    ///
    /// Set it last: a layer with a hook has no `respond` methods. A second hook is called after the
    /// first.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::bearer())
    ///     .respond()
    ///     .on_rejected(|rejected| println!("{:?}: {}", rejected.key, rejected.rejected));
    /// # let _ = layer;
    /// ```
    pub fn on_rejected(
        self,
        hook: impl Fn(&RejectedRequest<'_>) + Send + Sync + 'static,
    ) -> PerKeyLayer<A, OnRejected<F>, K> {
        PerKeyLayer {
            limiter: self.limiter,
            limits: self.limits,
            ask: self.ask,
            face: OnRejected::new(self.face, hook),
        }
    }

    /// The limiter that everything made by this layer shares.
    #[must_use]
    pub fn limiter(&self) -> &PerKeyLimiter<K> {
        &self.limiter
    }

    fn ask<A2>(self, ask: impl FnOnce(A) -> A2) -> PerKeyLayer<A2, F, K> {
        PerKeyLayer {
            limiter: self.limiter,
            limits: self.limits,
            ask: ask(self.ask),
            face: self.face,
        }
    }
}

impl<A, K: Kind> PerKeyLayer<A, AsError, K> {
    /// Responds with an HTTP 429 instead of an error, or with a 503 if the limit is one of requests
    /// in flight, and does not wait unless [`max_wait`](Self::max_wait) is set.
    ///
    /// `RateLimit` headers tell clients what is left: see [`fields`](PerKeyLayer::fields).
    pub fn respond(self) -> PerKeyLayer<A, Answer<AsResponse>, K> {
        self.respond_as(AsResponse)
    }

    /// Rejects with the response that `respond` returns for the [`Rejected`]. `RateLimit` headers
    /// are added.
    ///
    /// ```
    /// use http::Response;
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::bearer())
    ///     .respond_with(|rejected| Response::new(format!("sorry: {rejected}")));
    /// # let _ = layer;
    /// ```
    pub fn respond_with<R, Response>(
        self,
        respond: R,
    ) -> PerKeyLayer<A, Answer<AsResponseWith<R>>, K>
    where
        R: Fn(&Rejected) -> Response,
    {
        self.respond_as(AsResponseWith(respond))
    }

    /// Rejects with the response that `respond` returns for the head of the request and the
    /// [`Rejected`]. `RateLimit` headers are added.
    ///
    /// ```
    /// use http::Response;
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::bearer())
    ///     .respond_with_head(|head, rejected| {
    ///         Response::new(format!("{}: {rejected}", head.path()))
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn respond_with_head<R, Response>(
        self,
        respond: R,
    ) -> PerKeyLayer<A, Answer<AsResponseWithHead<R>>, K>
    where
        R: Fn(&dyn RequestHead, &Rejected) -> Response,
    {
        self.respond_as(AsResponseWithHead(respond))
    }

    /// Rejects in the form of `refusal`, such as [`Problem`](crate::rejection::Problem): see
    /// [`rejection`](crate::rejection). `RateLimit` headers are added; in gRPC they are metadata.
    pub fn respond_as<R>(self, refusal: R) -> PerKeyLayer<A, Answer<R>, K> {
        PerKeyLayer {
            limiter: self.limiter,
            limits: self.limits,
            ask: self.ask,
            face: Answer::new(refusal),
        }
    }
}

impl<A, F, K: Rate> PerKeyLayer<A, F, K> {
    /// Another limit of each caller beside this one, called `name` in answers. A request takes from both at one instant, or from
    /// neither. It makes another limiter, so it comes before anything is taken.
    ///
    /// ```
    /// use tower_throttle::{Quota, SlidingWindowLayer, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(10))
    ///     .per(key::ApiKey::bearer())
    ///     .name("second")
    ///     .and("hour", SlidingWindowLayer::new(Quota::per_hour(1_000)))
    ///     .respond();
    /// # let _ = layer;
    /// ```
    pub fn and<L: OneOfSeveral>(
        self,
        name: &'static str,
        other: L,
    ) -> PerKeyLayer<A, F, Joint<K, L::Kind>> {
        PerKeyLayer {
            limiter: self.limiter.and(name, other),
            limits: self.limits,
            ask: self.ask,
            face: self.face,
        }
    }

    /// Counts what `cost` says of the response in place of what was reserved for the request, which is its
    /// [`cost`](PerKeyLayer::cost): the tokens it used, or one for a failed login and nothing for a good one.
    ///
    /// What is left over goes back to the instant that it was taken from, and what is there again since does not. In a bucket what was
    /// taken first is there again first, all of it after the time that a burst takes to refill: where answers take longer than that, as
    /// those of a model may, take a window. Nothing goes back to a bucket whose quota has changed meanwhile.
    ///
    /// What is over counts from then on, until twice as much is in use as the limit holds. A request whose response never comes has
    /// cost what was reserved. Reserve at least 1: a request that costs 0 is admitted at any time.
    ///
    /// ```
    /// use http::{Response, StatusCode};
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// // Five failed logins, and one more each minute. A good one costs nothing.
    /// let layer = TokenBucketLayer::new(Quota::per_minute(1).burst(5))
    ///     .per(key::ClientIp::behind(1))
    ///     .settle(|response: &Response<String>| u64::from(response.status() == StatusCode::UNAUTHORIZED))
    ///     .respond();
    /// # let _ = layer;
    /// ```
    pub fn settle<C>(self, cost: C) -> PerKeyLayer<Settled<A, ByResponse<C>>, F, K> {
        let way = ByResponse(cost);
        self.ask(|ask| Settled { ask, way })
    }

    /// Counts the bytes of the response's body in place of what was reserved, at its last frame, its first error, or its drop. Else as
    /// [`settle`](Self::settle).
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// // 10 MB an hour. Each request reserves 1 KB.
    /// let layer = TokenBucketLayer::new(Quota::per_hour(10_000_000))
    ///     .per(key::ApiKey::bearer())
    ///     .cost(|_: &http::Request<String>| 1_000)
    ///     .settle_bytes()
    ///     .respond();
    /// # let _ = layer;
    /// ```
    pub fn settle_bytes(self) -> PerKeyLayer<Settled<A, ByBytes>, F, K> {
        let way = ByBytes;
        self.ask(|ask| Settled { ask, way })
    }
}

impl<A, R, K: Kind> PerKeyLayer<A, Answer<R>, K> {
    /// Which fields an answer says it in; those of the newest draft unless told.
    pub fn fields(mut self, fields: RateLimitHeaders) -> Self {
        self.face.fields = fields;
        self
    }
}

impl<A, F, K: Kind> fmt::Debug for PerKeyLayer<A, F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKeyLayer")
            .field("limiter", &self.limiter)
            .field("ask", &type_name::<A>())
            .field("face", &type_name::<F>())
            .finish()
    }
}

impl<S, A: Settle + Clone, F: Face<K>, K: Kind> Layer<S> for PerKeyLayer<A, F, K> {
    type Service = PerKey<S, A, F, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let (ask, face) = (self.ask.clone(), self.face.clone());
        PerKey::new(inner, &self.limiter, self.limits, ask, face)
    }
}
