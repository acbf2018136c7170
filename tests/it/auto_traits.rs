//! What is `Send`, `Sync`, `Unpin`, `Clone` and `Debug`, checked by compiling. A change here is a change of the API.

use std::{
    fmt::Debug,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::Service;
use tower_throttle::{
    BoxError, Clock, Concurrency, ConcurrencyLayer, ConcurrencyLimiter, Dimension, Fallback,
    FallbackLayer, Hint, HttpClient, HttpClientLayer, HttpRequestLayer, HttpRequestService,
    InvalidUrl, LayerMiddleware, Quota, RateLimits, Rejected, Reported, RetryAfterBackoff,
    RetryAfterBackoffLayer, Router, RouterLayer, SlidingWindow, SlidingWindowLayer,
    SlidingWindowLimiter, TimedOut, Timeout, TimeoutLayer, TokenBucket, TokenBucketLayer,
    TokenBucketLimiter, TokenUsage, Tokens,
    body::GuardedBody,
    cache::{self, Cache, CacheLayer, SharedBodyError},
    concurrency, cost,
    fallback::{self, ServedBy, backup::BackupService, future::BackupFuture},
    future::HttpClientFuture,
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    key::{ApiKey, ClientIp, ClientKey, Extension, Global, Header, Networks, PeerIp, Route},
    per_key::{
        self, Bucket, ByKey, ClientUsage, HeadRules, InFlight, PerKey, PerKeyLayer, PerKeyLimiter,
        Permit, RateLimitHeaders, Settled, Window,
        body::{ByBytes, Metered},
    },
    provider::{
        self, Accounting, ByLength, Counting, LimitUsage, Provider, ProviderLayer, ProviderLimiter,
        ProviderService, QuotaExhausted, Reservation, Shape, ThrottleReason, UnknownProvider,
        Usage,
    },
    rejection::{AsError, AsResponse, Grpc, OnRejected, Text},
    replay::{Replay, ReplayError, ReplayLayer, body::ReplayBody},
    retry::{self, Attempts, Backoff, Budget, BudgetRegistry, OutcomePolicy, RetryAction},
    router::{self, NoTargetAvailable, SelectedTarget, Target},
    sliding_window,
    stream_errors::{self, StreamErrorLayer, StreamErrorService},
    timeout, token_bucket,
};

type Req = Request<String>;
type Answer = Ready<Result<Response<String>, BoxError>>;

/// An inner service that is everything that a service can be.
#[derive(Debug, Clone)]
struct Inner;

impl Service<Req> for Inner {
    type Response = Response<String>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Answer {
        ready(Ok(Response::new(request.into_body())))
    }
}

const fn value<T: Debug + Clone + Send + Sync + Unpin + 'static>() {}
const fn guard<T: Debug + Send + Sync + Unpin + 'static>() {}
const fn future<T: Debug + Send + Unpin + 'static>() {}
const fn shared_future<T: Debug + Send + Sync + Unpin + 'static>() {}

const _: () = {
    value::<Quota>();
    value::<Rejected>();
    value::<Clock>();
    value::<Hint>();
    value::<Attempts>();
    value::<Backoff>();
    value::<Budget>();
    value::<BudgetRegistry>();
    value::<ReplayError>();
    value::<SharedBodyError>();
    value::<cache::Status>();
    value::<cache::CacheUsage>();
    value::<RetryAction>();
    value::<ServedBy>();
    value::<SelectedTarget>();
    value::<NoTargetAvailable>();
    value::<Target<Req>>();
    value::<TimedOut>();

    value::<Accounting>();
    value::<ByLength>();
    value::<ThrottleReason>();
    value::<Counting>();
    value::<Dimension>();
    value::<LimitUsage>();
    value::<Provider>();
    value::<QuotaExhausted>();
    value::<RateLimits>();
    value::<Reported>();
    value::<Shape>();
    value::<Tokens>();
    value::<TokenUsage>();
    value::<UnknownProvider>();
    value::<Usage>();

    value::<ClientKey>();
    value::<ClientUsage>();
    value::<RateLimitHeaders>();
    value::<(ApiKey, Header)>();
    value::<(PeerIp, ClientIp)>();
    value::<(Global, Route)>();
    value::<Extension<u64>>();
    value::<Networks>();

    value::<(AsError, AsResponse, Text, Grpc)>();
    value::<OnRejected<AsError>>();

    value::<TokenBucketLimiter>();
    value::<PerKeyLimiter>();
    value::<PerKeyLimiter<InFlight>>();
    value::<PerKeyLimiter<(Bucket, Window)>>();
    value::<SlidingWindowLimiter>();
    value::<ConcurrencyLimiter>();
    value::<ProviderLimiter>();
    guard::<concurrency::Permit>();
    guard::<GuardedBody<String, concurrency::body::BodyPermit>>();
    guard::<Permit<InFlight>>();
    guard::<Metered<String, Window>>();
    guard::<Reservation>();
    guard::<InvalidUrl>();
    // Whatever the original is not: it stands behind a lock.
    guard::<ReplayBody<axum::body::Body>>();
    guard::<provider::body::ResponseBody<String>>();
    guard::<timeout::body::ResponseBody<String>>();
    guard::<stream_errors::body::ResponseBody<String>>();
    guard::<cache::body::ResponseBody>();

    value::<TokenBucketLayer>();
    value::<SlidingWindowLayer>();
    value::<ConcurrencyLayer>();
    value::<concurrency::Adaptive>();
    value::<concurrency::Latency>();
    value::<concurrency::Priority>();
    value::<CacheLayer>();
    value::<ProviderLayer>();
    value::<RetryAfterBackoffLayer>();
    value::<FallbackLayer<BackupService<Inner>>>();
    value::<StreamErrorLayer>();
    value::<HttpClientLayer>();
    value::<HttpRequestLayer>();
    value::<IdempotencyKeyLayer>();
    value::<PerKeyLayer<ByKey<ApiKey>>>();
    value::<PerKeyLayer<Settled<ByKey<ApiKey>, ByBytes>, AsError, Window>>();
    value::<ReplayLayer>();
    value::<TimeoutLayer>();
    value::<LayerMiddleware<TokenBucketLayer>>();
    value::<RouterLayer<Req>>();

    value::<TokenBucket<Inner>>();
    value::<SlidingWindow<Inner>>();
    value::<Concurrency<Inner>>();
    value::<Cache<Inner>>();
    value::<ProviderService<Inner>>();
    value::<RetryAfterBackoff<Inner>>();
    value::<Fallback<Inner, BackupService<Inner>>>();
    value::<StreamErrorService<Inner>>();
    value::<HttpClient>();
    value::<HttpRequestService<Inner>>();
    value::<IdempotencyKey<Inner>>();
    value::<Replay<Inner>>();
    value::<Router<Inner, Req>>();
    value::<PerKey<Inner, ByKey<ApiKey>>>();
    value::<PerKey<Inner, ByKey<ApiKey>, AsError, InFlight>>();
    value::<Timeout<Inner>>();

    shared_future::<token_bucket::future::ResponseFuture<Inner, Req>>();
    shared_future::<sliding_window::future::ResponseFuture<Inner, Req>>();
    shared_future::<concurrency::future::ResponseFuture<Inner, Req>>();
    shared_future::<router::future::ResponseFuture<Inner, Req>>();
    shared_future::<cache::future::ResponseFuture<Inner, Req>>();
    shared_future::<provider::future::ResponseFuture<Inner, Req>>();
    value::<PerKeyLayer<ByKey<ApiKey, cost::One, HeadRules<Quota>>, OnRejected<AsResponse>>>();
    shared_future::<per_key::future::ResponseFuture<Inner, Req, ByKey<ApiKey>>>();
    shared_future::<timeout::future::ResponseFuture<Answer>>();
    shared_future::<stream_errors::future::ResponseFuture<Answer, Response<String>>>();
    shared_future::<HttpClientFuture<Answer>>();
    future::<retry::future::ResponseFuture<Inner, OutcomePolicy, Req>>();
    future::<
        fallback::future::ResponseFuture<
            Answer,
            BackupFuture<Inner, Answer, Req>,
            Req,
            FallbackLayer<BackupService<Inner>>,
        >,
    >();
};

#[test]
fn a_refusal_stays_small() {
    // It travels in every result of every limiter. Think before it grows. One word is for where a caller stands.
    assert!(size_of::<Rejected>() <= 56, "{}", size_of::<Rejected>());
}

#[test]
fn the_futures_add_little_to_the_inner_one() {
    // What waits is boxed, the request with it. What may have to be sent again is not, since it is there each time.
    let added = |size: usize| size - size_of::<Answer>();
    let bucket = size_of::<token_bucket::future::ResponseFuture<Inner, Req>>();
    let slot = size_of::<concurrency::future::ResponseFuture<Inner, Req>>();
    let diagnose = size_of::<stream_errors::future::ResponseFuture<Answer, Response<String>>>();
    let retry = size_of::<retry::future::ResponseFuture<Inner, OutcomePolicy, Req>>();
    let timeout = size_of::<timeout::future::ResponseFuture<Answer>>();
    let auto = size_of::<router::future::ResponseFuture<Inner, Req>>();
    let provider = size_of::<provider::future::ResponseFuture<Inner, Req>>();
    assert!(auto <= provider + 64, "{auto} over {provider}");
    let cache = size_of::<cache::future::ResponseFuture<Inner, Req>>();
    assert!(added(cache) <= 16, "{}", added(cache));
    assert!(added(bucket) <= 16, "{}", added(bucket));
    assert!(added(slot) <= 24, "{}", added(slot));
    assert!(added(timeout) <= 96, "{}", added(timeout));
    assert!(added(diagnose) <= 32, "{}", added(diagnose));
    assert!(
        added(retry) <= size_of::<Req>() + 96,
        "{} over a request",
        added(retry) - size_of::<Req>()
    );
}

#[test]
fn the_type_name_of_five_layers_is_short() {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    use std::any::type_name_of_val;
    let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    let layers = tower::ServiceBuilder::new()
        .layer(FallbackLayer::new(client.clone()))
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(10))
        .layer(TokenBucketLayer::new(Quota::per_second(10)))
        .layer(SlidingWindowLayer::new(Quota::per_minute(100)));
    let service = layers.service(client.clone());
    // The client is in it twice. Its own name is hyper's.
    let name = type_name_of_val(&service).replace(type_name_of_val(&client), "Client");
    assert!(name.len() <= 340, "{} {name}", name.len());
}
