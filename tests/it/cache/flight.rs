//! Equal requests at one time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, service_fn,
    util::BoxCloneSyncService,
};
use tower_throttle::{
    BoxError, CacheLayer, ConcurrencyLayer,
    cache::{SharedBodyError, Status},
};

use super::{
    Req, ask, cache, cache_status, post, post_with,
    server::{Answered, Begun, Calls, Client, Feed, begin, call, server, settle},
};
use crate::support::{ms, poll_once};

/// The next frame, which must be there.
async fn next(response: &mut Answered) -> Bytes {
    settle().await;
    let frame = poll_once(response.body_mut().frame()).await;
    frame
        .expect("must wait")
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap()
}

async fn waits(response: &mut Answered) -> bool {
    settle().await;
    poll_once(response.body_mut().frame()).await.is_none()
}

async fn rest(response: Answered) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn status(response: &Answered) -> Status {
    Status::of(response).unwrap()
}

async fn done(begun: Begun) -> Answered {
    timeout(Duration::from_secs(60), begun)
        .await
        .expect("hangs")
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_equal_requests_at_once_are_one() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = service_fn(move |_: Req| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(ms(500)).await;
            let frames = stream::unfold(0, |n| async move {
                sleep(ms(100)).await;
                let frame = Frame::data(Bytes::from(format!("{n},")));
                (n < 5).then_some((Ok::<_, BoxError>(frame), n + 1))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(frames.boxed())))
        }
    });
    let layer = cache();
    let client = BoxCloneSyncService::new(layer.layer(server));
    let requests = (0..10_000).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { ask(&mut client, post("{}")).await.1 })
    });
    let bodies = join_all(requests).await;
    assert!(bodies.into_iter().all(|body| body.unwrap() == "0,1,2,3,4,"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let usage = layer.usage();
    assert_eq!((usage.misses, usage.collapsed), (1, 9_999));
    assert_eq!(ask(&mut client.clone(), post("{}")).await.1, "0,1,2,3,4,");
    assert_eq!(layer.usage().hits, 1);
}

#[tokio::test]
async fn many_threads_see_one_call_and_the_whole_body() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    for _ in 0..20 {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let server = service_fn(move |_: Req| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                let frames = stream::unfold(0, |n| async move {
                    tokio::task::yield_now().await;
                    let frame = Frame::data(Bytes::from(vec![b'x'; n]));
                    (n < 100).then_some((Ok::<_, BoxError>(frame), n + 1))
                });
                Ok::<_, BoxError>(Response::new(StreamBody::new(frames.boxed())))
            }
        });
        let client = BoxCloneSyncService::new(cache().layer(server));
        let readers: Vec<_> = (0..200)
            .map(|_| {
                let mut client = client.clone();
                runtime.spawn(async move { ask(&mut client, post("{}")).await.1 })
            })
            .collect();
        let bodies = timeout(Duration::from_secs(30), join_all(readers));
        for body in bodies.await.expect("hangs") {
            assert_eq!(body.unwrap().len(), 4_950);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
    runtime.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn those_who_follow_stream_too() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let follower = begin(&client, post("{ }")).await;
    let feed = calls.next().answer_with(&[("x-id", "7")]);
    feed.data("one");
    let (mut lead, mut follower) = (done(lead).await, done(follower).await);
    assert_eq!(
        (status(&lead), status(&follower)),
        (Status::Miss, Status::Collapsed)
    );
    assert_eq!(follower.headers()["x-id"], "7");
    assert_eq!(
        follower.headers()["cache-status"],
        "tower-throttle; fwd=miss; collapsed"
    );
    assert_eq!(next(&mut follower).await, "one");
    assert!(waits(&mut follower).await && !waits(&mut lead).await);
    feed.data("two");
    // Who comes later begins at the beginning.
    let mut late = done(call(&client, post("{}")).await).await;
    assert_eq!(
        (next(&mut late).await, next(&mut late).await),
        ("one".into(), "two".into())
    );
    drop(feed);
    assert_eq!(rest(lead).await, "two");
    assert_eq!(rest(follower).await, "two");
    assert_eq!(rest(late).await, "");
    let hit = done(call(&client, post("{}")).await).await;
    assert_eq!(
        (status(&hit), rest(hit).await),
        (Status::Hit, "onetwo".into())
    );
    assert_eq!(calls.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_old_is_joined_by_nobody() {
    let hour = Duration::from_secs(3_600);
    for (headers, time) in [
        (
            &[("cache-control", "max-age=5")][..],
            Duration::from_secs(5),
        ),
        (&[][..], hour),
    ] {
        let (client, mut calls) = server(&cache().ttl(hour));
        let lead = begin(&client, post("{}")).await;
        let old = calls.next().answer_with(headers);
        old.data("old");
        let lead = done(lead).await;
        sleep(time - ms(1)).await;
        let joined = done(call(&client, post("{}")).await).await;
        assert_eq!(status(&joined), Status::Collapsed);
        sleep(ms(1)).await;
        let late = begin(&client, post("{}")).await;
        let new = calls.next().answer();
        new.data("new");
        drop((old, new));
        assert_eq!(rest(done(late).await).await, "new");
        assert_eq!(
            (rest(lead).await, rest(joined).await),
            ("old".into(), "old".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_an_answer_is_joined_to_its_end() {
    let (client, mut calls) = server(&cache().ttl(Duration::ZERO));
    let lead = begin(&client, post("{}")).await;
    let feed = calls.next().answer();
    feed.data("one");
    let lead = done(lead).await;
    sleep(Duration::from_secs(60)).await;
    let late = done(call(&client, post("{}")).await).await;
    assert_eq!(status(&late), Status::Collapsed);
    drop(feed);
    assert_eq!(
        (rest(lead).await, rest(late).await),
        ("one".into(), "one".into())
    );
    let _next = begin(&client, post("{}")).await;
    assert_eq!(calls.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_takes_an_answer_of_some_age_waits_for_one_that_is_under_way() {
    let (client, mut calls) = server(&cache());
    let asks = |directive| post_with("{}", &[("cache-control", directive)]);
    let lead = begin(&client, asks("max-age=5")).await;
    let follower = begin(&client, asks("max-age=5")).await;
    let feed = calls.next().answer();
    feed.data("one");
    let lead = done(lead).await;
    assert_eq!(status(&done(follower).await), Status::Collapsed);
    sleep(Duration::from_secs(6)).await;
    let late = begin(&client, asks("max-age=5")).await;
    calls.next().answer().data("two");
    assert_eq!(rest(done(late).await).await, "two");
    drop(feed);
    assert_eq!(rest(lead).await, "one");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_old_when_it_came_is_given_to_none_who_wants_a_younger_one() {
    let (client, mut calls) = server(&cache());
    let asks = |directive| post_with("{}", &[("cache-control", directive)]);
    let lead = begin(&client, post("{}")).await;
    let mut strict = begin(&client, asks("max-age=5")).await;
    let easy = begin(&client, asks("max-age=60")).await;
    calls.next().answer_with(&[("age", "30")]).data("old");
    assert_eq!(rest(done(lead).await).await, "old");
    assert_eq!(rest(done(easy).await).await, "old");
    assert!(poll_once(&mut strict).await.is_none(), "it asks itself");
    calls.next().answer().data("new");
    let strict = done(strict).await;
    assert_eq!(
        cache_status(&strict.into_parts().0),
        "tower-throttle; fwd=miss; stored"
    );
}

/// A lead and two followers, with an answer that is under way.
async fn three(layer: &CacheLayer) -> ((Client, Calls), Feed, [Answered; 3]) {
    let (client, mut calls) = server(layer);
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(begin(&client, post("{}")).await);
    }
    let feed = calls.next().answer();
    let mut answered = Vec::new();
    for begun in begun {
        answered.push(done(begun).await);
    }
    ((client, calls), feed, answered.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_does_not_read_on_holds_nobody_up() {
    let (_server, feed, [mut lead, mut second, third]) = three(&cache()).await;
    // Both were polled, and wait.
    assert!(waits(&mut lead).await && waits(&mut second).await);
    let reading = tokio::spawn(rest(third));
    tokio::task::yield_now().await;
    feed.data("one");
    drop(feed);
    assert_eq!(
        timeout(ms(100), reading).await.expect("hangs").unwrap(),
        "one"
    );
    assert_eq!(rest(lead).await, "one");
    assert_eq!(rest(second).await, "one");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_left_reads_to_the_end_and_the_answer_is_kept() {
    for stays in 0..3 {
        let layer = cache();
        let ((client, _calls), feed, mut answered) = three(&layer).await;
        feed.data("one");
        for response in &mut answered {
            assert_eq!(next(response).await, "one");
            assert!(waits(response).await);
        }
        let mut answered = Vec::from(answered);
        let last = answered.remove(stays);
        let reading = tokio::spawn(rest(last));
        tokio::task::yield_now().await;
        drop(answered);
        feed.data("two");
        drop(feed);
        assert_eq!(
            timeout(ms(100), reading).await.expect("hangs").unwrap(),
            "two"
        );
        assert_eq!(
            rest(done(call(&client, post("{}")).await).await).await,
            "onetwo"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_on_is_let_go_and_not_kept() {
    let layer = cache();
    let ((client, _calls), feed, answered) = three(&layer).await;
    feed.data("one");
    drop(answered);
    settle().await;
    assert!(feed.is_dropped());
    assert_eq!(layer.usage().entries, 0);
    let mut calling = call(&client, post("{}")).await;
    assert!(poll_once(&mut calling).await.is_none(), "it asks anew");
}

#[tokio::test(start_paused = true)]
async fn followers_that_were_not_polled_since_the_head_came_still_get_the_body() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let follower = begin(&client, post("{}")).await;
    let never_polled = call(&client, post("{}")).await;
    let feed = calls.next().answer();
    drop(done(lead).await);
    assert!(!feed.is_dropped());
    drop(never_polled);
    assert!(!feed.is_dropped());
    feed.data("one");
    drop(feed);
    assert_eq!(rest(done(follower).await).await, "one");
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_dropped_leaves_it_to_one_follower() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let mut followers = Vec::new();
    for _ in 0..10 {
        let begun = begin(&client, post("{}")).await;
        followers.push(tokio::spawn(async { rest(done(begun).await).await }));
    }
    tokio::task::yield_now().await;
    let first = calls.next();
    drop(lead);
    sleep(ms(1)).await;
    assert!(first.is_forgotten());
    let second = calls.next();
    assert_eq!(calls.count(), 0, "one asks, and no more");
    second.answer().data("two");
    for follower in followers {
        assert_eq!(follower.await.unwrap(), "two");
    }
}

async fn spawned<F, R>(call: F) -> Result<R, BoxError>
where
    F: Future<Output = Result<R, BoxError>> + Send + 'static,
    R: Send + 'static,
{
    tokio::spawn(call).await?
}

/// A client whose server takes 10 s, and the calls of the server. A spawned call goes on.
fn slow(is_spawned: bool) -> (Client, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = service_fn(move |_: Req| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(Duration::from_secs(10)).await;
            let body = http_body_util::Full::new(Bytes::from("x"));
            Ok::<_, BoxError>(Response::new(body))
        }
    });
    let service = cache().layer(server);
    let client = match is_spawned {
        true => BoxCloneSyncService::new(service.map_future(spawned)),
        false => BoxCloneSyncService::new(service),
    };
    (client, calls)
}

/// Equal requests that give up after about so many seconds each, in the order in which they begin.
/// Returns how many get the response, and the calls of the server.
async fn impatient(
    seconds: impl Iterator<Item = u64>,
    (client, calls): (Client, Arc<AtomicUsize>),
) -> (usize, usize) {
    let mut begun = Vec::new();
    for seconds in seconds {
        let future = call_of(&client).await;
        begun.push(tokio::spawn(async move {
            // A bit more for each, so that none gives up when the response comes.
            timeout(ms(seconds * 1_010), future).await.is_ok()
        }));
    }
    let outcomes = join_all(begun).await.into_iter();
    let good = outcomes.filter(|is_ok| *is_ok.as_ref().unwrap()).count();
    (good, calls.load(Ordering::Relaxed))
}

async fn call_of<S>(client: &S) -> S::Future
where
    S: Service<Req, Error: std::fmt::Debug> + Clone,
{
    client.clone().ready().await.unwrap().call(post("{}"))
}

#[tokio::test(start_paused = true)]
async fn the_newest_follower_leads_if_the_lead_gives_up() {
    // The response comes 10 s after the first one gave up.
    assert_eq!(impatient(1..=30, slow(false)).await, (20, 2));
    assert_eq!(impatient((1..=30).rev(), slow(false)).await, (21, 1));
}

#[tokio::test(start_paused = true)]
async fn no_follower_waits_for_more_than_two_in_vain() {
    // Each newest one gives up first.
    let worst = [1].into_iter().chain((2..=30).rev());
    let (good, calls) = impatient(worst, slow(false)).await;
    assert_eq!((good, calls), (19, 30));
}

#[tokio::test(start_paused = true)]
async fn a_spawned_call_goes_on_for_the_others() {
    let worst = [1].into_iter().chain((2..=30).rev());
    let orders: [Vec<u64>; 4] = [
        (1..=30).collect(),
        (1..=30).rev().collect(),
        worst.collect(),
        // Shuffled.
        (1..=30).map(|n| n * 7 % 31).collect(),
    ];
    for order in orders {
        // All that wait for 10 s or longer.
        let outcome = impatient(order.iter().copied(), slow(true)).await;
        assert_eq!(outcome, (21, 1), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spawned_call_ends_at_the_head_if_all_are_gone() {
    let layer = cache();
    let (inner, mut calls) = super::server::plain();
    let client = BoxCloneSyncService::new(layer.layer(inner).map_future(spawned));
    let lead = begin(&client, post("{}")).await;
    let follower = begin(&client, post("{}")).await;
    settle().await;
    drop((lead, follower));
    settle().await;
    let call = calls.next();
    assert!(!call.is_forgotten());
    let feed = call.answer();
    settle().await;
    assert!(feed.is_dropped());
    assert_eq!((calls.count(), layer.usage().entries), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spawned_follower_that_leads_calls_if_it_gives_up() {
    let (inner, mut calls) = super::server::plain();
    let inner = ConcurrencyLimit::new(inner, 2);
    let mut blockers = [inner.clone(), inner.clone()];
    let client = BoxCloneSyncService::new(cache().layer(inner).map_future(spawned));
    let lead = begin(&client, post("{}")).await;
    let first = begin(&client, post("{}")).await;
    let second = begin(&client, post("{}")).await;
    settle().await;
    // The newest one leads, and waits until the inner service is ready.
    calls.next().fail();
    for blocker in &mut blockers {
        blocker.ready().await.unwrap();
    }
    settle().await;
    drop(second);
    assert_eq!(calls.count(), 0);
    drop(blockers);
    settle().await;
    calls.next().answer().data("x");
    lead.await.unwrap_err();
    assert_eq!(rest(done(first).await).await, "x");
    assert_eq!(calls.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newest_follower_that_is_not_polled_is_passed_over() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let follower = tokio::spawn(begin(&client, post("{}")).await);
    let _newest = begin(&client, post("{}")).await;
    calls.next();
    drop(lead);
    sleep(ms(2_500)).await;
    calls.next().answer().data("two");
    assert_eq!(rest(follower.await.unwrap().unwrap()).await, "two");
}

#[tokio::test(start_paused = true)]
async fn the_next_newest_leads_if_the_newest_goes_as_well() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let begin = async || tokio::spawn(begin(&client, post("{}")).await);
    let (oldest, second, newest) = (begin().await, begin().await, begin().await);
    settle().await;
    calls.next();
    drop(lead);
    newest.abort();
    sleep(ms(1)).await;
    let call = calls.next();
    assert_eq!(calls.count(), 0, "one calls");
    call.answer().data("x");
    assert_eq!(status(&second.await.unwrap().unwrap()), Status::Miss);
    assert_eq!(status(&oldest.await.unwrap().unwrap()), Status::Collapsed);
}

#[tokio::test(start_paused = true)]
async fn a_lead_and_followers_can_be_dropped_in_any_order() {
    let layer = cache();
    for first in 0..3 {
        for second in 0..2 {
            let (client, mut calls) = server(&layer);
            let mut begun = Vec::new();
            for _ in 0..3 {
                begun.push(begin(&client, post("{}")).await);
            }
            drop(begun.remove(first));
            drop(begun.remove(second));
            let mut last = begun.remove(0);
            assert!(poll_once(&mut last).await.is_none());
            // Whoever asked last is still there.
            let call = calls.all().pop().unwrap();
            let feed = call.answer_with(&[("cache-control", "no-store")]);
            feed.data("x");
            drop(feed);
            assert_eq!(rest(done(last).await).await, "x");
        }
    }
    // Nothing is left of them.
    let (client, mut calls) = server(&layer);
    let begun = begin(&client, post("{}")).await;
    assert_eq!(calls.count(), 1);
    drop(begun);
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_never_polled_is_passed_over() {
    let (client, mut calls) = server(&cache());
    let _lead = call(&client, post("{}")).await;
    let _first = calls.next();
    let follower = tokio::spawn(call(&client, post("{}")).await);
    let other = tokio::spawn(call(&client, post("{}")).await);
    sleep(ms(2_500)).await;
    let second = calls.next();
    assert_eq!(
        calls.count(),
        0,
        "one passes it over, and the others wait for that one"
    );
    second.answer().data("two");
    assert_eq!(rest(follower.await.unwrap().unwrap()).await, "two");
    assert_eq!(rest(other.await.unwrap().unwrap()).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_answered_and_not_polled_is_passed_over() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let follower = tokio::spawn(call(&client, post("{}")).await);
    // It waits for the server as long as it takes.
    sleep(Duration::from_secs(3_600)).await;
    let first = calls.next();
    assert_eq!(calls.count(), 0);
    first.answer().data("one");
    sleep(ms(2_500)).await;
    calls.next().answer().data("two");
    assert_eq!(rest(follower.await.unwrap().unwrap()).await, "two");
    // And it has its own answer.
    assert_eq!(rest(done(lead).await).await, "one");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_one_follower_asks_and_after_two_each_does() {
    for by_status in [true, false] {
        let (client, mut calls) = server(&cache());
        let mut begun = Vec::new();
        for _ in 0..5 {
            let begin = begin(&client, post("{}")).await;
            begun.push(tokio::spawn(begin));
        }
        for _ in 0..2 {
            sleep(ms(1)).await;
            let call = calls.next();
            assert_eq!(calls.count(), 0);
            match by_status {
                true => call.status(503),
                false => call.fail(),
            }
        }
        sleep(ms(1)).await;
        let last = calls.all();
        assert_eq!(last.len(), 3);
        for call in last {
            call.answer().data("x");
        }
        let outcomes = join_all(begun).await;
        let good = outcomes.into_iter().filter(|outcome| {
            let response = outcome.as_ref().unwrap().as_ref();
            response.is_ok_and(|response| response.status() == 200)
        });
        assert_eq!(good.count(), 3, "a failure is its own request's alone");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_must_not_be_shared_is_not_and_nobody_waits_for_another() {
    for headers in [
        ("cache-control", "no-store"),
        ("set-cookie", "a=b"),
        ("vary", "*"),
        ("content-length", "9999999"),
    ] {
        let (client, mut calls) = server(&cache());
        let mut begun = Vec::new();
        for _ in 0..5 {
            let begin = begin(&client, post("{}")).await;
            begun.push(tokio::spawn(begin));
        }
        calls.next().answer_with(&[headers]);
        sleep(ms(1)).await;
        let rest = calls.all();
        assert_eq!(rest.len(), 4, "{headers:?}");
        for call in rest {
            call.answer_with(&[headers]);
        }
        for response in join_all(begun).await {
            assert_eq!(status(&response.unwrap().unwrap()), Status::Miss);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_the_answer_does_not_suit_asks_for_itself() {
    let (client, mut calls) = server(&cache());
    let from = |region| post_with("{}", &[("x-region", region)]);
    let lead = begin(&client, from("eu")).await;
    let same = begin(&client, from("eu")).await;
    let mut other = begin(&client, from("us")).await;
    let varies = [("vary", "x-region")];
    calls.next().answer_with(&varies).data("eu");
    let lead = done(lead).await;
    assert!(poll_once(&mut other).await.is_none());
    let call = calls.next();
    assert_eq!(call.request.headers()["x-region"], "us");
    call.answer_with(&varies).data("us");
    assert_eq!(rest(done(other).await).await, "us");
    assert_eq!(rest(lead).await, "eu");
    assert_eq!(rest(done(same).await).await, "eu");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_breaks_for_all_and_is_not_kept() {
    let layer = cache();
    let ((client, _calls), feed, answered) = three(&layer).await;
    feed.data("one");
    feed.fail();
    for mut response in answered {
        assert_eq!(next(&mut response).await, "one");
        let error = response.body_mut().frame().await.unwrap().unwrap_err();
        let error = error.downcast::<SharedBodyError>().unwrap();
        assert!(!error.is_too_slow());
        let source = std::error::Error::source(&*error).unwrap();
        assert_eq!(source.to_string(), "cut");
        assert!(response.body_mut().frame().await.is_none());
    }
    assert_eq!(layer.usage().entries, 0);
    let mut again = call(&client, post("{}")).await;
    assert!(poll_once(&mut again).await.is_none(), "it asks anew");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_one_alone_meets_is_its_own() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    calls.next().answer().fail();
    let error = done(lead).await.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), "cut");
    assert!(!error.is::<SharedBodyError>());
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_answer_broke_off_before_it_was_polled_asks_itself() {
    let (client, mut calls) = server(&cache());
    let lead = begin(&client, post("{}")).await;
    let mut follower = begin(&client, post("{}")).await;
    let feed = calls.next().answer();
    feed.data("one");
    feed.fail();
    assert!(done(lead).await.into_body().collect().await.is_err());
    assert!(poll_once(&mut follower).await.is_none());
    calls.next().answer().data("two");
    assert_eq!(rest(done(follower).await).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_bound_reaches_all_who_read_it_and_is_not_kept() {
    let layer = cache().max_entry(10_000);
    let ((client, _calls), feed, answered) = three(&layer).await;
    let readers = answered.map(|response| tokio::spawn(rest(response)));
    for n in 0..100 {
        feed.data(vec![b'a' + n % 26; 1_000]);
    }
    drop(feed);
    for reader in readers {
        let body = reader.await.unwrap();
        assert_eq!(body.len(), 100_000);
        assert!((0..100).all(|n| body.as_bytes()[n * 1_000] == b'a' + (n % 26) as u8));
    }
    assert_eq!(layer.usage().entries, 0);
    let mut again = call(&client, post("{}")).await;
    assert!(poll_once(&mut again).await.is_none(), "it asks anew");
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_nobody_joins_and_those_ahead_wait_for_those_behind() {
    let layer = cache().max_entry(10_000);
    let ((client, _calls), feed, [mut first, mut second, third]) = three(&layer).await;
    drop(third);
    for _ in 0..30 {
        feed.data(vec![b'x'; 1_000]);
    }
    settle().await;
    let mut read = 0;
    while poll_once(first.body_mut().frame()).await.is_some() {
        read += 1;
    }
    assert_eq!(read, 11, "the record is full");
    let mut late = call(&client, post("{}")).await;
    assert!(poll_once(&mut late).await.is_none(), "it asks for itself");
    let reading = tokio::spawn(rest(first));
    for _ in 0..30 {
        sleep(Duration::from_secs(9)).await;
        assert_eq!(
            next(&mut second).await.len(),
            1_000,
            "slow, and not too slow"
        );
    }
    drop(feed);
    assert_eq!(rest(second).await, "");
    assert_eq!(reading.await.unwrap().len(), 19_000);
}

#[tokio::test(start_paused = true)]
async fn one_who_reads_nothing_holds_up_the_others_for_ten_seconds_only() {
    let layer = cache().max_entry(10_000);
    let (_server, feed, [stalled, mut second, third]) = three(&layer).await;
    let mut stalled = stalled;
    for _ in 0..30 {
        feed.data(vec![b'x'; 1_000]);
    }
    drop(feed);
    let start = tokio::time::Instant::now();
    let (second_body, third_body) = tokio::join!(second.body_mut().collect(), rest(third));
    assert_eq!(second_body.unwrap().to_bytes().len(), 30_000);
    assert_eq!(third_body.len(), 30_000);
    assert!(
        start.elapsed() < Duration::from_secs(11),
        "{:?}",
        start.elapsed()
    );
    let error = stalled.body_mut().frame().await.unwrap().unwrap_err();
    assert!(error.downcast::<SharedBodyError>().unwrap().is_too_slow());
    assert!(stalled.body_mut().frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_holds_nobody_up_may_take_its_time() {
    let layer = cache().max_entry(10_000);
    let (_server, feed, [alone, second, third]) = three(&layer).await;
    drop((second, third));
    for _ in 0..30 {
        feed.data(vec![b'x'; 1_000]);
    }
    drop(feed);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rest(alone).await.len(), 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_on_is_not_read_to_its_end() {
    let layer = cache().max_entry(10_000);
    let (_server, feed, [first, second, third]) = three(&layer).await;
    for _ in 0..30 {
        feed.data(vec![b'x'; 1_000]);
    }
    drop(feed);
    sleep(Duration::from_secs(60)).await;
    drop(third);
    let (first, second) = tokio::join!(rest(first), rest(second));
    assert_eq!((first.len(), second.len()), (30_000, 30_000));
}

#[tokio::test(start_paused = true)]
async fn a_clear_in_between_keeps_nothing_of_before() {
    let layer = cache();
    let ((client, _calls), feed, answered) = three(&layer).await;
    feed.data("old");
    layer.clear();
    let mut again = call(&client, post("{}")).await;
    assert!(poll_once(&mut again).await.is_none(), "it asks anew");
    drop(feed);
    for response in answered {
        assert_eq!(rest(response).await, "old");
    }
    assert_eq!(layer.usage().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_new_answer_does_not_follow() {
    let (client, mut calls) = server(&cache());
    let _lead = begin(&client, post("{}")).await;
    let _fresh = begin(&client, post_with("{}", &[("cache-control", "no-cache")])).await;
    assert_eq!(calls.count(), 2);
    let (client, mut calls) = server(&cache().single_flight(false));
    let _lead = begin(&client, post("{}")).await;
    let _second = begin(&client, post("{}")).await;
    assert_eq!(calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_no_time_to_live_answers_are_shared_and_not_kept() {
    let layer = cache().ttl(Duration::ZERO);
    let ((client, _calls), feed, answered) = three(&layer).await;
    feed.data("one");
    drop(feed);
    for response in answered {
        assert_eq!(rest(response).await, "one");
    }
    let mut again = call(&client, post("{}")).await;
    assert!(poll_once(&mut again).await.is_none(), "it asks anew");
}

#[tokio::test(start_paused = true)]
async fn over_a_limit_of_one_nothing_deadlocks() {
    let server = service_fn(async |request: Req| {
        sleep(ms(1)).await;
        let body = http_body_util::Full::new(Bytes::from(request.into_body()));
        Ok::<_, BoxError>(Response::new(body))
    });
    let layer = cache();
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ConcurrencyLayer::new(1))
        .layer_fn(|inner| ConcurrencyLimit::new(inner, 1))
        .service(server);
    let requests = (0..300).map(|n| {
        let mut client = client.clone();
        async move { ask(&mut client, post(["[1]", "[2]", "[3]"][n % 3])).await.1 }
    });
    let bodies = timeout(Duration::from_secs(60), join_all(requests)).await;
    assert_eq!(bodies.expect("a deadlock").len(), 300);
    assert_eq!(layer.usage().misses, 3);
}

#[tokio::test(start_paused = true)]
async fn a_hit_and_a_follower_hold_no_ready_service() {
    let server = service_fn(async |_: Req| {
        sleep(ms(1)).await;
        Ok::<_, BoxError>(Response::new(http_body_util::Full::new(Bytes::new())))
    });
    let inner = ConcurrencyLimit::new(server, 2);
    let mut others = [inner.clone(), inner.clone()];
    let mut client = cache().layer(inner);
    let lead = client.ready().await.unwrap().call(post("{}"));
    let follower = client.ready().await.unwrap().call(post("{}"));
    assert!(
        poll_once(others[0].ready()).await.is_some(),
        "the follower holds a permit"
    );
    lead.await.unwrap();
    assert_eq!(
        cache_status(&follower.await.unwrap().into_parts().0),
        "tower-throttle; fwd=miss; collapsed"
    );
    let hit = client.ready().await.unwrap().call(post("{}"));
    assert!(
        poll_once(others[1].ready()).await.is_some(),
        "the hit holds a permit"
    );
    hit.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_inner_service_lets_another_ask() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = service_fn(move |_: Req| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(ms(1)).await;
            assert!(number > 0, "the first one panics");
            Ok::<_, BoxError>(Response::new(http_body_util::Full::new(Bytes::from("x"))))
        }
    });
    let client = BoxCloneSyncService::new(cache().layer(server));
    let begin = || {
        let mut client = client.clone();
        tokio::spawn(async move { ask(&mut client, post("{}")).await.1 })
    };
    let (lead, follower) = (begin(), begin());
    assert!(lead.await.unwrap_err().is_panic());
    assert_eq!(
        timeout(ms(100), follower).await.expect("hangs").unwrap(),
        "x"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_body_ends_it_for_all() {
    let server = service_fn(async |_: Req| {
        let frames = stream::unfold(0, |n| async move {
            sleep(ms(1)).await;
            assert!(n < 2, "the third frame panics");
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from("x"))), n + 1))
        });
        Ok::<_, BoxError>(Response::new(StreamBody::new(frames.boxed())))
    });
    let layer = cache();
    let client = BoxCloneSyncService::new(layer.layer(server));
    let begin = || {
        let mut client = client.clone();
        tokio::spawn(async move {
            let response = client
                .ready()
                .await
                .unwrap()
                .call(post("{}"))
                .await
                .unwrap();
            response.into_body().collect().await.map(drop)
        })
    };
    let outcomes = timeout(ms(100), join_all([begin(), begin(), begin()])).await;
    let outcomes = outcomes.expect("hangs");
    let panicked = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let failed = outcomes
        .iter()
        .flatten()
        .filter(|read| read.is_err())
        .count();
    assert_eq!((panicked, failed), (0, 3));
    assert_eq!(layer.usage().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn frames_and_trailers_come_again_as_they_came() {
    let layer = cache();
    let ((client, _calls), feed, answered) = three(&layer).await;
    for frame in ["one", "", "two"] {
        feed.data(frame);
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", http::HeaderValue::from_static("yes"));
    feed.trailers(trailers.clone());
    drop(feed);
    let mut all = Vec::from(answered);
    rest(all.pop().unwrap()).await;
    all.push(done(call(&client, post("{}")).await).await);
    assert_eq!(status(&all[2]), Status::Hit);
    for mut response in all {
        for frame in ["one", "", "two"] {
            assert_eq!(next(&mut response).await, frame);
        }
        let last = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(last.into_trailers().unwrap(), trailers);
        assert!(response.body_mut().frame().await.is_none());
        assert!(response.body_mut().frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_that_are_kept_do_not_keep_what_they_were_cut_from() {
    let layer = cache();
    let (client, mut calls) = server(&layer);
    let lead = begin(&client, post("{}")).await;
    let feed = calls.next().answer();
    let read = Bytes::from(vec![b'x'; 100_000]);
    let value = http::HeaderValue::from_maybe_shared(read.slice(..10)).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", value);
    feed.trailers(trailers);
    drop(feed);
    rest(done(lead).await).await;
    assert_eq!(layer.usage().entries, 1);
    assert!(read.is_unique());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_asks_and_goes_before_its_service_is_ready_leaves_it_to_the_next() {
    let (inner, mut calls) = super::server::plain();
    let inner = ConcurrencyLimit::new(inner, 2);
    let mut blockers = [inner.clone(), inner.clone()];
    let client = BoxCloneSyncService::new(cache().layer(inner));
    let lead = begin(&client, post("{}")).await;
    let mut second = begin(&client, post("{}")).await;
    let third = begin(&client, post("{}")).await;
    calls.next();
    drop(lead);
    // Both permits are free, and somebody else takes them.
    for blocker in &mut blockers {
        blocker.ready().await.unwrap();
    }
    assert!(poll_once(&mut second).await.is_none());
    assert_eq!(calls.count(), 0);
    let third = tokio::spawn(third);
    tokio::task::yield_now().await;
    drop(second);
    drop(blockers);
    sleep(ms(1)).await;
    calls.next().answer().data("three");
    assert_eq!(rest(third.await.unwrap().unwrap()).await, "three");
}

#[tokio::test(start_paused = true)]
async fn tiny_frames_without_end_take_no_more_than_the_bound() {
    let layer = cache().max_entry(10_000);
    let ((client, mut calls), feed, [mut first, second, third]) = three(&layer).await;
    drop(third);
    for _ in 0..100_000 {
        feed.data("");
        feed.data("x");
    }
    settle().await;
    let mut read = 0;
    while poll_once(first.body_mut().frame()).await.is_some() {
        read += 1;
    }
    assert!((100..1_000).contains(&read), "{read} frames are held");
    // Those who are alone wait for nobody.
    drop(second);
    drop(feed);
    assert!(rest(first).await.len() > 99_000);
    drop(call(&client, post("{}")).await);
    assert_eq!(calls.count(), 1, "it was not kept");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_as_long_as_it_said_is_not_kept() {
    struct Lying(Option<&'static str>);
    impl http_body::Body for Lying {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            std::task::Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data.into()))))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(3)
        }
    }
    for (data, expected) in [("abc", 1), ("ab", 0), ("abcd", 0)] {
        let server =
            service_fn(async move |_: Req| Ok::<_, BoxError>(Response::new(Lying(Some(data)))));
        let layer = cache();
        let mut client = BoxCloneSyncService::new(layer.layer(server));
        assert_eq!(ask(&mut client, post("{}")).await.1, data);
        assert_eq!(layer.usage().entries, expected, "{data}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_began_earlier_does_not_take_the_place_of_a_newer_one() {
    let layer = cache();
    let ((client, mut calls), old, [lead, ..]) = three(&layer).await;
    sleep(ms(1)).await;
    let fresh = begin(&client, post_with("{}", &[("cache-control", "no-cache")])).await;
    let new = calls.next().answer();
    new.data("new");
    drop(new);
    assert_eq!(rest(done(fresh).await).await, "new");
    old.data("old");
    drop(old);
    assert_eq!(rest(lead).await, "old");
    assert_eq!(
        rest(done(call(&client, post("{}")).await).await).await,
        "new"
    );
}

// Real time: a paused clock stands still as long as anything is busy.
#[tokio::test]
async fn a_body_that_wakes_itself_lets_others_run() {
    let server = service_fn(async |_: Req| {
        let frames = stream::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            std::task::Poll::<Option<Result<Frame<Bytes>, BoxError>>>::Pending
        });
        Ok::<_, BoxError>(Response::new(StreamBody::new(frames.boxed())))
    });
    let client = BoxCloneSyncService::new(cache().layer(server));
    let reading = (0..3).map(|_| {
        let mut client = client.clone();
        async move { ask(&mut client, post("{}")).await }
    });
    // The runtime gets to its timer.
    let reading = timeout(ms(10), join_all(reading)).await;
    assert!(reading.is_err());
}
