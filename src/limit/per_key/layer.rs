use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    PerKey, PerKeyLimiter,
    body::ByBytes,
    by_key::{ByKey, HeadRules, MissingKey},
    kind::{Bucket, InFlight, Kind, Rate, Window},
    release::{AddHeaders, Settle, Settled},
    service::Inner,
};
use crate::{
    http::{RequestHead, headers::rate_limit::emit::RateLimitHeaders},
    limit::{
        concurrency::ConcurrencyLayer,
        cost::One,
        engine::{Prioritized, WaitLimits},
        key::PeerIp,
        quota::Quota,
        rejection::AsError,
        sliding_window::SlidingWindowLayer,
        token_bucket::TokenBucketLayer,
    },
    telemetry::LimitTelemetry,
};

/// Layer with one limit per key. See the [module docs](crate::per_key) for examples.
///
/// `A` reads the key and the cost of a request, `F` is the form of a rejection, and `K` what is
/// counted.
#[derive(Clone)]
#[must_use]
pub struct PerKeyLayer<A = ByKey<PeerIp>, F = AsError, K: Kind = Bucket> {
    limiter: PerKeyLimiter<K>,
    limits: WaitLimits,
    headers: RateLimitHeaders,
    ask: A,
    refusal: F,
}

/// The default name of the first limit.
pub(super) const DEFAULT: &str = "default";

/// A limit that may be one of several of a key. Only its quota counts.
pub trait OneOfSeveral {
    type Kind: Rate + Kind<Plan = Quota, Names = &'static str>;

    fn quota(self) -> Quota;
}

// ===== impl PerKeyLayer =====

impl<Key, K: Kind> PerKeyLayer<ByKey<Key>, AsError, K> {
    /// Creates a layer of `limiter` that counts each request by the key that `key` returns.
    ///
    /// ```
    /// use tower_throttle::{Quota, key, per_key::{PerKeyLayer, PerKeyLimiter}};
    ///
    /// let limiter = PerKeyLimiter::new(Quota::per_second(5));
    /// let layer = PerKeyLayer::new(limiter.clone(), key::PeerIp).respond();
    /// # let _ = layer;
    /// ```
    pub fn new(limiter: PerKeyLimiter<K>, key: Key) -> Self {
        let layer = Self {
            limiter,
            limits: WaitLimits::NONE,
            headers: RateLimitHeaders::default(),
            ask: ByKey::new(key, One, MissingKey::default(), ()),
            refusal: AsError,
        };
        layer.max_wait(Duration::ZERO)
    }
}

impl<Key, C, H, F, K: Kind> PerKeyLayer<ByKey<Key, C, H>, F, K> {
    /// Sets what happens to a request without a key. By default it is
    /// [rejected](MissingKey::Refuse), in HTTP with a 401.
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

    /// Sets the cost of a request: a closure, or any other [`Cost`](crate::Cost). The default is
    /// one unit.
    pub fn cost<C2>(self, cost: C2) -> PerKeyLayer<ByKey<Key, C2, H>, F, K> {
        self.ask(|by_key| ByKey::new(by_key.key, cost, by_key.missing, by_key.rules))
    }
}

impl<Key, C, H, F, K: Kind> PerKeyLayer<ByKey<Key, C, H>, F, K>
where
    H: Into<HeadRules<K::Plan>>,
{
    /// Sets the limits of each key, by the head of a request: a [`Quota`](crate::Quota), a number
    /// of requests in flight, or a tuple of these for several limits.
    ///
    /// A key whose limits change keeps what it has used. Requests that share a limit, because they
    /// have no key or the table is full, have the limiter's own. Return the same for all requests
    /// of a key: it is counted once, by the limits of the last request. For limits per route, add
    /// the route to the key: `(key, route)`. Use only what was verified, and no header that clients
    /// set.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// #[derive(Clone)]
    /// struct Pro;
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_minute(60))
    ///     .per(key::ApiKey::header("x-api-key"))
    ///     .limits_for(|request| {
    ///         let is_pro = request.extensions().is_some_and(|all| all.get::<Pro>().is_some());
    ///         Quota::per_minute(if is_pro { 6_000 } else { 60 })
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn limits_for(
        self,
        limits_for: impl Fn(&dyn RequestHead) -> K::Plan + Send + Sync + 'static,
    ) -> PerKeyLayer<ByKey<Key, C, HeadRules<K::Plan>>, F, K> {
        self.rules(|rules| HeadRules {
            limits_for: Some(Arc::new(limits_for)),
            ..rules
        })
    }

    /// Lets requests pass uncounted for which `exempt` returns `true`. It is called before the key
    /// and the cost.
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::header("x-api-key"))
    ///     .exempt(|request| request.path() == "/health");
    /// # let _ = layer;
    /// ```
    pub fn exempt(
        self,
        exempt: impl Fn(&dyn RequestHead) -> bool + Send + Sync + 'static,
    ) -> PerKeyLayer<ByKey<Key, C, HeadRules<K::Plan>>, F, K> {
        self.rules(|rules| HeadRules {
            exempt: Some(match rules.exempt {
                Some(first) => Arc::new(move |request| first(request) || exempt(request)),
                None => Arc::new(exempt),
            }),
            ..rules
        })
    }

    fn rules(
        self,
        change: impl FnOnce(HeadRules<K::Plan>) -> HeadRules<K::Plan>,
    ) -> PerKeyLayer<ByKey<Key, C, HeadRules<K::Plan>>, F, K> {
        self.ask(|by_key| {
            let rules = change(by_key.rules.into());
            ByKey::new(by_key.key, by_key.cost, by_key.missing, rules)
        })
    }
}

impl<A, F, K: Kind> PerKeyLayer<A, F, K> {
    /// Sets how many keys are kept, by default 1,000,000: see [`PerKeyLimiter::max_keys`]. This
    /// creates another limiter.
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.limiter = self.limiter.max_keys(max_keys);
        self
    }

    crate::limit::engine::wait_limits! {
        /// The longest that a request waits in the queue of its key, give or take the 10 ms that
        /// a timer may be late. One that would wait longer is rejected at once. By default
        /// requests do not wait.
        max_wait;
        /// How many requests of a key and a priority may wait if one more is to wait here. The
        /// default is no limit.
        max_waiting;
    }

    /// Sets the priority of a request that waits in the queue of its key: a closure, or any other
    /// [`Prioritize`](crate::Prioritize). Requests with a higher priority start first; see
    /// [`Priority`](crate::Priority). Requests of other keys do not matter. By default all have the
    /// same.
    ///
    /// It comes after the settings of what is counted, such as [`cost`](Self::cost) and
    /// [`settle`](Self::settle).
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Method, Request};
    /// use tower_throttle::{Priority, Quota, TokenBucketLayer, key};
    ///
    /// let layer = TokenBucketLayer::new(Quota::per_second(5))
    ///     .per(key::ApiKey::bearer())
    ///     .max_wait(Duration::from_secs(10))
    ///     .priority(|request: &Request<String>| match *request.method() {
    ///         Method::GET => Priority::High,
    ///         _ => Priority::Low,
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn priority<P>(self, priority: P) -> PerKeyLayer<Prioritized<A, P>, F, K> {
        self.ask(|ask| Prioritized { ask, priority })
    }

    /// Takes over the settings of a layer without keys. By default requests do not wait.
    pub(super) fn limits(mut self, limits: WaitLimits) -> Self {
        if let Some(name) = limits.name {
            self.limiter.rename(name);
        }
        let own = &mut self.limits;
        own.max_wait = limits.max_wait.or(own.max_wait);
        own.max_waiting = limits.max_waiting;
        self
    }

    /// Lets requests pass that would be rejected, and counts them: see
    /// [`PerKeyLimiter::set_shadow`]. This is a setting of the limiter, for all that share it.
    pub fn shadow(self) -> Self {
        self.limiter.set_shadow(true);
        self
    }

    /// Sets the name of the first limit, in the `RateLimit` headers of responses and in
    /// [`Rejected::name`](crate::Rejected::name).
    ///
    /// By default it is `default`, and limits of requests in flight have none. Layers that are
    /// stacked need a name each. This is a setting of the limiter, for all that share it.
    pub fn name(self, name: &'static str) -> Self {
        self.limiter.rename(name);
        self
    }

    /// Sets the headers that tell clients what is left. The default is the newest draft's. They are
    /// written by the `respond` methods only.
    pub fn fields(mut self, headers: RateLimitHeaders) -> Self {
        self.headers = headers;
        self
    }

    /// Returns the limiter, which all services of this layer share.
    #[must_use]
    pub fn limiter(&self) -> &PerKeyLimiter<K> {
        &self.limiter
    }

    fn ask<A2>(self, ask: impl FnOnce(A) -> A2) -> PerKeyLayer<A2, F, K> {
        PerKeyLayer {
            limiter: self.limiter,
            limits: self.limits,
            headers: self.headers,
            ask: ask(self.ask),
            refusal: self.refusal,
        }
    }
}

crate::limit::engine::rejections! {
    PerKeyLayer<A, [F], K: Kind> { limiter, limits, headers, ask };

    /// Calls `hook` for each request that is rejected, or would be without
    /// [`shadow`](Self::shadow).
    ///
    /// The hook sees the rejection with the limit's [`name`](Self::name), the key and the head of
    /// the request. It runs in the task of the request, under no lock. Requests have to implement
    /// [`RequestHead`](crate::RequestHead). A rejection by the [limiter](Self::limiter) itself does
    /// not call it.
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
    on_rejected;

    /// Responds with an HTTP 429 instead of an error, or with a 503 if the limit is one of requests
    /// in flight, and does not wait unless [`max_wait`](Self::max_wait) is set.
    ///
    /// `RateLimit` headers tell clients what is left: see [`fields`](Self::fields).
    respond;

    /// Rejects with the response that `respond` returns for the [`Rejected`](crate::Rejected).
    /// `RateLimit` headers are added.
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
    respond_with;

    /// Rejects with the response that `respond` returns for the head of the request and the
    /// [`Rejected`](crate::Rejected). `RateLimit` headers are added.
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
    respond_with_head;

    /// Rejects in the form of `rejection`, such as [`Problem`](crate::rejection::Problem): see
    /// [`rejection`](crate::rejection). `RateLimit` headers are added; in gRPC they are metadata.
    respond_as;
}

#[cfg(feature = "redis")]
impl<A, F, K: Rate> PerKeyLayer<A, F, K> {
    /// Shares what clients take with all processes that use the same `name` in the same Redis or
    /// Valkey: see [limits of clients](crate::guide::shared#clients). The type stays the same.
    ///
    /// This creates another limiter, from which nothing has been taken yet. All processes should
    /// set the same limits. Limits of requests [in flight](super::InFlight) cannot be shared.
    ///
    /// ```
    /// use tower_throttle::{Quota, Redis, SlidingWindowLayer, TokenBucketLayer, key};
    ///
    /// # fn layer(redis: Option<Redis>) -> impl Sized {
    /// let layer = TokenBucketLayer::new(Quota::per_minute(60).burst(10))
    ///     .per(key::ApiKey::bearer())
    ///     .and("day", SlidingWindowLayer::new(Quota::per_day(5_000)));
    /// let layer = match &redis {
    ///     Some(redis) => layer.shared(redis, "api"),
    ///     None => layer,
    /// };
    /// layer.respond()
    /// # }
    /// ```
    pub fn shared(mut self, redis: &crate::limit::store::redis::Redis, name: &str) -> Self {
        self.limiter = self.limiter.shared(redis, name);
        self
    }
}

impl<Key, C, F, K: Rate> PerKeyLayer<ByKey<Key, C>, F, K> {
    /// Adds another limit of each key, which responses call `name`. A request takes from both at
    /// one instant, or from neither.
    ///
    /// This creates another limiter, so it comes before anything is taken, and before
    /// [`limits_for`](Self::limits_for), [`exempt`](Self::exempt) and [`settle`](Self::settle).
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
    ) -> PerKeyLayer<ByKey<Key, C>, F, (K, L::Kind)> {
        PerKeyLayer {
            limiter: self.limiter.and(name, other),
            limits: self.limits,
            headers: self.headers,
            ask: self.ask,
            refusal: self.refusal,
        }
    }
}

impl<Key, C, H, F, K: Rate> PerKeyLayer<ByKey<Key, C, H>, F, K> {
    /// Counts what `cost` returns for the response in place of what was reserved for the request,
    /// which is its [`cost`](Self::cost): the tokens that it used, or one for a failed login and
    /// nothing for a successful one.
    ///
    /// ```
    /// use http::{Response, StatusCode};
    /// use tower_throttle::{Quota, TokenBucketLayer, key};
    ///
    /// // Five failed logins, and one more each minute. A successful one costs nothing.
    /// let layer = TokenBucketLayer::new(Quota::per_minute(1).burst(5))
    ///     .per(key::ClientIp::behind(1))
    ///     .settle(|response: &Response<String>| {
    ///         u64::from(response.status() == StatusCode::UNAUTHORIZED)
    ///     })
    ///     .respond();
    /// # let _ = layer;
    /// ```
    ///
    /// What was reserved and not used goes back to the instant at which it was taken, and what is
    /// available again since then does not. A bucket first refills what was taken first, all of it
    /// in the time that a burst takes: if responses take longer than that, as with a model,
    /// use a window. Nothing goes back to a bucket whose quota has changed since then.
    ///
    /// What exceeds the reservation counts from then on, until twice the capacity is in use. If a
    /// response never comes, the request has cost what was reserved. Reserve at least 1: a request
    /// that costs 0 is admitted at any time.
    pub fn settle<C2>(self, cost: C2) -> PerKeyLayer<Settled<ByKey<Key, C, H>, C2>, F, K> {
        self.ask(|ask| Settled { ask, way: cost })
    }

    /// Counts the bytes of the response's body in place of what was reserved, as they pass. What
    /// was reserved and not used goes back at the last frame, the first error, or the drop.
    /// Otherwise like [`settle`](Self::settle).
    ///
    /// Once the limit is reached, new requests are rejected, and responses that have begun continue
    /// to their end.
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
    pub fn settle_bytes(self) -> PerKeyLayer<Settled<ByKey<Key, C, H>, ByBytes>, F, K> {
        self.ask(|ask| Settled { ask, way: ByBytes })
    }
}

crate::macros::debug!(impl<A, F, K: Kind> Debug for PerKeyLayer<A, F, K> |self| { limiter, .. });

impl<S, A: Settle + Clone, F: AddHeaders<K> + Clone, K: Kind> Layer<S> for PerKeyLayer<A, F, K> {
    type Service = PerKey<S, A, F, K>;

    fn layer(&self, inner: S) -> Self::Service {
        PerKey(Inner::<S, A, F, K> {
            inner,
            gate: self.limiter.0.clone(),
            limits: self.limits,
            hold: self.ask.hold(F::policy(&self.limiter, self.headers)),
            cost: self.ask.clone(),
            refusal: self.refusal.clone(),
            telemetry: LimitTelemetry::new("per_key", self.limiter.0.table.name()),
        })
    }
}

/// Turns a limit on a rate into one per key.
macro_rules! per {
    ($Layer:ident, $Kind:ident, $a_limit:literal) => {
        impl OneOfSeveral for $Layer {
            type Kind = $Kind;

            fn quota(self) -> Quota {
                self.limiter().quota()
            }
        }

        impl $Layer {
            #[doc = concat!($a_limit, " of this layer's quota for each client.")]
            /// Requests wait only if
            /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
            ///
            /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key).
            /// The clock and the bounds on waiting are this layer's. Costs and responses are set on
            /// the new layer. If this layer is shared by several processes, so is the new one.
            pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>, AsError, $Kind> {
                let limiter = self.limiter();
                let per_key = <PerKeyLimiter<$Kind>>::from_plan(limiter.quota(), DEFAULT);
                #[cfg(feature = "redis")]
                let per_key = match limiter.0.store() {
                    Some((store, name)) => per_key.in_store(store, name),
                    None => per_key,
                };
                PerKeyLayer::new(per_key.clock(limiter.0.clock.clone()), key).limits(self.limits)
            }
        }
    };
}

per!(TokenBucketLayer, Bucket, "A bucket");
per!(SlidingWindowLayer, Window, "A window");

impl<H: Clone + Default + 'static> ConcurrencyLayer<AsError, H> {
    /// This layer's limit for each client, which does not wait unless
    /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
    ///
    /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key). The
    /// bounds on waiting are this layer's. Responses are set on the new layer.
    ///
    /// # Panics
    ///
    /// If this layer is shared by several processes, since the limit for each client would not be.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::{ConcurrencyLayer, key};
    ///
    /// let layer = ConcurrencyLayer::new(4).per(key::ApiKey::bearer()).respond();
    /// # let _ = layer;
    /// ```
    pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>, AsError, InFlight<H>> {
        let limiter = self.limiter();
        #[cfg(feature = "redis")]
        assert!(
            limiter.0.lease.is_none(),
            "limits of requests in flight per client cannot be shared: remove `.shared(..)`"
        );
        let per_key = PerKeyLimiter::from_plan(limiter.limit(), None);
        PerKeyLayer::new(per_key, key).limits(self.limits)
    }
}
