//! What is `Send`, `Sync`, `Unpin`, `Clone` and `Debug`, checked by compiling. A change here is a change of the API.

use std::fmt::Debug;

use http::{Request, Response};
use tower::util::BoxCloneService;
use tower_throttle::{
    BoxError, Clock, Concurrency, ConcurrencyLayer, ConcurrencyLimiter, Decision, Guarded, Quota,
    Rejected, SlidingWindow, SlidingWindowLayer, SlidingWindowLimiter, TokenBucket,
    TokenBucketLayer, TokenBucketLimiter, concurrency, sliding_window, token_bucket,
};

type Req = Request<String>;
type Inner = BoxCloneService<Req, Response<String>, BoxError>;

const fn value<T: Debug + Clone + Send + Sync + Unpin + 'static>() {}
const fn service<T: Debug + Clone + Send + Unpin + 'static>() {}
const fn guard<T: Debug + Send + Sync + Unpin + 'static>() {}
const fn future<T: Debug + Send + 'static>() {}

const _: () = {
    value::<Quota>();
    value::<Decision>();
    value::<Rejected>();
    value::<Clock>();
    value::<TokenBucketLimiter>();
    value::<SlidingWindowLimiter>();
    value::<ConcurrencyLimiter>();
    value::<TokenBucketLayer>();
    value::<SlidingWindowLayer>();
    value::<ConcurrencyLayer>();
    guard::<concurrency::Permit>();
    guard::<Guarded<String, concurrency::Permit>>();
    service::<TokenBucket<Inner>>();
    service::<SlidingWindow<Inner>>();
    service::<Concurrency<Inner>>();
    future::<token_bucket::future::ResponseFuture<Inner, Req>>();
    future::<sliding_window::future::ResponseFuture<Inner, Req>>();
    future::<concurrency::future::ResponseFuture<Inner, Req>>();
};

#[test]
fn a_refusal_stays_small() {
    // It travels in every result of every limiter. Think before it grows.
    assert!(size_of::<Rejected>() <= 48, "{}", size_of::<Rejected>());
}

#[test]
fn the_future_adds_little_to_the_inner_one() {
    type Future = std::future::Ready<Result<Response<String>, BoxError>>;
    #[derive(Clone)]
    struct Small;
    impl tower::Service<Req> for Small {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = Future;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Req) -> Future {
            unreachable!()
        }
    }
    // The request, which is larger than this, is boxed with everything else that waits.
    let added = size_of::<token_bucket::future::ResponseFuture<Small, Req>>() - size_of::<Future>();
    assert!(added <= 16, "{added}");
}
