//! What a flood of new callers holds, in a process of its own, whose allocator counts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
};

use tower_throttle::{Quota, key::ClientKey, per_key::PerKeyLimiter};

const MILLION: u32 = 1_000_000;

/// Two each, and nobody has another one before this is over.
const QUOTA: Quota = Quota::per_day(2);

fn caller(number: u32) -> ClientKey {
    IpAddr::from(Ipv4Addr::from(number)).into()
}

/// What this process has in memory, in KiB.
fn resident() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// A few seconds, also where it is built without optimisation.
#[test]
fn ten_million_new_callers_take_the_memory_of_the_million_that_is_the_bound_and_free_nobody() {
    let resident_before = resident();
    let mut limiter = None;
    let held = allocation_counter::measure(|| {
        let limiter = limiter.insert(PerKeyLimiter::new(QUOTA).max_keys(MILLION as usize));
        let blocked = ClientKey::from("blocked");
        assert!(limiter.try_acquire(blocked, 2).is_ok());
        let mut admitted = 0;
        for number in 0..10 * MILLION {
            admitted += u32::from(limiter.try_acquire(caller(number), 1).is_ok());
            assert!(limiter.keys() <= MILLION as usize, "{number}");
            if number % 1_000 == 0 {
                assert!(limiter.try_acquire(blocked, 1).is_err(), "{number}");
            }
        }
        assert_eq!(limiter.keys(), MILLION as usize);
        // Those who found no place share some buckets, of two units each.
        assert!(
            (MILLION - 1..MILLION + 10_000).contains(&admitted),
            "{admitted}"
        );
    });
    let resident = resident().saturating_sub(resident_before) * 1_024 / MILLION;
    let limiter = limiter.unwrap();
    // Who came first has a count that no newcomer has reset.
    for number in 0..1_000 {
        assert!(limiter.try_acquire(caller(number), 2).is_err(), "{number}");
        assert!(limiter.try_acquire(caller(number), 1).is_ok(), "{number}");
    }

    // The docs say 51 bytes, as the allocator counts them. What it keeps itself comes on top.
    let most = held.bytes_max as f64 / f64::from(MILLION);
    println!("{most:.1} bytes a caller at most, and {resident} of the process's memory");
    assert!((0.9 * 51.0..=1.1 * 51.0).contains(&most), "{most}");
    assert!(resident <= 51 * 5 / 4, "{resident}");
}

#[test]
fn the_bound_holds_for_threads_that_bring_callers_at_one_time() {
    const BOUND: usize = 10_000;
    let limiter = PerKeyLimiter::new(QUOTA).max_keys(BOUND);
    thread::scope(|scope| {
        for part in 0..4 {
            let limiter = &limiter;
            scope.spawn(move || {
                for number in 0..50_000 {
                    let _ = limiter.try_acquire(caller(part << 24 | number), 1);
                    assert!(limiter.keys() <= BOUND);
                }
            });
        }
    });
    assert_eq!(limiter.keys(), BOUND);
}
