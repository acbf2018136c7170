//! Whether the waits that callers are told are the least that do.

use std::{convert::Infallible, time::Duration};

use futures::future::join_all;
use http::{Request, Response};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, advance, sleep_until},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{Quota, TokenBucketLayer, key, per_key::PerKeyLimiter};

use crate::{answer, check, is_admitted, request, serve};

#[tokio::test(start_paused = true)]
async fn the_wait_of_a_decision_is_exact_to_the_nanosecond() {
    let quotas = [
        Quota::per_second(1),
        Quota::per_second(7).burst(3),
        Quota::per_minute(60).burst(10),
        Quota::per_hour(1_000),
        Quota::new(3, Duration::from_nanos(1_000_001)).burst(2),
    ];
    let mut waited = 0;
    for quota in quotas {
        let limiter = PerKeyLimiter::new(quota);
        for turn in 0..200 {
            let (caller, cost) = ((turn % 3).into(), turn % quota.burst_size() + 1);
            if let Err(rejected) = limiter.try_acquire(caller, cost) {
                let Some(wait) = rejected.retry_after() else {
                    continue;
                };
                let nanosecond = Duration::from_nanos(1);
                advance(wait - nanosecond).await;
                let rejected = limiter.try_acquire(caller, cost).unwrap_err();
                assert_eq!(rejected.retry_after(), Some(nanosecond), "{quota:?}");
                advance(nanosecond).await;
                assert!(limiter.try_acquire(caller, cost).is_ok(), "{quota:?}");
                waited += 1;
            }
        }
    }
    assert!(waited > 400, "{waited}");
}

/// What a caller is told in whole seconds: `Retry-After`, where it was refused, and the `t` of `RateLimit`.
#[derive(Debug)]
struct Told {
    admitted: bool,
    retry_after: Option<u64>,
    reset: u64,
}

impl Told {
    fn new(head: &str) -> Self {
        let field = |name| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name))
        };
        let reset = field("ratelimit: ").unwrap().split_once(";t=").unwrap().1;
        Self {
            admitted: is_admitted(head),
            retry_after: field("retry-after: ").map(|seconds| seconds.parse().unwrap()),
            reset: reset.parse().unwrap(),
        }
    }
}

/// A caller on a connection of its own.
struct ClientKey(BufReader<TcpStream>, u64);

impl ClientKey {
    async fn ask(&mut self) -> Told {
        let request = request(self.1);
        self.0.write_all(request.as_bytes()).await.unwrap();
        Told::new(&answer(&mut self.0).await)
    }

    /// As many as are let through at once, and what it is told of the first one that is not.
    async fn take_all(&mut self) -> (u64, Told) {
        let mut taken = 0;
        loop {
            let told = self.ask().await;
            if !told.admitted {
                return (taken, told);
            }
            taken += 1;
        }
    }
}

const UNIT: Duration = Duration::from_millis(1_500);
const BURST: u64 = 2;

/// Waits so many seconds from when it was told, by the caller's clock, which is no wait shorter than that of the server.
async fn wait(told_at: Instant, seconds: u64) {
    sleep_until(told_at + Duration::from_secs(seconds)).await;
}

#[tokio::test]
async fn who_waits_out_the_seconds_is_admitted_and_who_comes_one_early_is_not() {
    let start = Instant::now();
    let (address, log) = serve(Quota::new(1, UNIT).burst(BURST)).await;
    let caller = async |number| {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut caller = ClientKey(BufReader::new(stream), number);
        let (_, told) = caller.take_all().await;
        (caller, told, Instant::now())
    };
    // Two seconds are told, and 1.5 are the wait.
    let obeys = (0..10).map(async |number| {
        let (mut caller, told, now) = caller(number).await;
        let retry_after = told.retry_after.unwrap();
        wait(now, retry_after - 1).await;
        let is_early_refused = !caller.ask().await.admitted;
        wait(now, retry_after).await;
        assert!(caller.ask().await.admitted, "{told:?}");
        is_early_refused
    });
    // In three seconds all is there again.
    let waits_for_all = (10..20).map(async |number| {
        let (mut caller, told, now) = caller(number).await;
        wait(now, told.reset).await;
        let (taken, told) = caller.take_all().await;
        assert!(taken >= BURST, "{taken} {told:?}");
    });
    let is_a_second_early = (20..30).map(async |number| {
        let (mut caller, told, now) = caller(number).await;
        wait(now, told.reset - 1).await;
        caller.take_all().await.0 < BURST
    });
    let (obeyed, _, early) = tokio::join!(
        join_all(obeys),
        join_all(waits_for_all),
        join_all(is_a_second_early)
    );
    // All of them, but on a machine that stood still for the half second that they are early. Whether it did is in the record,
    // by which each refusal and each admission is right or wrong.
    for early in [obeyed, early] {
        assert!(early.contains(&true), "who comes early is let in");
    }
    for seen in log.lock().unwrap().values() {
        check(start, seen, UNIT, BURST);
    }
}

#[tokio::test(start_paused = true)]
async fn the_seconds_that_are_told_are_the_least_that_do_at_any_fraction_of_one() {
    let layer = TokenBucketLayer::new(Quota::new(7, Duration::from_secs(60)).burst(4))
        .per(key::Header::new("x-caller"))
        .cost(|request: &Request<u64>| *request.body())
        .respond();
    let server = layer.layer(service_fn(async |_: Request<u64>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let ask = async |caller: &str, cost: u64| {
        let request = Request::get("/").header("x-caller", caller).body(cost);
        let response = server.clone().oneshot(request.unwrap()).await.unwrap();
        let fields = response.headers().iter();
        let lines = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let status = format!("HTTP/1.1 {} -", response.status().as_u16());
        Told::new(&lines.fold(status, |head, line| head + "\r\n" + &line))
    };
    let second = Duration::from_secs(1);
    for step in 0..80 {
        let [one, all] = ["one", "all"].map(|name| format!("{name} {step}"));
        assert!(ask(&one, 4).await.admitted);
        assert!(ask(&all, 4).await.admitted);
        // A unit takes 8.57 seconds, so that none is there yet.
        advance(Duration::from_millis(step * 97)).await;
        let for_one = ask(&one, 1).await.retry_after.unwrap();
        let told = ask(&all, 4).await;
        assert_eq!(told.retry_after, Some(told.reset), "the wait for all");
        let for_all = told.reset;

        advance(second * (for_one as u32 - 1)).await;
        assert!(!ask(&one, 1).await.admitted);
        advance(second).await;
        assert!(ask(&one, 1).await.admitted);
        advance(second * (for_all - for_one - 1) as u32).await;
        assert!(!ask(&all, 4).await.admitted);
        advance(second).await;
        assert!(ask(&all, 4).await.admitted);
    }
}
