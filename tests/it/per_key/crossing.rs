//! Costs that are settled in another order than they were reserved, and while plans change and callers come and go.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use http::{Request, Response};
use tokio::{sync::watch, time::advance};
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_throttle::{
    Quota, SlidingWindowLayer, TokenBucketLayer,
    cost::{FromExtension, Units},
    key::{self, ClientKey},
    per_key::{ByKey, PerKeyLayer, PerKeyLimiter},
};

use super::{API_KEY, from, hello};
use crate::support::ms;

type Server = BoxCloneSyncService<Request<()>, Response<String>, BoxError>;

/// A request that is under way, and what it will have cost.
struct UnderWay {
    answer: Pin<Box<dyn Future<Output = Result<Response<String>, BoxError>>>>,
    real: watch::Sender<Option<u64>>,
}

impl UnderWay {
    /// Reserves `cost` units of ann's.
    fn of(server: &Server, cost: u64) -> Self {
        let (real, known) = watch::channel(None);
        let mut request = from("ann");
        request.extensions_mut().insert(Units(cost));
        request.extensions_mut().insert(known);
        let mut answer = Box::pin(server.clone().oneshot(request));
        let polled = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "{polled:?}");
        Self { answer, real }
    }

    /// It has cost `real` units.
    async fn ends(self, real: u64) {
        self.real.send(Some(real)).unwrap();
        self.answer.await.unwrap();
    }
}

/// Answers once it is known what the request has cost.
fn slow() -> Server {
    let answer = async |mut request: Request<()>| {
        let known = request.extensions_mut().remove();
        let mut known: watch::Receiver<Option<u64>> = known.unwrap();
        let real = known.wait_for(Option::is_some).await.unwrap().unwrap();
        let mut response = Response::new(String::new());
        response.extensions_mut().insert(Units(real));
        Ok::<_, BoxError>(response)
    };
    BoxCloneSyncService::new(service_fn(answer))
}

fn bucket(quota: Quota) -> (Server, PerKeyLimiter) {
    served(TokenBucketLayer::new(quota).per(API_KEY()))
}

fn served(layer: PerKeyLayer<ByKey<key::ApiKey>>) -> (Server, PerKeyLimiter) {
    let limiter = layer.limiter().clone();
    let layer = layer.cost(FromExtension).settle(FromExtension);
    (BoxCloneSyncService::new(layer.layer(slow())), limiter)
}

fn ann() -> ClientKey {
    ClientKey::secret("ann")
}

#[tokio::test(start_paused = true)]
async fn whatever_cost_nothing_is_back_at_once_in_whatever_order_it_ends() {
    let (server, limiter) = bucket(Quota::per_minute(1).burst(5));
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
        let mut all: Vec<_> = (0..5).map(|_| Some(UnderWay::of(&server, 1))).collect();
        for which in order {
            all[which].take().unwrap().ends(0).await;
        }
        assert_eq!(limiter.used(ann()), 0, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_refilled_before_the_bucket_was_last_full_stays_refilled_however_much_is_given_back() {
    let (server, limiter) = bucket(Quota::per_second(10).burst(100));
    let other = UnderWay::of(&server, 90);
    let late = UnderWay::of(&server, 10);
    other.ends(0).await;
    advance(ms(1_500)).await;
    assert_eq!(limiter.used(ann()), 0);
    // All that there is, in two parts, and more is given back than would refill until now.
    let cheap = UnderWay::of(&server, 20);
    let dear = UnderWay::of(&server, 80);
    cheap.ends(0).await;
    let more = UnderWay::of(&server, 20);
    dear.ends(80).await;
    more.ends(20).await;
    assert_eq!(limiter.used(ann()), 100);
    late.ends(0).await;
    assert_eq!(limiter.used(ann()), 100);
}

#[tokio::test(start_paused = true)]
async fn who_was_let_go_and_came_back_is_given_nothing_of_what_had_refilled() {
    let quota = Quota::per_second(10).burst(1_000);
    let (server, limiter) = served(TokenBucketLayer::new(quota).per(API_KEY()).max_keys(1));
    let other = UnderWay::of(&server, 900);
    let late = UnderWay::of(&server, 100);
    other.ends(0).await;
    advance(Duration::from_secs(15)).await;
    // Bob takes the one place, and then ann does again.
    let bob = ClientKey::from("bob");
    assert!(limiter.try_acquire(bob, 1).is_ok());
    assert_eq!((limiter.keys(), limiter.used(bob)), (1, 1));
    advance(Duration::from_secs(15)).await;
    let one = UnderWay::of(&server, 1);
    assert_eq!((limiter.keys(), limiter.used(ann())), (1, 1));
    UnderWay::of(&server, 400).ends(0).await;
    let others = UnderWay::of(&server, 999);
    late.ends(0).await;
    assert_eq!(limiter.used(ann()), 1_000);
    one.ends(1).await;
    others.ends(999).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_by_another_plan_at_the_same_instant_is_not_given_back_after_it_refilled() {
    let (server, limiter) = bucket(Quota::per_hour(1).burst(5));
    let late = UnderWay::of(&server, 5);
    limiter.set_limits(Quota::per_second(10));
    // Half a second's worth is missing. From here on the bucket is never full.
    for _ in 0..20 {
        advance(ms(400)).await;
        assert!(limiter.try_acquire(ann(), 4).is_ok());
    }
    let used = limiter.used(ann());
    late.ends(0).await;
    assert_eq!(limiter.used(ann()), used);
}

#[tokio::test(start_paused = true)]
async fn a_new_plan_for_all_leaves_alone_what_was_counted_by_a_plan_of_its_own() {
    // Each as fast, or over as long, as the plan for all is before.
    let bucket = TokenBucketLayer::new(Quota::per_minute(60))
        .per(API_KEY())
        .limits_for(|_| Quota::per_minute(60).burst(600));
    let window = SlidingWindowLayer::new(Quota::per_hour(10))
        .per(API_KEY())
        .limits_for(|_| Quota::per_hour(600));
    for _ in 0..600 {
        bucket.layer(hello()).oneshot(from("ann")).await.unwrap();
        window.layer(hello()).oneshot(from("ann")).await.unwrap();
    }
    advance(Duration::from_secs(120)).await;
    bucket.limiter().set_limits(Quota::per_second(100));
    window.limiter().set_limits(Quota::per_minute(10));
    advance(Duration::from_secs(1)).await;
    assert_eq!(bucket.limiter().used(ann()), 600 - 121);
    assert_eq!(window.limiter().used(ann()), 600);
    assert!(window.layer(hello()).oneshot(from("ann")).await.is_err());
}

/// Two limits, one of which has room: whoever gives up, in whatever place, has taken from neither.
#[tokio::test(start_paused = true)]
async fn one_of_several_limits_takes_nothing_of_those_who_give_up_waiting_for_another() {
    let limiter = PerKeyLimiter::new(Quota::per_second(1))
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(10)));
    assert!(limiter.try_acquire(ann(), 1).is_ok());
    let mut all: Vec<_> = (0..5)
        .map(|_| Box::pin(limiter.acquire(ann(), 1)))
        .collect();
    for waits in &mut all {
        assert!(futures::poll!(waits).is_pending());
    }
    for gone in [0, 1, 2] {
        drop(all.remove(gone));
    }
    advance(Duration::from_secs(1)).await;
    drop(all.remove(0));
    // The last one is woken, and goes before it takes.
    drop(all);
    assert_eq!(limiter.used(ann()), 1);
    for _ in 0..9 {
        assert!(limiter.try_acquire(ann(), 1).is_ok());
        advance(Duration::from_secs(1)).await;
    }
    assert!(limiter.try_acquire(ann(), 1).is_err());
}

/// A refund goes back to both, each by its own sums.
#[tokio::test(start_paused = true)]
async fn what_one_of_several_limits_gets_back_the_other_does_too() {
    let layer = TokenBucketLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .name("second")
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(100)))
        .cost(FromExtension)
        .settle(FromExtension)
        .respond();
    let server: Server = BoxCloneSyncService::new(layer.layer(slow()).map_err(Into::into));
    let [first, second] = [6, 4].map(|cost| UnderWay::of(&server, cost));
    second.ends(0).await;
    assert_eq!(layer.limiter().used(ann()), 6);
    advance(Duration::from_secs(1)).await;
    // The bucket is full again, and the hour gets back what it kept.
    assert_eq!(layer.limiter().used(ann()), 6);
    first.ends(1).await;
    assert_eq!(layer.limiter().used(ann()), 1);
    assert!(layer.limiter().try_acquire(ann(), 10).is_ok());
    assert!(layer.limiter().try_acquire(ann(), 1).is_err());
}
