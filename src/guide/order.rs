//! Which order? What goes wrong in each wrong one, in lines that run.
//!
//! The layer that is added first sees a request first. From the outside in:
//!
//! ```text
//!   ReplayLayer            bodies that stream can be sent again        whoever repeats must find them so
//!   CacheLayer             what was asked before is not asked again    a hit meets nothing of what follows
//!   FallbackLayer          somebody else, where all of this fails
//!   CircuitBreakerLayer    with check_only: no queue while it is open
//!   IdempotencyKeyLayer    one key for all attempts                    outside of whoever repeats the same
//!   RetryAfterBackoffLayer each attempt meets all of what follows
//!   ConcurrencyLayer       what is in flight                           ┐ or a ProviderLayer, which is both at one
//!   SlidingWindowLayer     what starts: TokenBucketLayer, too          ┘ instant
//!   CircuitBreakerLayer    who is down is not asked                    sees each attempt, and no time in line
//!   StreamErrorLayer          errors that come late become what they are  before a limit or a retry looks at them
//!   TimeoutLayer           bounds one attempt, not the time in line
//!   the client
//! ```
//!
//! A [`StackLayer`](crate::stack::StackLayer) is this order, ready made. Each rule below has the wrong order and what it
//! did, and the right one.
//!
//! # The retry goes outside of the limits
//!
//! Inside of them, five attempts of each request are five times the limit:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, RetryAfterBackoffLayer, SlidingWindowLayer};
//!
//! # let sent = Arc::new(AtomicUsize::new(0));
//! # let count = sent.clone();
//! # let broken = service_fn(move |_: Request<()>| { count.fetch_add(1, Relaxed); async {
//! #     Ok::<_, Infallible>(Response::builder().status(500).body(()).unwrap())
//! # }});
//! let retry = RetryAfterBackoffLayer::new().no_budget();
//! let limit = SlidingWindowLayer::new(Quota::per_minute(10));
//!
//! let wrong = ServiceBuilder::new().layer(limit.clone()).layer(retry.clone()).service(broken.clone());
//! futures::future::try_join_all((0..10).map(|_| wrong.clone().oneshot(Request::new(())))).await?;
//! assert_eq!(sent.swap(0, Relaxed), 50, "in one minute, of which the limit let 10 through");
//!
//! # tokio::time::sleep(std::time::Duration::from_secs(60)).await;
//! # let begun = tokio::time::Instant::now();
//! let right = ServiceBuilder::new().layer(retry).layer(limit).service(broken);
//! futures::future::try_join_all((0..10).map(|_| right.clone().oneshot(Request::new(())))).await?;
//! assert_eq!(sent.load(Relaxed), 50);
//! assert!(begun.elapsed().as_secs() >= 4 * 60, "10 a minute");
//! # Ok(())
//! # }
//! ```
//!
//! # The fallback goes outside of the retry
//!
//! Inside of it, it answers at the first failure, where half a second of patience would have done; and where it fails, too, the
//! retry asks both again, five times:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{FallbackLayer, RetryAfterBackoffLayer, fallback::AnsweredBy};
//!
//! # let times = Arc::new(AtomicUsize::new(0));
//! # let seen = times.clone();
//! # let fails_once = service_fn(move |_: Request<()>| {
//! #     let status = if seen.fetch_add(1, Relaxed) == 0 { 503 } else { 200 };
//! #     async move { Ok::<_, Infallible>(Response::builder().status(status).body("the good model").unwrap()) }
//! # });
//! let retry = RetryAfterBackoffLayer::new();
//! let fallback = FallbackLayer::value(Response::new("sorry"));
//!
//! let wrong = ServiceBuilder::new().layer(retry.clone()).layer(fallback.clone()).service(fails_once.clone());
//! assert_eq!(wrong.oneshot(Request::new(())).await?.body(), &"sorry");
//!
//! # times.store(0, Relaxed);
//! let right = ServiceBuilder::new().layer(fallback).layer(retry).service(fails_once);
//! let response = right.oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), &"the good model");
//! assert!(AnsweredBy::of(&response).is_primary());
//! # Ok(())
//! # }
//! ```
//!
//! # The limit in flight goes outside of the rate
//!
//! Inside of it, a request is counted when it is let through, and starts when a slot is free: in another period than the one
//! that it was counted in. The next period's requests come on top:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, Mutex}, time::Duration};
//! # use http::{Request, Response};
//! # use tokio::time::{Instant, sleep};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, ConcurrencyLimiter, Quota, SlidingWindowLayer};
//!
//! # let starts = Arc::new(Mutex::new(Vec::new()));
//! # let log = starts.clone();
//! # let server = service_fn(move |_: Request<()>| {
//! #     log.lock().unwrap().push(Instant::now());
//! #     async { sleep(Duration::from_millis(1)).await; Ok::<_, Infallible>(Response::new(String::new())) }
//! # });
//! # // The most starts within any second.
//! # let most = || { let starts = std::mem::take(&mut *starts.lock().unwrap());
//! #     starts.iter().map(|from| starts.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(1)).count()).max() };
//! let rate = || SlidingWindowLayer::new(Quota::per_second(10));
//! let slots = ConcurrencyLimiter::new(10);
//! let in_flight = || ConcurrencyLayer::from(slots.clone()).until_response();
//! // All slots are taken for the first 0.95 seconds.
//! # let busy = || { let slots = slots.clone(); async move {
//! #     let held = futures::future::try_join_all((0..10).map(|_| slots.acquire())).await.unwrap();
//! #     tokio::spawn(async move { sleep(Duration::from_millis(950)).await; drop(held) });
//! # } };
//! # busy().await;
//!
//! let wrong = ServiceBuilder::new().layer(rate()).layer(in_flight()).service(server.clone());
//! futures::future::try_join_all((0..20).map(|_| wrong.clone().oneshot(Request::new(())))).await?;
//! assert_eq!(most(), Some(20), "within one second");
//!
//! # busy().await;
//! let right = ServiceBuilder::new().layer(in_flight()).layer(rate()).service(server);
//! futures::future::try_join_all((0..20).map(|_| right.clone().oneshot(Request::new(())))).await?;
//! assert_eq!(most(), Some(10));
//! # Ok(())
//! # }
//! ```
//!
//! # The retry goes outside of the limit in flight
//!
//! Inside of it, a slot is taken by a request that does nothing but wait:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use http::{Request, Response};
//! # use tokio::time::Instant;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, RetryAfterBackoffLayer};
//!
//! # let times = Arc::new(AtomicUsize::new(0));
//! # let seen = times.clone();
//! // Asks the first request to come back after 20 seconds.
//! # let server = service_fn(move |_: Request<()>| {
//! #     let first = seen.fetch_add(1, Relaxed) == 0;
//! #     let response = Response::builder().status(if first { 429 } else { 200 }).header("retry-after", 20);
//! #     async move { Ok::<_, Infallible>(response.body(String::new()).unwrap()) }
//! # });
//! let retry = RetryAfterBackoffLayer::new();
//! let one = || ConcurrencyLayer::new(1);
//!
//! # let begun = Instant::now();
//! let wrong = ServiceBuilder::new().layer(one()).layer(retry.clone()).service(server.clone());
//! # let first = tokio::spawn(wrong.clone().oneshot(Request::new(())));
//! # tokio::task::yield_now().await;
//! drop(wrong.oneshot(Request::new(())).await?);
//! assert!(begun.elapsed().as_secs() >= 20, "the second waited for the first");
//! # drop(first.await);
//!
//! # times.store(0, Relaxed);
//! # let begun = Instant::now();
//! let right = ServiceBuilder::new().layer(retry).layer(one()).service(server);
//! # let first = tokio::spawn(right.clone().oneshot(Request::new(())));
//! # tokio::task::yield_now().await;
//! right.oneshot(Request::new(())).await?;
//! assert_eq!(begun.elapsed().as_secs(), 0);
//! # drop(first);
//! # Ok(())
//! # }
//! ```
//!
//! # The key goes outside of the retry
//!
//! Inside of it, each attempt is another request to the server, which acts on each:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{collections::HashSet, convert::Infallible, sync::{Arc, Mutex}};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{IdempotencyKeyLayer, RetryAfterBackoffLayer};
//!
//! // Acts once for each key, and loses its first answer.
//! # let acted = Arc::new(Mutex::new((HashSet::new(), 0)));
//! # let book = acted.clone();
//! # let server = service_fn(move |request: Request<()>| {
//! #     let mut book = book.lock().unwrap();
//! #     book.0.insert(request.headers().get("idempotency-key").cloned());
//! #     book.1 += 1;
//! #     let status = if book.1 == 1 { 500 } else { 200 };
//! #     async move { Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap()) }
//! # });
//! # let times_acted = || std::mem::take(&mut *acted.lock().unwrap()).0.len();
//! let retry = RetryAfterBackoffLayer::new().retry_non_idempotent();
//! let key = IdempotencyKeyLayer::new();
//!
//! let wrong = ServiceBuilder::new().layer(retry.clone()).layer(key.clone()).service(server.clone());
//! wrong.oneshot(Request::post("/").body(())?).await?;
//! assert_eq!(times_acted(), 2);
//!
//! let right = ServiceBuilder::new().layer(key).layer(retry).service(server);
//! right.oneshot(Request::post("/").body(())?).await?;
//! assert_eq!(times_acted(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # The recording of bodies goes outside of whoever repeats
//!
//! Inside of it, the retry sees a body that can't be sent twice, and sends it once:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body::Body;
//! # use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
//! # use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use tower_throttle::BoxError;
//! use tower_throttle::{ReplayLayer, RetryAfterBackoffLayer};
//!
//! # #[derive(Clone)]
//! # struct Server(Arc<AtomicUsize>);
//! # impl<B: Body<Error: Into<BoxError>> + Send + 'static> Service<Request<B>> for Server where B::Data: Send {
//! #     type Response = Response<usize>;
//! #     type Error = BoxError;
//! #     type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<usize>, BoxError>> + Send>>;
//! #     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> { Ok(()).into() }
//! #     fn call(&mut self, request: Request<B>) -> Self::Future {
//! #         let status = if self.0.fetch_add(1, Relaxed) == 0 { 503 } else { 200 };
//! #         Box::pin(async move {
//! #             let read = request.into_body().collect().await.map_err(Into::into)?.to_bytes().len();
//! #             Ok(Response::builder().status(status).body(read)?)
//! #         })
//! #     }
//! # }
//! # let times = Arc::new(AtomicUsize::new(0));
//! # let server = Server(times.clone());
//! # let upload = || Request::put("/").body(UnsyncBoxBody::<Bytes, BoxError>::new(Full::from("a file").map_err(|never| match never {})));
//! let retry = RetryAfterBackoffLayer::new();
//!
//! let wrong = ServiceBuilder::new().layer(retry.clone()).layer(ReplayLayer::new()).service(server.clone());
//! assert_eq!(wrong.oneshot(upload()?).await?.status(), 503, "and no second attempt");
//!
//! # times.store(0, Relaxed);
//! let right = ServiceBuilder::new().layer(ReplayLayer::new()).layer(retry).service(server);
//! let response = right.oneshot(upload()?).await?;
//! assert_eq!(response.status(), 200);
//! assert_eq!(*response.body(), "a file".len());
//! # Ok(())
//! # }
//! ```
//!
//! # The timeout of an attempt goes inside of the limits
//!
//! Outside of them, the time in line counts, and requests fail that nobody has been slow to answer:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, time::Duration};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, SlidingWindowLayer, TimedOut, TimeoutLayer};
//!
//! # let server = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
//! let limit = || SlidingWindowLayer::new(Quota::per_minute(1));
//! let timeout = TimeoutLayer::new(); // 30 s for an attempt
//!
//! let wrong = ServiceBuilder::new().layer(timeout.clone()).layer(limit()).service(server.clone());
//! wrong.clone().oneshot(Request::new(())).await?;
//! let second = wrong.oneshot(Request::new(())).await.unwrap_err();
//! assert_eq!(TimedOut::of(&second), Some(TimedOut::Attempt(Duration::from_secs(30))));
//!
//! let right = ServiceBuilder::new().layer(limit()).layer(timeout).service(server);
//! right.clone().oneshot(Request::new(())).await?;
//! right.oneshot(Request::new(())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The timeout of an attempt goes inside of the retry, that of the whole call outside
//!
//! An attempt that is timed outside of the retry has no second one:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}, time::Duration};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{RetryAfterBackoffLayer, TimeoutLayer};
//!
//! // Never answers the first request.
//! # let times = Arc::new(AtomicUsize::new(0));
//! # let seen = times.clone();
//! # let server = service_fn(move |_: Request<()>| {
//! #     let is_first = seen.fetch_add(1, Relaxed) == 0;
//! #     async move {
//! #         if is_first { std::future::pending::<()>().await }
//! #         Ok::<_, Infallible>(Response::new(String::new()))
//! #     }
//! # });
//! let retry = RetryAfterBackoffLayer::new();
//!
//! let wrong = ServiceBuilder::new().layer(TimeoutLayer::new()).layer(retry.clone()).service(server.clone());
//! assert!(wrong.oneshot(Request::new(())).await.is_err());
//!
//! # times.store(0, Relaxed);
//! let right = ServiceBuilder::new()
//!     .layer(TimeoutLayer::whole(Duration::from_secs(120)))
//!     .layer(retry)
//!     .layer(TimeoutLayer::new())
//!     .service(server);
//! right.oneshot(Request::new(())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The circuit breaker goes inside of the retry
//!
//! Outside of it, what it counts are calls that have failed after all of their attempts, and the dead provider gets five for
//! each of them. (A second layer with the same circuit and [`check_only`](crate::CircuitBreakerLayer::check_only) goes
//! outside; it counts nothing. See its [layer ordering](crate::circuit_breaker#layer-ordering).)
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{CircuitBreakerLayer, RetryAfterBackoffLayer};
//!
//! # let sent = Arc::new(AtomicUsize::new(0));
//! # let count = sent.clone();
//! # let dead = service_fn(move |_: Request<()>| { count.fetch_add(1, Relaxed); async {
//! #     Ok::<_, Infallible>(Response::builder().status(500).body(()).unwrap())
//! # }});
//! let retry = RetryAfterBackoffLayer::new();
//!
//! let wrong = ServiceBuilder::new().layer(CircuitBreakerLayer::new()).layer(retry.clone()).service(dead.clone());
//! futures::future::join_all((0..20).map(|_| wrong.clone().oneshot(Request::new(())))).await;
//! let wrong = sent.swap(0, Relaxed);
//!
//! let right = ServiceBuilder::new().layer(retry).layer(CircuitBreakerLayer::new()).service(dead);
//! futures::future::join_all((0..20).map(|_| right.clone().oneshot(Request::new(())))).await;
//! assert!(sent.load(Relaxed) < wrong);
//! # Ok(())
//! # }
//! ```
//!
//! # The diagnosis goes inside of whoever acts on it
//!
//! Outside of the retry, it finds the error after the retry has found a 200:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{StreamErrorLayer, RetryAfterBackoffLayer};
//!
//! // Opens a stream, and then says that it is overloaded; the second time it answers.
//! # let times = Arc::new(AtomicUsize::new(0));
//! # let seen = times.clone();
//! # let server = service_fn(move |_: Request<()>| {
//! #     let event = match seen.fetch_add(1, Relaxed) {
//! #         0 => "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
//! #         _ => "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: [DONE]\n\n",
//! #     };
//! #     let response = Response::builder().header("content-type", "text/event-stream");
//! #     async move { Ok::<_, Infallible>(response.body(Full::new(Bytes::from(event))).unwrap()) }
//! # });
//! let retry = RetryAfterBackoffLayer::new();
//!
//! let wrong = ServiceBuilder::new().layer(StreamErrorLayer::new()).layer(retry.clone()).service(server.clone());
//! assert_eq!(wrong.oneshot(Request::new(())).await?.status(), 529);
//!
//! # times.store(0, Relaxed);
//! let right = ServiceBuilder::new().layer(retry).layer(StreamErrorLayer::new()).service(server);
//! assert_eq!(right.oneshot(Request::new(())).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # The cache goes outside of the limits
//!
//! Inside of them, a hit takes quota, and waits for it:
//!
#![cfg_attr(feature = "cache", doc = "```")]
#![cfg_attr(not(feature = "cache"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}}};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::{BodyExt, Full};
//! # use tokio::time::Instant;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{CacheLayer, Quota, SlidingWindowLayer};
//!
//! # let server = service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))));
//! # let ask = || Request::post("/v1/chat/completions").body(Full::new(Bytes::from(r#"{"model":"m"}"#)));
//! let limit = || SlidingWindowLayer::new(Quota::per_minute(1));
//!
//! # let begun = Instant::now();
//! let wrong = ServiceBuilder::new().layer(limit()).layer(CacheLayer::completions()).service(server);
//! wrong.clone().oneshot(ask()?).await?.collect().await?;
//! wrong.oneshot(ask()?).await?.collect().await?;
//! assert!(begun.elapsed().as_secs() >= 60, "for an answer that was there");
//!
//! # let begun = Instant::now();
//! let right = ServiceBuilder::new().layer(CacheLayer::completions()).layer(limit()).service(server);
//! right.clone().oneshot(ask()?).await?.collect().await?;
//! right.oneshot(ask()?).await?.collect().await?;
//! assert_eq!(begun.elapsed().as_secs(), 0);
//! # Ok(())
//! # }
//! ```
