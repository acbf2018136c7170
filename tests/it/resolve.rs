//! Callers that are looked up before a limit asks for them.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse, routing::get};
use futures::future::{BoxFuture, join_all};
use http::{Request, Response, StatusCode};
use hyper_util::service::TowerToHyperService;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, service_fn,
    util::BoxCloneSyncService,
};
use tower_throttle::{
    ConcurrencyLayer, Quota, TokenBucketLayer,
    key::{
        ClientKey, Extension, PeerAddr, PeerIp,
        resolve::{Attach, ResolveLayer},
    },
    per_key::MissingKey,
};

use crate::support::{call, ms, poll_once, probe_of, start};

type Req = Request<()>;
type Look = BoxFuture<'static, Option<ClientKey>>;

/// Finds the caller whose token it is, after so many milliseconds, or at once.
fn after(millis: u64) -> ResolveLayer<impl Fn(&Req) -> Look + Clone + Send + Sync + 'static> {
    ResolveLayer::new(move |request: &Req| -> Look {
        let token = token(request);
        Box::pin(async move {
            if millis > 0 {
                sleep(ms(millis)).await;
            }
            token.map(ClientKey::from)
        })
    })
}

fn token(request: &Req) -> Option<String> {
    let token = request.headers().get("x-token")?;
    Some(token.to_str().unwrap().to_owned())
}

fn from(name: &'static str) -> Req {
    let request = Request::get("/").header("x-token", name);
    request.body(()).unwrap()
}

/// Says whom it takes the request to be from.
fn who() -> BoxCloneSyncService<Req, Response<String>, Infallible> {
    BoxCloneSyncService::new(service_fn(async |request: Req| {
        let caller = request.extensions().get::<ClientKey>();
        let name = caller.map_or("nobody".to_owned(), ClientKey::to_string);
        Ok(Response::new(name))
    }))
}

/// Counts how often it was readied, and can be told to fail at that.
#[derive(Debug, Default)]
struct Readied {
    ready: bool,
    fails: Arc<Mutex<bool>>,
    times: Arc<AtomicUsize>,
}

impl Clone for Readied {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            fails: self.fails.clone(),
            times: self.times.clone(),
        }
    }
}

impl Service<Req> for Readied {
    type Response = ();
    type Error = &'static str;
    type Future = Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if *self.fails.lock().unwrap() {
            return Poll::Ready(Err("closed"));
        }
        self.times.fetch_add(1, Ordering::Relaxed);
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.ready = false;
        ready(Ok(()))
    }
}

// ===== whom the request is from =====

#[tokio::test(start_paused = true)]
async fn who_was_found_is_told_further_in() {
    for millis in [0, 5] {
        let service = after(millis).layer(who());
        let start = Instant::now();
        let answer = service.oneshot(from("ann")).await.unwrap();
        assert_eq!(answer.body(), "ann");
        assert_eq!(start.elapsed(), ms(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_from_further_out_is_replaced_and_removed_where_nobody_is_found() {
    let service = after(1).layer(who());
    let mut spoofed = from("ann");
    spoofed.extensions_mut().insert(ClientKey::from("root"));
    let answer = service.clone().oneshot(spoofed).await.unwrap();
    assert_eq!(answer.body(), "ann");
    let mut spoofed = Request::new(());
    spoofed.extensions_mut().insert(ClientKey::from("root"));
    let answer = service.oneshot(spoofed).await.unwrap();
    assert_eq!(answer.body(), "nobody");
}

#[tokio::test(start_paused = true)]
async fn a_look_up_can_answer_itself_and_nothing_further_in_is_called_or_held() {
    let probe = probe_of::<Req>();
    let calls = probe.calls();
    let inner = ServiceBuilder::new()
        .map_response(|_| Response::new("hello"))
        .service(ConcurrencyLimit::new(probe, 1));
    let mut other = inner.clone();
    for wait in [Duration::ZERO, ms(5)] {
        let mut service = ResolveLayer::new(move |_: &Req| async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            Err::<Option<ClientKey>, _>(Response::new("down"))
        })
        .layer(inner.clone());
        let mut answer = Box::pin(service.ready().await.unwrap().call(from("ann")));
        assert_eq!(*answer.as_mut().await.unwrap().body(), "down");
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        // The future that is done, and the service, are still there.
        assert!(poll_once(other.ready()).await.is_some());
        other = inner.clone();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_look_up_fits_under_a_layer_that_wraps_bodies() {
    let limit = ConcurrencyLayer::new(1)
        .per(Extension::<ClientKey>::new())
        .respond();
    let mut service = ServiceBuilder::new()
        .layer(ResolveLayer::new(|request: &Req| {
            let found = token(request).map(ClientKey::from);
            async move {
                let down = Response::new("down".to_owned());
                found.map(Some).ok_or(down.map(Into::into))
            }
        }))
        .layer(limit)
        .service(who());
    let answer = call(&mut service, Request::new(())).await.unwrap();
    assert_eq!(answer.body().get_ref(), "down");
    let answer = call(&mut service, from("ann")).await.unwrap();
    assert_eq!(answer.body().get_ref(), "ann");
}

#[tokio::test(start_paused = true)]
async fn two_layers_find_two_things_each_of_a_type_of_its_own() {
    #[derive(Clone)]
    struct Organisation(u64);
    let organisation = ResolveLayer::new(|_: &Req| async {
        sleep(ms(2)).await;
        Some(Organisation(7))
    });
    let service = (after(3), organisation).layer(service_fn(async |request: Req| {
        let extensions = request.extensions();
        let caller: &ClientKey = extensions.get().unwrap();
        let organisation: &Organisation = extensions.get().unwrap();
        Ok::<_, Infallible>((caller.to_string(), organisation.0))
    }));
    let start = Instant::now();
    let found = service.oneshot(from("ann")).await.unwrap();
    assert_eq!(found, ("ann".to_owned(), 7));
    assert_eq!(start.elapsed(), ms(5));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_http_says_where_the_caller_belongs() {
    #[derive(Debug)]
    struct Job {
        token: u64,
        owner: Option<ClientKey>,
    }
    impl Attach<ClientKey> for Job {
        fn attach(&mut self, found: Option<ClientKey>) {
            self.owner = found;
        }
    }
    let limit = TokenBucketLayer::new(Quota::per_hour(1)).per(|job: &Job| job.owner);
    let mut service = ServiceBuilder::new()
        .layer(ResolveLayer::new(|job: &Job| {
            let token = job.token;
            async move {
                sleep(ms(1)).await;
                Some(ClientKey::from(token))
            }
        }))
        .layer(limit)
        .service(service_fn(async |job: Job| Ok::<_, Infallible>(job.owner)));
    for token in [1, 2] {
        let spoofed = Some(ClientKey::EVERYONE);
        let job = Job {
            token,
            owner: spoofed,
        };
        let owner = call(&mut service, job).await.unwrap();
        assert_eq!(owner, Some(ClientKey::from(token)));
    }
    let again = Job {
        token: 1,
        owner: None,
    };
    assert!(call(&mut service, again).await.is_err());
}

// ===== readiness =====

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_polled_ready_is_called_unless_the_look_up_waits() {
    for (millis, times) in [(0, 1), (5, 2)] {
        let inner = Readied::default();
        let readied = inner.times.clone();
        let mut service = after(millis).layer(inner);
        call(&mut service, from("ann")).await.unwrap();
        assert_eq!(readied.load(Ordering::Relaxed), times);
    }
}

#[tokio::test(start_paused = true)]
async fn over_concurrency_limit_1_it_neither_deadlocks_nor_leaks() {
    let answer = service_fn(async |request: Req| {
        sleep(ms(1)).await;
        Ok::<_, Infallible>(request.extensions().get::<ClientKey>().copied())
    });
    let inner = ConcurrencyLimit::new(answer, 1);
    let service = ResolveLayer::new(|request: &Req| {
        let name = token(request);
        async move {
            let name = name?;
            // Some at once, some after a while.
            sleep(ms(name.len() as u64 % 3)).await;
            Some(ClientKey::from(name))
        }
    })
    .layer(inner.clone());
    let names = ["a", "bb", "ccc", "dddd", "eeeee"];
    let requests = names.iter().cycle().take(100).map(|name| {
        let mut service = service.clone();
        async move { service.ready().await.unwrap().call(from(name)).await }
    });
    let answers = timeout(Duration::from_secs(3_600), join_all(requests)).await;
    for (answer, name) in answers
        .expect("a deadlock")
        .into_iter()
        .zip(names.iter().cycle())
    {
        assert_eq!(answer.unwrap(), Some(ClientKey::from(*name)));
    }
    // The one permit is free again.
    assert!(inner.clone().ready().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_ready_service_is_held_while_a_look_up_waits_and_the_service_stays_alive() {
    let probe = probe_of::<Req>();
    let calls = probe.calls();
    let inner = ConcurrencyLimit::new(probe, 1);
    let mut other = inner.clone();
    let mut service = after(5).layer(inner);
    let waiting = start(&mut service, from("ann")).await;
    assert!(waiting.waits());
    assert!(
        poll_once(other.ready()).await.is_some(),
        "the permit is held by a look-up"
    );
    // It needs the permit once the caller is found, and waits for it then.
    let answer = tokio::spawn(waiting.end());
    sleep(ms(20)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    drop(other);
    answer.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_after_the_look_up_says_so() {
    let inner = Readied::default();
    let fails = inner.fails.clone();
    let mut service = after(5).layer(inner);
    let waiting = start(&mut service, from("ann")).await;
    *fails.lock().unwrap() = true;
    assert_eq!(waiting.end().await, Err("closed"));
    assert_eq!(service.ready().await.unwrap_err(), "closed");
}

#[tokio::test(start_paused = true)]
async fn look_ups_of_one_service_run_side_by_side_and_the_first_that_is_found_is_called_first() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let inner = service_fn(move |request: Req| {
        noted.lock().unwrap().push(token(&request).unwrap());
        ready(Ok::<_, Infallible>(()))
    });
    let mut service = ResolveLayer::new(|request: &Req| {
        let name = token(request);
        async move {
            sleep(ms(if name? == "slow" { 10 } else { 4 })).await;
            Some(ClientKey::EVERYONE)
        }
    })
    .layer(inner);
    let begun = Instant::now();
    let slow = start(&mut service, from("slow")).await;
    let quick = start(&mut service, from("quick")).await;
    let (slow, quick) = tokio::join!(slow.end(), quick.end());
    slow.and(quick).unwrap();
    assert_eq!(begun.elapsed(), ms(10));
    assert_eq!(*order.lock().unwrap(), ["quick", "slow"]);
}

// ===== futures =====

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_in_its_look_up_ends_it_and_is_never_called() {
    let probe = probe_of::<Req>();
    let calls = probe.calls();
    let inner = ConcurrencyLimit::new(probe, 1);
    let connection = Arc::new(());
    let pool = connection.clone();
    let mut service = ResolveLayer::new(move |_: &Req| {
        let connection = pool.clone();
        async move {
            pending::<()>().await;
            drop(connection);
            None::<ClientKey>
        }
    })
    .layer(inner.clone());
    // Never polled, which is before the look-up has begun, and polled once.
    let unpolled = service.ready().await.unwrap().call(from("ann"));
    assert_eq!(Arc::strong_count(&connection), 3);
    drop(unpolled);
    let waiting = start(&mut service, from("ann")).await;
    assert_eq!(Arc::strong_count(&connection), 3);
    drop(waiting);
    assert_eq!(Arc::strong_count(&connection), 2);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert!(poll_once(inner.clone().ready()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_anywhere_leaves_the_inner_service_free() {
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    let inner = service_fn(move |_: Req| {
        calls.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(ms(5)).await;
            Ok::<_, Infallible>(())
        }
    });
    let inner = ConcurrencyLimit::new(inner, 1);
    let mut service = after(5).layer(inner.clone());
    // In the look-up until 5, waiting for the permit until 10, and called until 15.
    for (dropped_at, called_by_then) in [(2, 0), (7, 0), (12, 1)] {
        called.store(0, Ordering::Relaxed);
        let waiting = start(&mut service, from("ann")).await;
        let mut blocker = inner.clone();
        blocker.ready().await.unwrap();
        let unblock = tokio::spawn(async move {
            sleep(ms(10)).await;
            drop(blocker);
        });
        assert!(timeout(ms(dropped_at), waiting.end()).await.is_err());
        assert_eq!(called.load(Ordering::Relaxed), called_by_then);
        unblock.await.unwrap();
        assert!(poll_once(inner.clone().ready()).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_look_up_holds_is_given_back_before_the_service_is_called() {
    let connection = Arc::new(());
    let (pool, seen) = (connection.clone(), connection.clone());
    let mut service = ResolveLayer::new(move |_: &Req| {
        let connection = pool.clone();
        // As of a future that is written by hand, which keeps what it has until it is dropped.
        let mut done = false;
        std::future::poll_fn(move |cx| {
            let _ = &connection;
            if std::mem::replace(&mut done, true) {
                return Poll::Ready(Some(ClientKey::EVERYONE));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
    .layer(service_fn(move |_: Req| {
        ready(Ok::<_, Infallible>(Arc::strong_count(&seen)))
    }));
    // This test has one, the pool has one, and so have the service inside and the clone of it that is called.
    assert_eq!(call(&mut service, Request::new(())).await, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_moves_to_another_task_is_woken_there() {
    let (send, receive) = oneshot::channel();
    let receive = Arc::new(Mutex::new(Some(receive)));
    let mut service = ResolveLayer::new(move |_: &Req| {
        let receive = receive.lock().unwrap().take().unwrap();
        async move { receive.await.ok() }
    })
    .layer(who());
    let waiting = start(&mut service, Request::new(())).await;
    assert!(waiting.waits());
    let moved = tokio::spawn(waiting.end());
    sleep(ms(1)).await;
    send.send(ClientKey::from("ann")).unwrap();
    let answer = timeout(ms(1), moved).await.expect("nobody was woken");
    assert_eq!(answer.unwrap().unwrap().body(), "ann");
}

// ===== with limits =====

#[tokio::test(start_paused = true)]
async fn each_caller_that_was_found_has_a_limit_of_its_own() {
    let limit = TokenBucketLayer::new(Quota::per_minute(1))
        .per(Extension::<ClientKey>::new())
        .respond();
    let mut service = (after(5), limit).layer(who());
    for (caller, status) in [("ann", 200), ("bob", 200), ("ann", 429), ("bob", 429)] {
        let answer = call(&mut service, from(caller)).await.unwrap();
        assert_eq!(answer.status(), status, "{caller}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_request_whose_caller_was_not_found_is_the_limits_to_say() {
    let limit = || TokenBucketLayer::new(Quota::per_minute(1)).per(Extension::<ClientKey>::new());
    for (missing, statuses) in [
        (MissingKey::Share, [200, 429]),
        (MissingKey::Refuse, [401, 401]),
        (MissingKey::Pass, [200, 200]),
    ] {
        let limit = limit().missing_key(missing).respond();
        let mut service = (after(5), limit).layer(who());
        for status in statuses {
            let answer = call(&mut service, Request::new(())).await.unwrap();
            assert_eq!(answer.status(), status, "{missing:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_in_its_look_up_takes_nothing_from_the_limit() {
    let limit = TokenBucketLayer::new(Quota::per_minute(1)).per(Extension::<ClientKey>::new());
    let limiter = limit.limiter().clone();
    let mut service = (after(5), limit).layer(who());
    assert!(
        timeout(ms(3), call(&mut service, from("ann")))
            .await
            .is_err()
    );
    assert_eq!(limiter.keys(), 0);
    assert!(call(&mut service, from("ann")).await.is_ok());
    assert_eq!(limiter.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_makes_one_key_with_an_address_and_a_closure() {
    let route = |request: &Req| Some(ClientKey::from(request.uri().path()));
    let key = (Extension::<ClientKey>::new(), PeerIp, route);
    let limit = TokenBucketLayer::new(Quota::per_minute(1))
        .per(key)
        .missing_key(MissingKey::Share)
        .respond();
    let mut service = (after(5), limit).layer(who());
    for (name, peer, path, status) in [
        (Some("ann"), 1, "/", 200),
        (Some("ann"), 1, "/", 429),
        (Some("bob"), 1, "/", 200),
        (Some("ann"), 2, "/", 200),
        (Some("ann"), 1, "/report", 200),
        // Where one is missing, so is the key: these two share.
        (None, 1, "/", 200),
        (None, 2, "/report", 429),
    ] {
        let mut request = Request::get(path).body(()).unwrap();
        if let Some(name) = name {
            request
                .headers_mut()
                .insert("x-token", name.parse().unwrap());
        }
        let peer = PeerAddr(([192, 0, 2, peer], 4711).into());
        request.extensions_mut().insert(peer);
        let answer = call(&mut service, request).await.unwrap();
        assert_eq!(answer.status(), status, "{name:?} {peer:?} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_one_request_in_flight_and_the_next_waits_in_its_line() {
    let limit = ConcurrencyLayer::new(1)
        .until_response()
        .per(Extension::<ClientKey>::new())
        .max_wait(Duration::from_secs(1));
    let slow = service_fn(async |_: Req| {
        sleep(ms(10)).await;
        Ok::<_, Infallible>(Response::new(()))
    });
    let service = (after(5), limit).layer(slow);
    let begun = Instant::now();
    let calls = ["ann", "ann", "bob"].map(|name| {
        let service = service.clone();
        async move {
            service.oneshot(from(name)).await.unwrap();
            begun.elapsed()
        }
    });
    assert_eq!(join_all(calls).await, [ms(15), ms(25), ms(15)]);
}

// ===== doors =====

#[tokio::test(start_paused = true)]
async fn axum_takes_it_as_a_layer_and_its_errors_stay_infallible() {
    type AxumReq = axum::extract::Request;
    let limit = TokenBucketLayer::new(Quota::per_minute(1))
        .per(Extension::<ClientKey>::new())
        .missing_key(MissingKey::Refuse)
        .respond();
    let app: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(limit)
        .layer(ResolveLayer::new(|request: &AxumReq| {
            let token = request.headers().get("x-token").cloned();
            async move {
                sleep(ms(5)).await;
                match token.as_ref().map(|token| token.as_bytes()) {
                    Some(b"down") => Err(StatusCode::SERVICE_UNAVAILABLE.into_response()),
                    token => Ok(token.map(ClientKey::name)),
                }
            }
        }));
    for (name, status) in [
        (Some("ann"), 200),
        (Some("ann"), 429),
        (Some("bob"), 200),
        (Some("down"), 503),
        (None, 401),
    ] {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        if let Some(name) = name {
            request
                .headers_mut()
                .insert("x-token", name.parse().unwrap());
        }
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_takes_a_stack_with_it() {
    let service = ServiceBuilder::new()
        .layer(after(5))
        .layer(
            TokenBucketLayer::new(Quota::per_minute(1))
                .per(Extension::<ClientKey>::new())
                .respond(),
        )
        .service(who());
    let service = TowerToHyperService::new(service);
    let ask = |name| hyper::service::Service::call(&service, from(name));
    assert_eq!(ask("ann").await.unwrap().body(), "ann");
    assert_eq!(ask("ann").await.unwrap().status(), 429);
}
