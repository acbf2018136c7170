//! What a process keeps to without the store.

use super::*;
use crate::limit::{
    Quota,
    algorithm::{Algorithm, gcra::Gcra},
    decision::Decision,
    store::{call::LimitSpec, share::LocalShare},
};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_767_225_600 * SECOND;
/// 256 parts of 4 ms.
const PERIOD: u64 = 1_024_000_000;

fn bucket(quota: &Quota, processes: u64, taken: &[(u64, u64)]) -> LocalShare {
    LocalShare::new(&LimitSpec::bucket(quota), processes, taken, START)
}

fn window(processes: u64, taken: &[(u64, u64)]) -> LocalShare {
    let quota = Quota::new(100, Duration::from_nanos(PERIOD));
    LocalShare::new(&LimitSpec::window(&quota), processes, taken, START)
}

#[test]
fn a_bucket_decides_as_the_one_of_a_process() {
    let quota = Quota::per_second(50).burst(20);
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut share, gcra) = (bucket(&quota, 1, &[]), Gcra::new(&quota));
        let mut now = START;
        for _ in 0..1_000 {
            now += random.random_range(0..SECOND / 20);
            let (units, in_turn) = (random.random_range(1..=22), random.random());
            let wait = share.wait(units, now, in_turn);
            let taken = match in_turn {
                true => gcra.take_in_turn(units, now),
                false => gcra.take(units, now),
            };
            match taken {
                Ok(_) => {
                    assert_eq!(wait, Some(0));
                    share.take(units, now, now, in_turn);
                }
                Err(Decision::Wait(time)) => assert_eq!(wait.map(Duration::from_nanos), Some(time)),
                Err(_) => assert_eq!(wait, None),
            }
        }
    }
}

#[test]
fn a_window_is_never_over_and_used_up() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut share, mut log) = (window(2, &[]), Vec::<(u64, u64)>::new());
        let mut now = START;
        for _ in 0..1_000 {
            now += random.random_range(0..PERIOD / 20);
            let units = random.random_range(1..=52);
            let counting = log.iter().filter(|(start, _)| start + PERIOD > now);
            let used = counting.map(|(_, units)| units).sum::<u64>();
            match share.wait(units, now, false) {
                None => assert!(units > 50),
                Some(0) => {
                    assert!(used + units <= 50, "{used} and {units}");
                    let latest = now + random.random_range(0..PERIOD / 128);
                    let mark = share.take(units, now, latest, false);
                    assert!(mark.at >= latest && mark.at - latest < PERIOD / 256);
                    log.push((mark.at, units));
                }
                Some(wait) => {
                    assert!(used + units > 50, "{used} and {units}");
                    let mut later = share.wait(units, now + wait - 1, false);
                    assert_ne!(later, Some(0));
                    later = share.wait(units, now + wait, false);
                    assert_eq!(later, Some(0));
                    now += wait;
                }
            }
        }
    }
}

#[test]
fn what_was_taken_before_counts() {
    let quota = Quota::per_second(100);
    let share = &mut bucket(&quota, 2, &[(START - SECOND / 2, 30)]);
    assert_eq!(share.wait(20, START, false), Some(0));
    assert_eq!(share.wait(21, START, false), Some(SECOND / 50));
    // More than a share was taken from the store.
    let share = &mut window(2, &[(START - PERIOD / 2, 70), (START - PERIOD / 4, 10)]);
    assert_eq!(share.wait(1, START, false), Some(PERIOD / 2));
    assert_eq!(share.wait(41, START, false), Some(PERIOD / 4 * 3));
}

#[test]
fn what_is_given_back_is_free_again() {
    for mut share in [bucket(&Quota::per_second(100), 2, &[]), window(2, &[])] {
        let mut mark = share.take(50, START, START, false);
        assert_ne!(share.wait(1, START, false), Some(0));
        mark.cost = 20;
        share.give_back(&mark, START);
        assert_eq!(share.wait(20, START, false), Some(0));
        assert_ne!(share.wait(21, START, false), Some(0));
        // What has refilled, or has left, is not given twice.
        let later = START + 2 * SECOND;
        assert_eq!(share.wait(50, later, false), Some(0));
        share.give_back(&mark, later);
        share.take(50, later, later, false);
        assert_ne!(share.wait(1, later, false), Some(0));
    }
}

#[test]
fn charges_are_up_to_twice_the_share() {
    for (mut share, free) in [
        (bucket(&Quota::per_second(100), 2, &[]), 2 * SECOND),
        (window(2, &[]), PERIOD),
    ] {
        share.charge(60, START, START);
        assert_ne!(share.wait(1, START, false), Some(0));
        share.charge(u64::MAX, START, START);
        assert_ne!(share.wait(50, START + free - 1, false), Some(0));
        assert_eq!(share.wait(50, START + free, false), Some(0));
    }
}

#[test]
fn only_in_turn_makes_up_for_lateness() {
    let share = &mut bucket(&Quota::per_second(100).burst(1), 1, &[]);
    share.take(1, START, START, false);
    // 5 ms late for the next one, which comes after 10 ms.
    let late = START + SECOND / 100 + SECOND / 200;
    share.take(1, late, late, true);
    assert_eq!(share.wait(1, late + SECOND / 200, false), Some(0));
}

#[test]
fn nothing_of_a_share_is_no_wait() {
    for mut share in [
        bucket(&Quota::per_second(1), u64::MAX, &[]),
        window(1_000, &[]),
    ] {
        assert_eq!(share.wait(0, START, false), Some(0));
        assert_eq!(share.take(0, START, START, false).cost, 0);
    }
    // Less than one unit of a window for each.
    assert_eq!(window(1_000, &[]).wait(1, START, false), None);
    assert_eq!(
        bucket(&Quota::per_second(1), u64::MAX, &[]).wait(1, START, false),
        Some(0)
    );
}
