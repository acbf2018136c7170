//! What is `Send`, `Sync`, `Unpin`, `Clone` and `Debug`, checked by compiling. A change here is a change of the API.

use std::{
    fmt::Debug,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::Service;
use tower_throttle::{
    Auto, AutoLayer, BoxError, Clock, Concurrency, ConcurrencyLayer, ConcurrencyLimiter, Decision,
    Dimension, Fallback, FallbackLayer, GuardedBody, Hint, HttpClient, HttpClientFuture,
    HttpClientLayer, HttpRequest, HttpRequestLayer, InvalidUrl, LayerMiddleware, Quota, RateLimits,
    Rejected, Reported, RetryAfterBackoff, RetryAfterBackoffLayer, SlidingWindow,
    SlidingWindowLayer, SlidingWindowLimiter, TimedOut, Timeout, TimeoutLayer, TokenBucket,
    TokenBucketLayer, TokenBucketLimiter, TokenUsage, Tokens,
    auto::{self, Chosen, NoTarget, Target},
    cache::{self, Cache, CacheLayer, SharedBodyError},
    concurrency,
    diagnose::{self, Diagnose, DiagnoseLayer},
    fallback::{self, AnsweredBy, backup::BackupFuture, backup::BackupService},
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    key::{
        ApiKey, Caller, ClientIp, Extension, Global, Header, Networks, PeerIp, Route,
        resolve::{self, Resolve, ResolveLayer},
    },
    per_key::{
        self, Admitted, Bucket, ByBytes, ByKey, CallerUsage, Fields, InFlight, Joint, Metered,
        PerKey, PerKeyLayer, PerKeyLimiter, Refused, Settled, Window,
    },
    provider::{
        self, Accounting, ByLength, Class, Counting, LimitUsage, Provider, ProviderLayer,
        ProviderLimiter, ProviderService, QuotaExhausted, Reservation, Shape, UnknownProvider,
        Usage,
    },
    refusal::{Fail, Grpc, Respond, Text},
    replay::{Replay, ReplayBody, ReplayError, ReplayLayer},
    retry::{self, Attempts, Backoff, Budget, Budgets, OutcomePolicy, RetryAction},
    sliding_window, timeout, token_bucket,
};

type Req = Request<String>;
type Answer = Ready<Result<Response<String>, BoxError>>;
type LookUp = fn(&Req) -> Ready<Option<Caller>>;

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
    value::<Decision>();
    value::<Rejected>();
    value::<Clock>();
    value::<Hint>();
    value::<Attempts>();
    value::<Backoff>();
    value::<Budget>();
    value::<Budgets>();
    value::<ReplayError>();
    value::<SharedBodyError>();
    value::<cache::Status>();
    value::<cache::Usage>();
    value::<RetryAction>();
    value::<AnsweredBy>();
    value::<Chosen>();
    value::<NoTarget>();
    value::<Target<Req>>();
    value::<TimedOut>();

    value::<Accounting>();
    value::<ByLength>();
    value::<Class>();
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

    value::<Caller>();
    value::<CallerUsage>();
    value::<Fields>();
    value::<Refused>();
    value::<(ApiKey, Header)>();
    value::<(PeerIp, ClientIp)>();
    value::<(Global, Route)>();
    value::<Extension<u64>>();
    value::<Networks>();

    value::<(Fail, Respond, Text, Grpc)>();

    value::<TokenBucketLimiter>();
    value::<PerKeyLimiter>();
    value::<PerKeyLimiter<InFlight>>();
    value::<PerKeyLimiter<Joint<Bucket, Window>>>();
    value::<SlidingWindowLimiter>();
    value::<ConcurrencyLimiter>();
    value::<ProviderLimiter>();
    guard::<concurrency::Permit>();
    guard::<GuardedBody<String, concurrency::BodyPermit>>();
    guard::<Admitted<InFlight>>();
    guard::<Metered<String, Window>>();
    guard::<Reservation>();
    guard::<InvalidUrl>();
    // Whatever the original is not: it stands behind a lock.
    guard::<ReplayBody<axum::body::Body>>();
    guard::<provider::ResponseBody<String>>();
    guard::<timeout::ResponseBody<String>>();
    guard::<diagnose::ResponseBody<String>>();
    guard::<cache::ResponseBody>();

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
    value::<DiagnoseLayer>();
    value::<HttpClientLayer>();
    value::<HttpRequestLayer>();
    value::<IdempotencyKeyLayer>();
    value::<ResolveLayer<LookUp>>();
    value::<PerKeyLayer<ByKey<ApiKey>>>();
    value::<PerKeyLayer<Settled<ByKey<ApiKey>, ByBytes>, Fail, Window>>();
    value::<ReplayLayer>();
    value::<TimeoutLayer>();
    value::<LayerMiddleware<TokenBucketLayer>>();
    value::<AutoLayer<Req>>();

    value::<TokenBucket<Inner>>();
    value::<SlidingWindow<Inner>>();
    value::<Concurrency<Inner>>();
    value::<Cache<Inner>>();
    value::<ProviderService<Inner>>();
    value::<RetryAfterBackoff<Inner>>();
    value::<Fallback<Inner, BackupService<Inner>>>();
    value::<Diagnose<Inner>>();
    value::<HttpClient>();
    value::<HttpRequest<Inner>>();
    value::<IdempotencyKey<Inner>>();
    value::<Resolve<Inner, LookUp>>();
    value::<Replay<Inner>>();
    value::<Auto<Inner, Req>>();
    value::<PerKey<Inner, ByKey<ApiKey>>>();
    value::<PerKey<Inner, ByKey<ApiKey>, Fail, InFlight>>();
    value::<Timeout<Inner>>();

    shared_future::<token_bucket::future::ResponseFuture<Inner, Req>>();
    shared_future::<sliding_window::future::ResponseFuture<Inner, Req>>();
    shared_future::<concurrency::future::ResponseFuture<Inner, Req>>();
    shared_future::<auto::future::ResponseFuture<Inner, Req>>();
    shared_future::<cache::future::ResponseFuture<Inner, Req>>();
    shared_future::<provider::future::ResponseFuture<Inner, Req>>();
    shared_future::<per_key::future::ResponseFuture<Inner, Req, ByKey<ApiKey>>>();
    shared_future::<resolve::future::ResponseFuture<Inner, Req, Ready<Option<Caller>>>>();
    shared_future::<timeout::future::ResponseFuture<Answer>>();
    shared_future::<diagnose::future::ResponseFuture<Answer, Response<String>>>();
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
    let diagnose = size_of::<diagnose::future::ResponseFuture<Answer, Response<String>>>();
    let retry = size_of::<retry::future::ResponseFuture<Inner, OutcomePolicy, Req>>();
    let timeout = size_of::<timeout::future::ResponseFuture<Answer>>();
    let auto = size_of::<auto::future::ResponseFuture<Inner, Req>>();
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
