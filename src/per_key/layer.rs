use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::{
    PerKey, PerKeyLimiter, Refused,
    answer::{Answer, Face, Problem},
    ask::{ByKey, Except, MissingKey, WithQuota},
    limiter::MAX_CALLERS,
};
use crate::{
    cost::One,
    fields::Fields,
    refusal::{Fail, Respond, RespondWith},
};

/// Limits the rate at which each caller's requests start. See the [module docs](crate::per_key) for examples.
#[derive(Clone)]
#[must_use]
pub struct PerKeyLayer<A, F = Fail> {
    limiter: PerKeyLimiter,
    ask: A,
    face: F,
}

// ===== impl PerKeyLayer =====

impl<K> PerKeyLayer<ByKey<K>> {
    /// A layer of `limiter` that counts each request for the caller that `key` finds.
    pub fn new(limiter: PerKeyLimiter, key: K) -> Self {
        let (cost, missing) = (One, MissingKey::Share);
        Self {
            limiter,
            ask: ByKey { key, cost, missing },
            face: Fail,
        }
    }
}

impl<K, C, F> PerKeyLayer<ByKey<K, C>, F> {
    /// What becomes of a request without a key. Unless told, all of those share one bucket.
    pub fn missing_key(mut self, missing: MissingKey) -> Self {
        self.ask.missing = missing;
        self
    }

    /// What a request costs: a closure that looks at its route, or any other [`Cost`](crate::Cost). One unit unless told.
    pub fn cost<C2>(self, cost: C2) -> PerKeyLayer<ByKey<K, C2>, F> {
        let ByKey { key, missing, .. } = self.ask;
        PerKeyLayer {
            limiter: self.limiter,
            ask: ByKey { key, cost, missing },
            face: self.face,
        }
    }
}

impl<A, F> PerKeyLayer<A, F> {
    /// Gives each caller the quota that `quota` says of its request: that of its plan, say. A caller whose plan changes keeps what it
    /// has used. Those who share a bucket, since they have no key or found no room, share the limiter's own quota.
    ///
    /// Say the same of all requests of a caller: it has one bucket, which refills by what was said last. For a limit of each
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
    ///     .quota(|request: &Request<String>| match request.extensions().get::<Pro>() {
    ///         Some(Pro) => Quota::per_minute(6_000),
    ///         None => Quota::per_minute(60),
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn quota<Q>(self, quota: Q) -> PerKeyLayer<WithQuota<A, Q>, F> {
        PerKeyLayer {
            limiter: self.limiter,
            ask: WithQuota {
                ask: self.ask,
                quota,
            },
            face: self.face,
        }
    }

    /// Lets requests pass uncounted for which `exempt` says `true`. Asked before the key and the cost.
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
    pub fn exempt<E>(self, exempt: E) -> PerKeyLayer<Except<A, E>, F> {
        PerKeyLayer {
            limiter: self.limiter,
            ask: Except {
                ask: self.ask,
                exempt,
            },
            face: self.face,
        }
    }

    /// Lets everything pass that would be refused, counts it, and tells the hook: see [`PerKeyLimiter::set_shadow`]. For everyone
    /// who shares the limiter.
    pub fn shadow(self) -> Self {
        self.limiter.set_shadow(true);
        self
    }

    /// Tells `hook` of each request that is refused, or would be. It is called in the task of the request, under no lock.
    /// For everyone who shares the limiter; one that has a hook keeps it.
    pub fn on_refused(self, hook: impl Fn(&Refused) + Send + Sync + 'static) -> Self {
        self.limiter.set_hook(Box::new(hook));
        self
    }

    /// The limiter that everything made by this layer shares.
    #[must_use]
    pub fn limiter(&self) -> &PerKeyLimiter {
        &self.limiter
    }

    /// Answers with an HTTP 429 instead of an error, and tells callers in `RateLimit` fields where they stand.
    pub fn respond(self) -> PerKeyLayer<A, Answer<Respond>> {
        self.face(Answer::new(Respond))
    }

    /// Answers with the response that `respond` makes of the [`Rejected`](crate::Rejected). The fields of a rate limit are added.
    pub fn respond_with<R>(self, respond: R) -> PerKeyLayer<A, Answer<RespondWith<R>>> {
        self.face(Answer::new(RespondWith(respond)))
    }

    /// Answers with a problem in JSON (RFC 9457) instead of an error: see [`Problem`].
    pub fn problem_json(self) -> PerKeyLayer<A, Answer<Problem>> {
        self.face(Answer::new(Problem))
    }

    /// Answers in the form of `refusal`, such as [`Text`](crate::refusal::Text); see [`refusal`](crate::refusal). The fields of a
    /// rate limit are added; in gRPC they are metadata.
    pub fn respond_as<R>(self, refusal: R) -> PerKeyLayer<A, Answer<R>> {
        self.face(Answer::new(refusal))
    }

    fn face<F2>(self, face: F2) -> PerKeyLayer<A, F2> {
        PerKeyLayer {
            limiter: self.limiter,
            ask: self.ask,
            face,
        }
    }
}

impl<A, R> PerKeyLayer<A, Answer<R>> {
    /// Which fields an answer says it in; those of the newest draft unless told.
    pub fn fields(mut self, fields: Fields) -> Self {
        self.face.tell.fields = fields;
        self
    }

    /// The name that the fields give this limit, `default` unless told. Limits that are stacked need a name each.
    pub fn name(mut self, name: &'static str) -> Self {
        self.face.tell.name = name;
        self
    }
}

impl<A, F> fmt::Debug for PerKeyLayer<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKeyLayer")
            .field("limiter", &self.limiter)
            .field("ask", &type_name::<A>())
            .field("face", &type_name::<F>())
            .finish()
    }
}

impl<S, A: Clone, F: Face> Layer<S> for PerKeyLayer<A, F> {
    type Service = PerKey<S, A, F>;

    fn layer(&self, inner: S) -> Self::Service {
        PerKey::new(inner, &self.limiter, self.ask.clone(), self.face.clone())
    }
}

impl crate::TokenBucketLayer {
    /// A bucket of this layer's quota for each caller, as `key` tells them apart, for up to 1,000,000 of them. See
    /// [`per_key`](crate::per_key). The clock is this layer's; costs and answers are for the new one to be told.
    pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>> {
        let (quota, clock) = (self.limiter().quota(), self.limiter().clock());
        PerKeyLayer::new(PerKeyLimiter::with_clock(quota, MAX_CALLERS, clock), key)
    }
}
