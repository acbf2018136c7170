//! The public faces of the limiters: what several of them have in common, written once.

/// Makes the limiter, the layer and the service of an algorithm.
macro_rules! rate_limit {
    (
        $algorithm:ty, $limit:expr, $spec:ident;
        $(#[$limiter_doc:meta])* limiter $Limiter:ident;
        $(#[$layer_doc:meta])* layer $Layer:ident;
        $(#[$service_doc:meta])* service $Service:ident;
    ) => {
        use std::{sync::Arc, time::Duration};

        use tower_layer::Layer;
        use tower_service::Service;

        use crate::{
            error::Rejected,
            limit::{
                clock::Clock,
                cost::{Cost, One},
                engine::{Limited, Prioritized, RateLimiter, UntilResponse, WaitLimits},
                priority::{Prioritize, Priority, UniformPriority},
                quota::Quota,
                rejection::{AsError, Rejection},
            },
        };
        #[cfg(feature = "redis")]
        use crate::limit::store::{call::LimitSpec, handle::Handle, redis::Redis};

        $(#[$limiter_doc])*
        #[derive(Clone)]
        pub struct $Limiter(pub(crate) Arc<RateLimiter<$algorithm>>);

        $(#[$layer_doc])*
        #[derive(Clone)]
        #[must_use]
        pub struct $Layer<C = One, F = AsError, P = UniformPriority> {
            limiter: $Limiter,
            pub(crate) limits: WaitLimits,
            cost: C,
            refusal: F,
            priority: P,
        }

        $(#[$service_doc])*
        #[derive(Clone)]
        pub struct $Service<S, C = One, F = AsError, P = UniformPriority>(
            Limited<S, Arc<RateLimiter<$algorithm>>, Prioritized<C, P>, F, UntilResponse>,
        );

        impl $Limiter {
            /// Creates a limiter of `quota`, with nothing taken from it yet.
            #[must_use]
            pub fn new(quota: Quota) -> Self {
                Self::with_clock(quota, Clock::tokio())
            }

            /// Creates a limiter of `quota` that reads `clock`.
            #[must_use]
            pub fn with_clock(quota: Quota, clock: Clock) -> Self {
                let algorithm = <$algorithm>::new(&quota);
                Self(Arc::new(RateLimiter::new(algorithm, quota, clock, $limit)))
            }

            /// Shares the limit with all processes that use the same `name` in the same Redis or
            /// Valkey; see [`Redis`](crate::Redis).
            ///
            /// The limit starts anew, with the quota of this limiter. All processes should set the
            /// same quota.
            ///
            /// ```no_run
            #[doc = concat!("use tower_throttle::{Quota, Redis, ", stringify!($Limiter), "};")]
            ///
            /// # #[tokio::main]
            /// # async fn main() -> Result<(), tower_throttle::BoxError> {
            /// let redis = Redis::new("redis://127.0.0.1")?;
            /// let quota = Quota::per_minute(500);
            #[doc = concat!(
                "let limiter = ", stringify!($Limiter), "::new(quota).shared(&redis, \"openai\");"
            )]
            /// limiter.acquire(1).await?;
            /// # Ok(())
            /// # }
            /// ```
            #[cfg(feature = "redis")]
            #[must_use]
            pub fn shared(self, redis: &Redis, name: &str) -> Self {
                self.in_store(redis.handle(), name)
            }

            #[cfg(feature = "redis")]
            pub(crate) fn in_store(&self, store: Arc<Handle>, name: &str) -> Self {
                // Nothing fits into it, so that requests ask the store.
                let nothing = <$algorithm>::new(&Quota::new(0, Duration::MAX));
                let limiter = RateLimiter::new(nothing, self.quota(), Clock::tokio(), $limit);
                Self(Arc::new(limiter.in_store(store, name, LimitSpec::$spec)))
            }

            /// Returns the quota.
            pub fn quota(&self) -> Quota {
                self.0.quota()
            }

            /// Sets the quota for all clones at once.
            ///
            /// Units that are in use stay so, and waiting requests continue by the new quota. The
            /// first of them is rejected if it costs more than the new capacity, and others once
            /// they are first.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use tower_throttle::{Quota, ", stringify!($Limiter), "};")]
            ///
            #[doc = concat!("let limiter = ", stringify!($Limiter), "::new(Quota::per_hour(10));")]
            /// limiter.try_acquire(8)?;
            ///
            /// limiter.set_quota(Quota::per_hour(12));
            /// assert!(limiter.try_acquire(5).is_err());
            /// assert!(limiter.try_acquire(4).is_ok());
            /// # Ok::<(), tower_throttle::Rejected>(())
            /// ```
            pub fn set_quota(&self, quota: Quota) {
                self.0.set_quota(quota);
            }

            /// Returns the number of waiting requests.
            #[must_use]
            pub fn waiting(&self) -> usize {
                self.0.wait_queue.waiting()
            }

            /// Returns how much of the limit is used.
            ///
            /// If the limit is shared, by all processes as of the last reply of the store.
            #[must_use]
            pub fn usage(&self) -> crate::limit::usage::LimiterUsage {
                self.0.usage()
            }

            /// Closes the limiter for all clones: queued and new requests are rejected with
            /// [`Reason::Closed`](crate::Reason::Closed). Requests that have started continue.
            ///
            /// # Examples
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() {
            #[doc = concat!("use tower_throttle::{Quota, Reason, ", stringify!($Limiter), "};")]
            ///
            #[doc = concat!(
                "let limiter = ", stringify!($Limiter), "::new(Quota::per_second(10));"
            )]
            /// limiter.close();
            ///
            /// let rejected = limiter.acquire(1).await.unwrap_err();
            /// assert_eq!(rejected.reason(), Reason::Closed);
            /// # }
            /// ```
            pub fn close(&self) {
                self.0.close();
            }

            /// Returns whether the limiter was [closed](Self::close).
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.0.wait_queue.is_closed()
            }

            /// Takes `cost` units if they are available now and no request is waiting.
            ///
            /// # Errors
            ///
            /// Returns [`Rejected`](crate::Rejected) if the request would have to wait, with the
            /// time in [`retry_after`](crate::Rejected::retry_after), if `cost` never fits, or if
            /// the limiter is closed.
            #[inline]
            pub fn try_acquire(&self, cost: u64) -> Result<Permit<'_>, Rejected> {
                self.0.take_permit(cost, Duration::ZERO)
            }

            /// Waits in line for `cost` units, as long as it takes, and takes them.
            ///
            /// # Errors
            ///
            /// Returns [`Rejected`](crate::Rejected) if `cost` never fits, or if the limiter is
            /// closed.
            ///
            /// # Panics
            ///
            /// Panics if it has to wait outside a tokio runtime with time enabled.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future leaves the queue and takes nothing. If the future is kept
            /// without being polled, the requests behind it wait, each for its own longest wait at
            /// most.
            pub async fn acquire(&self, cost: u64) -> Result<Permit<'_>, Rejected> {
                self.acquire_within(cost, Duration::MAX).await
            }

            /// Waits in line for `cost` units for up to `max_wait`, and takes them. Otherwise like
            /// [`acquire`](Self::acquire).
            ///
            /// # Errors
            ///
            /// Returns [`Rejected`](crate::Rejected) if `cost` never fits, if the limiter is
            /// closed, or, at once, if it would wait longer than `max_wait`.
            ///
            /// # Panics
            ///
            /// Like [`acquire`](Self::acquire).
            pub async fn acquire_within(
                &self,
                cost: u64,
                max_wait: Duration,
            ) -> Result<Permit<'_>, Rejected> {
                self.0.acquire_permit(cost, Priority::High, max_wait).await
            }

            /// Waits for `cost` units ahead of requests with a lower priority, as long as it takes,
            /// and takes them. Otherwise like [`acquire`](Self::acquire), whose requests have the
            /// [highest](crate::Priority::High).
            ///
            /// # Errors
            ///
            /// Like [`acquire`](Self::acquire).
            ///
            /// # Panics
            ///
            /// Like [`acquire`](Self::acquire).
            ///
            /// # Cancel safety
            ///
            /// Like [`acquire`](Self::acquire).
            pub async fn acquire_as(
                &self,
                priority: Priority,
                cost: u64,
            ) -> Result<Permit<'_>, Rejected> {
                self.0.acquire_permit(cost, priority, Duration::MAX).await
            }
        }

        /// Records `tower_throttle_limit`, `tower_throttle_used` and `tower_throttle_waiting`.
        #[cfg(feature = "metrics")]
        impl crate::telemetry::metrics::Publish for $Limiter {
            fn publish(&self, name: &'static str) {
                self.usage().publish($limit.as_str(), name);
            }
        }

        crate::macros::debug!(impl Debug for $Limiter |self| {
            quota: self.quota(),
            waiting: self.waiting(),
            ..
        });

        impl $Layer {
            /// Creates a layer with a limiter of its own, of `quota`.
            pub fn new(quota: Quota) -> Self {
                $Limiter::new(quota).into()
            }

            /// Creates a layer with a limiter of its own that reads `clock`.
            pub fn with_clock(quota: Quota, clock: Clock) -> Self {
                $Limiter::with_clock(quota, clock).into()
            }
        }

        impl<C, F, P> $Layer<C, F, P> {
            /// Sets what a request costs: a closure,
            /// [`cost::FromExtension`](crate::cost::FromExtension), or any other
            /// [`Cost`](crate::Cost). The default is one unit.
            pub fn cost<C2>(self, cost: C2) -> $Layer<C2, F, P> {
                let Self { limiter, limits, refusal, priority, .. } = self;
                $Layer { limiter, limits, cost, refusal, priority }
            }

            /// Sets the priority of a request that waits: a closure, or any other
            /// [`Prioritize`](crate::Prioritize). Requests with a higher priority start first; see
            /// [`Priority`](crate::Priority). By default all have the same.
            ///
            /// ```
            /// use http::Request;
            #[doc = concat!("use tower_throttle::{Priority, Quota, ", stringify!($Layer), "};")]
            ///
            #[doc = concat!("let layer = ", stringify!($Layer), "::new(Quota::per_minute(500))")]
            ///     .priority(|request: &Request<String>| match request.headers().get("x-batch") {
            ///         Some(_) => Priority::Low,
            ///         None => Priority::High,
            ///     });
            /// # let _ = layer;
            /// ```
            pub fn priority<P2>(self, priority: P2) -> $Layer<C, F, P2> {
                let Self { limiter, limits, cost, refusal, .. } = self;
                $Layer { limiter, limits, cost, refusal, priority }
            }

            crate::limit::engine::wait_limits! {
                /// The longest that a request waits, give or take the 10 ms that a timer may be
                /// late. One that would wait longer is rejected at once. The default is no limit,
                /// or no wait after [`respond`](Self::respond).
                max_wait;
                /// How many requests of a priority may wait for the limiter if one more of it is to
                /// wait here. The default is no limit.
                max_waiting;
                /// Sets the name of this limit: [`Rejected::name`](crate::Rejected::name) returns
                /// it, as a label for metrics and logs. By default it has none.
                name;
            }

            /// Shares the limit with all processes that use the same `name` in the same Redis or
            /// Valkey; see [`Redis`](crate::Redis). The type stays the same.
            ///
            /// The limit starts anew, with the quota of this layer. All processes should set the
            /// same quota.
            ///
            /// ```
            #[doc = concat!("use tower_throttle::{Quota, Redis, ", stringify!($Layer), "};")]
            ///
            /// # fn layer(redis: Option<Redis>) -> impl Sized {
            #[doc = concat!("let layer = ", stringify!($Layer), "::new(Quota::per_minute(500));")]
            /// match &redis {
            ///     Some(redis) => layer.shared(redis, "openai"),
            ///     None => layer,
            /// }
            /// # }
            /// ```
            #[cfg(feature = "redis")]
            pub fn shared(mut self, redis: &Redis, name: &str) -> Self {
                self.limiter = self.limiter.shared(redis, name);
                self
            }

            /// Returns the limiter, which all services of this layer share.
            #[must_use]
            pub fn limiter(&self) -> &$Limiter {
                &self.limiter
            }
        }

        crate::limit::engine::rejections! {
            $Layer<C, [F], P> { limiter, limits, cost, priority };

            /// Calls `hook` for each request that is rejected.
            ///
            /// The hook sees the rejection, the limit's [`name`](Self::name) and the head of the
            /// request. It runs in the task of the request, under no lock. Requests have to
            /// implement [`RequestHead`](crate::RequestHead).
            ///
            /// Set it last: a layer with a hook has no `respond` methods. A second hook is called
            /// after the first.
            ///
            /// ```
            #[doc = concat!("use tower_throttle::{Quota, ", stringify!($Layer), "};")]
            ///
            #[doc = concat!("let layer = ", stringify!($Layer), "::new(Quota::per_second(50))")]
            ///     .name("chat")
            ///     .respond()
            ///     .on_rejected(|rejected| {
            ///         let path = rejected.request.path();
            ///         println!("{path}: {}", rejected.rejected);
            ///     });
            /// # let _ = layer;
            /// ```
            on_rejected;

            /// Responds with an HTTP 429 instead of an error, and does not wait unless
            /// [`max_wait`](Self::max_wait) is set; see
            /// [`AsResponse`](crate::rejection::AsResponse).
            respond;

            /// Rejects with the response that `respond` returns for the
            /// [`Rejected`](crate::Rejected), in any protocol.
            ///
            /// ```
            /// use http::Response;
            #[doc = concat!("use tower_throttle::{Quota, ", stringify!($Layer), "};")]
            ///
            #[doc = concat!("let layer = ", stringify!($Layer), "::new(Quota::per_second(50))")]
            ///     .respond_with(|rejected| Response::new(format!("sorry: {rejected}")));
            /// # let _ = layer;
            /// ```
            respond_with;

            /// Rejects with the response that `respond` returns for the head of the request and the
            /// [`Rejected`](crate::Rejected).
            ///
            /// ```
            /// use http::Response;
            #[doc = concat!("use tower_throttle::{Quota, ", stringify!($Layer), "};")]
            ///
            #[doc = concat!("let layer = ", stringify!($Layer), "::new(Quota::per_second(50))")]
            ///     .respond_with_head(|head, rejected| {
            ///         Response::new(format!("{}: {rejected}", head.path()))
            ///     });
            /// # let _ = layer;
            /// ```
            respond_with_head;

            /// Rejects in the form of `refusal`, such as [`Text`](crate::rejection::Text); see
            /// [`rejection`](crate::rejection).
            respond_as;
        }

        impl From<$Limiter> for $Layer {
            fn from(limiter: $Limiter) -> Self {
                Self {
                    limiter,
                    limits: WaitLimits::NONE,
                    cost: One,
                    refusal: AsError,
                    priority: UniformPriority,
                }
            }
        }

        crate::macros::debug!(impl<C, F, P> Debug for $Layer<C, F, P> |self| { limiter, .. });

        impl<S, C: Clone, F: Clone, P: Clone> Layer<S> for $Layer<C, F, P> {
            type Service = $Service<S, C, F, P>;

            fn layer(&self, inner: S) -> Self::Service {
                $Service(Limited {
                    inner,
                    gate: self.limiter.0.clone(),
                    limits: self.limits,
                    cost: Prioritized {
                        ask: self.cost.clone(),
                        priority: self.priority.clone(),
                    },
                    refusal: self.refusal.clone(),
                    hold: UntilResponse,
                    telemetry: crate::telemetry::LimitTelemetry::new(
                        $limit.as_str(),
                        self.limits.name,
                    ),
                })
            }
        }

        impl<S, C, F, P> $Service<S, C, F, P> {
            crate::macros::inner!(0.inner);

            /// Returns the limiter, which this service shares with its clones.
            #[must_use]
            pub fn limiter(&self) -> $Limiter {
                $Limiter(self.0.gate.clone())
            }
        }

        crate::macros::debug! {
            impl<S: std::fmt::Debug, C, F, P> Debug for $Service<S, C, F, P> |self| {
                inner: self.0.inner,
                limiter: self.limiter(),
                ..
            }
        }

        impl<S, C, F, P, Request> Service<Request> for $Service<S, C, F, P>
        where
            S: Service<Request> + Clone,
            C: Cost<Request>,
            P: Prioritize<Request>,
            F: Rejection<Request, S::Response, S::Error> + Clone,
        {
            type Response = S::Response;
            type Error = F::Error;
            type Future = future::ResponseFuture<S, Request, F>;

            crate::limit::engine::forward!();
        }

        /// The response future.
        pub mod future {
            use super::{Arc, AsError, RateLimiter, UntilResponse};
            use crate::limit::engine;

            /// The response future of the service. See
            /// [`ResponseFuture`](crate::future::ResponseFuture).
            pub type ResponseFuture<S, Request, F = AsError> =
                engine::ResponseFuture<S, Request, Arc<RateLimiter<$algorithm>>, F, UntilResponse>;
        }
    };
}

/// The setters of a layer's [`WaitLimits`](crate::limit::engine::WaitLimits), in its field
/// `limits`. The name is left out if the limiter has it.
macro_rules! wait_limits {
    (
        $(#[$max_wait:meta])* max_wait;
        $(#[$max_waiting:meta])* max_waiting;
        $($(#[$name:meta])+ name;)?
    ) => {
        $(#[$max_wait])*
        pub fn max_wait(mut self, max_wait: std::time::Duration) -> Self {
            self.limits.max_wait = Some(max_wait);
            self
        }

        $(#[$max_waiting])*
        pub fn max_waiting(mut self, max_waiting: usize) -> Self {
            self.limits.max_waiting = max_waiting;
            self
        }

        $($(#[$name])+
        pub fn name(mut self, name: &'static str) -> Self {
            self.limits.name = Some(name);
            self
        })?
    };
}

/// The setters of how a layer rejects: of its field `refusal`, whose type is the parameter `[F]`.
macro_rules! rejections {
    (
        $Layer:ident<$($Before:ident,)* [F] $(, $After:ident $(: $Bound:ident)?)*>
        { $($field:ident),+ };
        $(#[$on_rejected:meta])* on_rejected;
        $(#[$respond:meta])* respond;
        $(#[$respond_with:meta])* respond_with;
        $(#[$respond_with_head:meta])* respond_with_head;
        $(#[$respond_as:meta])* respond_as;
    ) => {
        impl<$($Before,)* F $(, $After $(: $Bound)?)*> $Layer<$($Before,)* F $(, $After)*> {
            $(#[$on_rejected])*
            pub fn on_rejected(
                self,
                hook: impl Fn(&crate::limit::rejection::RejectedRequest<'_>)
                + Send
                + Sync
                + 'static,
            ) -> $Layer<$($Before,)* crate::limit::rejection::OnRejected<F> $(, $After)*> {
                let Self { $($field,)+ refusal } = self;
                let refusal = crate::limit::rejection::OnRejected::new(refusal, hook);
                $Layer { $($field,)+ refusal }
            }
        }

        impl<$($Before,)* $($After $(: $Bound)?),*>
            $Layer<$($Before,)* crate::limit::rejection::AsError $(, $After)*>
        {
            $(#[$respond])*
            pub fn respond(
                self,
            ) -> $Layer<$($Before,)* crate::limit::rejection::AsResponse $(, $After)*> {
                self.respond_as(crate::limit::rejection::AsResponse)
            }

            $(#[$respond_with])*
            pub fn respond_with<R, Response>(
                self,
                respond: R,
            ) -> $Layer<$($Before,)* crate::limit::rejection::AsResponseWith<R> $(, $After)*>
            where
                R: Fn(&crate::error::Rejected) -> Response,
            {
                self.respond_as(crate::limit::rejection::AsResponseWith(respond))
            }

            $(#[$respond_with_head])*
            pub fn respond_with_head<R, Response>(
                self,
                respond: R,
            ) -> $Layer<$($Before,)* crate::limit::rejection::AsResponseWithHead<R> $(, $After)*>
            where
                R: Fn(&dyn crate::http::RequestHead, &crate::error::Rejected) -> Response,
            {
                self.respond_as(crate::limit::rejection::AsResponseWithHead(respond))
            }

            $(#[$respond_as])*
            pub fn respond_as<R>(self, refusal: R) -> $Layer<$($Before,)* R $(, $After)*> {
                let Self { $($field,)+ .. } = self;
                $Layer { $($field,)+ refusal }
            }
        }
    };
}

/// What a service does that is a [`Limited`](crate::limit::Limited) in its only field.
macro_rules! forward {
    () => {
        #[inline]
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            tower_service::Service::<Request>::poll_ready(&mut self.0, cx)
        }

        #[inline(always)]
        fn call(&mut self, request: Request) -> Self::Future {
            self.0.call(request)
        }
    };
}

pub(crate) use {forward, rate_limit, rejections, wait_limits};
