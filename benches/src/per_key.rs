//! Limits per client: a known key, the whole layer with its headers, memory, and a flood of new keys.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use axum::body::Body;
use cpu_time::ThreadTime;
use governor::{
    Quota as TheirQuota, RateLimiter,
    clock::{DefaultClock, QuantaClock},
    state::keyed::DefaultKeyedStateStore,
};
use tower::Layer;
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
use tower_throttle::{
    Clock, Quota,
    key::ClientKey,
    per_key::{PerKeyLayer, PerKeyLimiter},
};

use crate::{
    calls::{calls_from_peer, nothing},
    measure::{Contender, Group, IS_TRIAL},
};

const QUOTA: Quota = Quota::per_second(1_000_000_000);
const PLENTY: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");
/// Fewer in a trial.
pub(crate) const MILLION: u32 = if IS_TRIAL { 10_000 } else { 1_000_000 };
/// The longest that a look-up of a flood may take.
const SLOWEST: Duration = Duration::from_millis(10);

type Theirs = RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, QuantaClock>;

fn theirs() -> Theirs {
    RateLimiter::dashmap_with_clock(TheirQuota::per_second(PLENTY), QuantaClock::default())
}

pub(crate) fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

pub(crate) fn all() -> Vec<Group> {
    vec![known_keys(1_000), known_keys(MILLION), layer()]
}

/// One of `keys` that are all there, each in its turn.
fn known_keys(keys: u32) -> Group {
    let ours = PerKeyLimiter::new(QUOTA)
        .max_keys(2 * keys as usize)
        .clock(Clock::quanta());
    let theirs = theirs();
    for number in 0..keys {
        assert!(
            ours.try_acquire(address(number).into(), 1_000_000_000)
                .is_ok()
        );
        theirs.check_key(&address(number)).expect("plenty");
    }
    let name = if keys == MILLION {
        "a known key, of 1,000,000"
    } else {
        "a known key, of 1,000"
    };
    Group::new(name)
        .contender(
            "PerKeyLimiter",
            each(keys, move |key| ours.try_acquire(key.into(), 1).is_ok()),
        )
        .contender(
            "governor",
            each(keys, move |key| theirs.check_key(&key).is_ok()),
        )
        .ratio("PerKeyLimiter", "governor", 1.0)
}

pub(crate) fn each(keys: u32, check: impl Fn(IpAddr) -> bool + 'static) -> Contender {
    let mut number = 0u32;
    Box::new(move |count| {
        for _ in 0..count {
            // Odd, so that all have their turn, in an order that no cache foresees.
            number = number.wrapping_add(2_654_435_761);
            black_box(check(address(number % keys)));
        }
    })
}

fn layer() -> Group {
    let limiter = PerKeyLimiter::new(QUOTA).clock(Clock::quanta());
    let ours = PerKeyLayer::new(limiter, |request: &http::Request<()>| {
        let peer = request
            .extensions()
            .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()?;
        Some(ClientKey::from(peer.0.ip()))
    })
    .respond();
    let theirs = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(PLENTY.get())
        .use_headers()
        .finish()
        .expect("a configuration");
    let theirs: GovernorLayer<_, _, Body> = GovernorLayer::new(theirs);
    Group::new("a layer by address, with fields")
        .contender("nothing", calls_from_peer(nothing::<Body>()))
        .contender("PerKey", calls_from_peer(ours.layer(nothing::<Body>())))
        .contender(
            "tower_governor",
            calls_from_peer(theirs.layer(nothing::<Body>())),
        )
        .added("PerKey", "tower_governor", "nothing", 0.5)
}

/// The memory of a million clients, as counted by the allocator.
pub(crate) fn memory() {
    let held = |fill: &mut dyn FnMut()| {
        allocation_counter::measure(fill).bytes_current as f64 / f64::from(MILLION)
    };
    let mut ours = None;
    let our_bytes = held(&mut || {
        let limiter = PerKeyLimiter::new(Quota::per_day(10)).max_keys(MILLION as usize);
        for number in 0..MILLION {
            black_box(limiter.try_acquire(address(number).into(), 1).is_ok());
        }
        ours = Some(limiter);
    });
    let mut theirs = None;
    let their_bytes = held(&mut || {
        let limiter: RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock> =
            RateLimiter::keyed(TheirQuota::per_hour(NonZeroU32::MIN));
        for number in 0..MILLION {
            let _ = black_box(limiter.check_key(&address(number)));
        }
        theirs = Some(limiter);
    });
    println!("bytes a key, of 1,000,000 addresses");
    println!("  {:<42} {our_bytes:>8.1}", "PerKeyLimiter");
    println!("  {:<42} {their_bytes:>8.1}", "governor");
    let ratio = our_bytes / their_bytes;
    let verdict = if ratio <= 1.2 { "" } else { "  missed" };
    println!(
        "  {:<42} {:>8} {ratio:>8.2} {:>8.2}{verdict}",
        "PerKeyLimiter / governor", "", 1.2
    );
}

/// Ten million new keys with a bound of one million: the mean and the slowest lookup, and whether a blocked client stays
/// blocked.
pub(crate) fn flood() {
    let limiter = PerKeyLimiter::new(Quota::per_hour(2)).max_keys(MILLION as usize);
    let blocked = ClientKey::from("blocked");
    assert!(limiter.try_acquire(blocked, 2).is_ok());
    let bring = |limiter: &PerKeyLimiter, number| {
        black_box(limiter.try_acquire(address(number).into(), 1).is_ok());
    };
    let start = Instant::now();
    for number in 0..10 * MILLION {
        bring(&limiter, number);
        if number % 1_000 == 0 {
            assert!(
                limiter.try_acquire(blocked, 1).is_err(),
                "a flood freed a blocked caller"
            );
        }
    }
    let mean = start.elapsed() / (10 * MILLION);

    // Upkeep is done by those who bring new callers, and none of them may notice. In the time of this thread, so that it is not
    // whatever else the machine does that is measured; and apart from the mean, since that time takes long to read.
    let limiter = PerKeyLimiter::new(Quota::per_hour(2)).max_keys(MILLION as usize);
    let mut slowest = Duration::ZERO;
    let mut before = ThreadTime::now();
    for number in 0..10 * MILLION {
        bring(&limiter, number);
        let after = ThreadTime::now();
        slowest = slowest.max(after.duration_since(before));
        before = after;
    }
    println!("a flood of new keys: 10,000,000 against a bound of 1,000,000");
    println!("  {:<42} {:>8}", "callers kept", limiter.keys());
    println!("  {:<42} {:>8}", "mean, ns", mean.as_nanos());
    let verdict = if slowest <= SLOWEST { "" } else { "  missed" };
    println!(
        "  {:<42} {:>8} {:>8} {:>8}{verdict}",
        "slowest, µs",
        slowest.as_micros(),
        "",
        SLOWEST.as_micros()
    );
}
