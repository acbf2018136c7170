//! Each kind against a simple model of it.

mod settling;

use proptest::prelude::*;

use super::*;
use crate::limit::{
    algorithm::{Algorithm, gcra::Gcra},
    quota::Quota,
};

const SECOND: u64 = 1_000_000_000;

/// Every start, kept for ever, and the rule read aloud.
#[derive(Default)]
struct Model {
    starts: Vec<(u64, u64)>,
}

impl Model {
    fn in_period(&self, now: u64) -> u64 {
        let recent = self.starts.iter().filter(|(at, _)| at + SECOND > now);
        recent.map(|(_, units)| units).sum()
    }

    /// The most that started within any period, at whatever offset.
    fn fullest(&self) -> u64 {
        let within = |from: u64| {
            let starts = self.starts.iter();
            let starts = starts.filter(move |(at, _)| (from..from + SECOND).contains(at));
            starts.map(|(_, units)| units).sum()
        };
        let sums = self.starts.iter().map(|&(from, _)| within(from));
        sums.max().unwrap_or(0)
    }
}

fn window(units: u64) -> (Window, <Window as Count>::Rule) {
    let rule = Window::rule(Quota::per_second(units), "a");
    (Window::default(), rule)
}

#[allow(clippy::unwrap_used, reason = "a test")]
fn wait(rejected: &Rejected) -> u64 {
    let wait = rejected.retry_after().unwrap();
    wait.as_nanos().try_into().unwrap()
}

fn steps(most: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![
        0..10_000_000u64,
        0..2 * SECOND,
        Just(SECOND),
        0..100 * SECOND
    ];
    prop::collection::vec((0..=most, pause), 1..150)
}

#[test]
fn a_row_is_as_small_as_the_documentation_says() {
    let caller = size_of::<crate::limit::key::ClientKey>();
    assert_eq!(caller, 16);
    assert_eq!(size_of::<Bucket>(), 40 - caller);
    assert_eq!(size_of::<InFlight>(), 24 - caller);
    assert_eq!(size_of::<Window>(), 64 - caller);
    assert_eq!(size_of::<crate::limit::algorithm::window::StartsAt>(), 16);
}

proptest! {
    #[test]
    fn a_small_window_is_exact_and_its_promised_wait_too(units in 1..40u64, steps in steps(12)) {
        let (mut window, rule) = window(units);
        let (mut model, mut now) = (Model::default(), 0);
        for (cost, pause) in steps {
            now += pause;
            let want = Want::at_once(cost.min(units));
            let fits = want.cost == 0 || model.in_period(now) + want.cost <= units;
            match window.take(&rule, want, now) {
                Ok(_) => prop_assert!(fits),
                Err(short) => {
                    prop_assert!(!fits);
                    let wait = wait(&short);
                    prop_assert!(window.take(&rule, want, now + wait - 1).is_err());
                    now += wait;
                    prop_assert!(window.take(&rule, want, now).is_ok());
                }
            }
            model.starts.push((now, want.cost));
            prop_assert_eq!(window.used(now), model.in_period(now));
        }
        prop_assert!(model.fullest() <= units);
        prop_assert!(window.starts() <= units as usize);
    }

    #[test]
    fn a_large_window_is_never_over_and_holds_a_unit_a_part_too_long_at_most(
        units in 257..2_000u64,
        steps in steps(600),
    ) {
        let (mut window, rule) = window(units);
        let (mut model, mut now) = (Model::default(), 0);
        for (cost, pause) in steps {
            now += pause;
            let want = Want::at_once(cost.min(units));
            let could = model.in_period(now.saturating_sub(SECOND / 256 + 1)) + want.cost <= units;
            match window.take(&rule, want, now) {
                Ok(_) => {}
                Err(short) => {
                    prop_assert!(!could);
                    now += wait(&short);
                    prop_assert!(window.take(&rule, want, now).is_ok());
                }
            }
            model.starts.push((now, want.cost));
        }
        prop_assert!(model.fullest() <= units, "{} of {units}", model.fullest());
        prop_assert!(window.starts() <= 258, "{}", window.starts());
    }

    #[test]
    fn a_line_is_told_when_its_last_unit_starts(
        units in 1..20u64,
        ahead in 0..100u64,
        started in prop::collection::vec(0..SECOND / 10, 0..20),
    ) {
        let (mut window, rule) = window(units);
        let mut now = 0;
        for pause in started {
            now += pause;
            let _ = window.take(&rule, Want::at_once(1), now);
        }
        window.adopt(&rule, now);
        let want = Want { ahead, ..Want::at_once(1) };
        let room = window.room(&rule, want, now);
                let promised = now + room.map_or_else(|short| wait(&short), |()| 0);
        let mut at = now;
        for _ in 0..=ahead {
            while let Err(short) = window.take(&rule, Want::at_once(1), at) {
                at += wait(&short);
            }
        }
        prop_assert_eq!(at, promised);
    }

    #[test]
    fn a_bucket_decides_as_the_plain_one_does(
            units in 1..40u64,
            burst in 1..20u64,
            steps in steps(12),
        ) {
        let quota = Quota::per_second(units).burst(burst);
        let (plain, rule) = (Gcra::new(&quota), Bucket::rule(quota, "a"));
        let (mut bucket, mut now) = (Bucket::default(), 0);
        for (cost, pause) in steps {
            now += pause;
            let want = Want::at_once(cost.min(burst));
            let expected = plain.take(want.cost, now);
            prop_assert_eq!(bucket.take(&rule, want, now).is_ok(), expected.is_ok());
        }
    }

    #[test]
    fn two_at_once_take_all_or_nothing(one in 1..20u64, two in 1..20u64, steps in steps(12)) {
        type Both = (Bucket, Window);
        let (bucket, window) = (Quota::per_second(one), Quota::per_second(two));
        let rule = Both::rule((bucket, window), ("a", "b"));
        let (mut both, mut now) = (Both::default(), 0);
        let (mut alone, mut beside) = (Bucket::default(), Window::default());
        for (cost, pause) in steps {
            now += pause;
            let want = Want::at_once(cost.min(one).min(two));
            alone.adopt(&rule.0, now);
            beside.adopt(&rule.1, now);
            let fits = alone.room(&rule.0, want, now).is_ok();
                let fits = fits && beside.room(&rule.1, want, now).is_ok();
            prop_assert_eq!(both.take(&rule, want, now).is_ok(), fits || want.cost == 0);
            if fits {
                alone.add(&rule.0, want, now);
                beside.add(&rule.1, want, now);
            }
            prop_assert_eq!(both.used(now), alone.used(now).max(beside.used(now)));
        }
    }

    /// What was settled lower than reserved counts as if it had been reserved so at first.
    #[test]
    fn a_window_that_was_settled_holds_what_it_really_was(
        units in 1..40u64,
        steps in prop::collection::vec((0..12u64, 0..12u64, 0..SECOND / 2, 0..2 * SECOND), 1..100),
    ) {
        let (mut window, rule) = window(units);
        let (mut model, mut now) = (Model::default(), 0);
        for (cost, real, pause, took) in steps {
            now += pause;
            let want = Want::at_once(cost.min(units));
            let Ok(mark) = window.take(&rule, want, now) else { continue };
            let real = real.min(want.cost);
            model.starts.push((now, real));
            // The next one comes while this one is under way, or after it.
            now += took;
            window.settle(&rule, (want.cost, mark), real, now);
            window.adopt(&rule, now);
            prop_assert_eq!(window.used(now), model.in_period(now));
        }
    }

    #[test]
    fn no_settlement_owes_more_than_twice_what_there_is(
        units in 1..40u64,
        reals in prop::collection::vec(any::<u64>(), 1..20),
    ) {
        let quota = Quota::per_second(units);
        let rule = <(Bucket, Window) as Count>::rule((quota, quota), ("a", "b"));
        let mut both = <(Bucket, Window)>::default();
        for real in reals {
            if let Ok(mark) = both.take(&rule, Want::at_once(0), 0) {
                both.settle(&rule, (0, mark), real, 0);
            }
            prop_assert!(both.used(0) <= 2 * units);
        }
        prop_assert!(both.take(&rule, Want::at_once(units), 2 * SECOND + SECOND / 100).is_ok());
    }

    #[test]
    fn no_quota_and_no_instant_is_too_large(
        plan in (any::<u64>(), any::<u64>(), any::<u64>()),
        other in (any::<u64>(), any::<u64>(), any::<u64>()),
        steps in prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()),
            1..30,
        ),
    ) {
        let quota = |(units, nanos, burst): (u64, u64, u64)| {
            Quota::new(units, std::time::Duration::from_nanos(nanos)).burst(burst)
        };
        type Both = (Bucket, Window);
        let rule = |plan| Both::rule((quota(plan), quota(plan)), ("a", "b"));
        let rules = [rule(plan), rule(other)];
        let mut both = Both::default();
        let mut instants: Vec<u64> = steps.iter().map(|(.., now, _)| *now).collect();
        instants.sort_unstable();
        for ((cost, real, _, first), now) in steps.into_iter().zip(instants) {
            let rule = &rules[usize::from(first)];
            let want = Want { ahead: real, ..Want::at_once(cost) };
            let _ = both.take(rule, want, now);
            if let Ok(mark) = both.take(rule, Want::at_once(cost), now) {
                both.settle(rule, (cost, mark), real, now);
            }
            let left = both.left(rule, now);
            assert!(Both::standings(&left).count() <= 2);
            let _ = (both.idle_at(), both.used(now));
        }
    }

    /// With what each request really cost, no more starts than the burst and the refill, in
    /// whatever order costs are settled.
    #[test]
    fn a_bucket_that_was_settled_is_never_over(
        units in 2..12u64,
        steps in prop::collection::vec(
            (0..4u8, any::<prop::sample::Index>(), 1..12u64, any::<bool>()),
            1..200,
        ),
    ) {
        let rule = Bucket::rule(Quota::per_second(units), "a");
        let (mut bucket, mut now) = (Bucket::default(), SECOND);
        let mut under_way = Vec::new();
        let mut starts: Vec<(u64, u64)> = Vec::new();
        for (step, which, cost, counts) in steps {
            match step {
                0 | 1 => {
                    let want = Want::at_once(cost.min(units));
                    if let Ok(mark) = bucket.take(&rule, want, now) {
                        under_way.push((starts.len(), want.cost, mark));
                        starts.push((now, want.cost));
                    }
                }
                2 if !under_way.is_empty() => {
                    let (start, cost, mark) = under_way.swap_remove(which.index(under_way.len()));
                    let real = if counts { cost } else { 0 };
                    bucket.settle(&rule, (cost, mark), real, now);
                    starts[start].1 = real;
                }
                _ => now += cost * SECOND / units / 4,
            }
        }
        for (start, cost, mark) in under_way {
            bucket.settle(&rule, (cost, mark), 0, now);
            starts[start].1 = 0;
        }
        for (first, &(from, _)) in starts.iter().enumerate() {
            let mut sum = 0;
            for &(to, cost) in &starts[first..] {
                sum += u128::from(cost);
                let refilled = u128::from(to - from) * u128::from(units);
                let most = u128::from(units) * u128::from(SECOND) + refilled;
                prop_assert!(sum * u128::from(SECOND) <= most);
            }
        }
    }
}

/// Of two that took five each, the first was nothing after all, and all is there again when the
/// second is settled as nothing.
#[test]
fn what_has_refilled_is_not_given_back_on_top() {
    let rule = Bucket::rule(Quota::per_second(10), "a");
    let mut bucket = Bucket::default();
    let [first, second] = [5, 5].map(|cost| bucket.take(&rule, Want::at_once(cost), 0).unwrap());
    bucket.settle(&rule, (5, first), 0, 0);
    let later = SECOND / 2;
    assert_eq!(bucket.used(later), 0);
    assert!(bucket.take(&rule, Want::at_once(10), later).is_ok());
    bucket.settle(&rule, (5, second), 0, later);
    assert_eq!(bucket.used(later), 10);
    assert!(bucket.take(&rule, Want::at_once(1), later).is_err());
}

/// However long responses take: what was taken before them refills first.
#[test]
fn a_bucket_in_debt_gives_back_what_slow_answers_did_not_cost() {
    let rule = Bucket::rule(Quota::per_second(10), "a");
    let mut bucket = Bucket::default();
    let first = bucket.take(&rule, Want::at_once(9), 0);
    let second = bucket.take(&rule, Want::at_once(1), 0).unwrap();
    assert!(first.is_ok());
    // After half a second the second's one unit has its turn in another half.
    bucket.settle(&rule, (1, second), 0, SECOND / 2);
    assert_eq!(bucket.used(SECOND / 2), 4);
}

const HOUR: u64 = 3_600 * SECOND;

/// Takes one unit of each of these quotas in turn, at one instant, and returns how many it got.
fn alternating<K: Kind>(count: &mut K, plans: [K::Plan; 2], names: K::Names, now: u64) -> u64 {
    let rules = plans.map(|plan| K::rule(plan, names));
    let takes = (0..10_000).map(|number| count.take(&rules[number % 2], Want::at_once(1), now));
    takes.filter(Result::is_ok).count() as u64
}

#[test]
fn alternating_quotas_admit_no_more_than_the_larger() {
    let plans = [Quota::per_hour(1_000), Quota::per_hour(10)];
    let mut bucket = Bucket::default();
    assert_eq!(alternating(&mut bucket, plans, "a", HOUR), 1_000);
    // It refills by the quota of the moment: six minutes give one unit of ten an hour.
    assert!(alternating(&mut bucket, plans, "a", HOUR + HOUR / 10) <= 100);
    assert!(alternating(&mut bucket, plans, "a", 200 * HOUR) <= 1_000);
    let mut window = Window::default();
    assert_eq!(alternating(&mut window, plans, "a", HOUR), 1_000);
    let mut in_flight = InFlight::<crate::limit::engine::UntilResponse>::default();
    assert_eq!(alternating(&mut in_flight, [1_000, 10], None, HOUR), 1_000);
    let mut both = (Bucket::default(), Window::default());
    let pairs = plans.map(|plan| (plan, plan));
    assert_eq!(alternating(&mut both, pairs, ("a", "b"), HOUR), 1_000);
}

#[test]
fn alternating_bursts_and_rates_create_no_units() {
    let (large, small) = (Quota::per_hour(1_000), Quota::per_hour(10));
    let all = [large, small, small.burst(1_000), large.burst(10)];
    for plans in [&[large, large.burst(10)][..], &[large, small], &all] {
        let rules: Vec<_> = plans.iter().map(|plan| Bucket::rule(*plan, "a")).collect();
        let mut bucket = Bucket::default();
        let mut sum = 0;
        let mut take = |now: u64| {
            let takes = rules.iter().cycle().take(10_000);
            let takes = takes.map(|rule| bucket.take(rule, Want::at_once(1), now));
            sum += takes.filter(Result::is_ok).count();
            sum
        };
        assert_eq!(take(HOUR), 1_000, "{plans:?}");
        // In 100 s the fastest gives 28.
        for second in 1..=100 {
            let sum = take(HOUR + second * SECOND);
            assert!(sum <= 1_000 + 28, "{sum} of {plans:?}");
        }
    }
}

#[test]
fn a_larger_burst_gets_only_what_has_refilled() {
    let (large, small) = (Quota::per_hour(1_000), Quota::per_hour(10));
    let [large, small, wide] = [large, small, small.burst(600)].map(|plan| Bucket::rule(plan, "a"));
    let mut bucket = Bucket::default();
    assert!(bucket.take(&large, Want::at_once(1_000), HOUR).is_ok());
    assert!(bucket.take(&small, Want::at_once(1), HOUR).is_err());
    assert!(bucket.take(&wide, Want::at_once(1), HOUR).is_err());
    let now = 3 * HOUR;
    assert!(bucket.take(&wide, Want::at_once(21), now).is_err());
    assert!(bucket.take(&small, Want::at_once(10), now).is_ok());
    assert!(bucket.take(&wide, Want::at_once(1), now).is_err());
}

#[test]
fn alternating_small_quotas_lock_nobody_out() {
    let rules = [1_000, 10, 20].map(|units| Bucket::rule(Quota::per_hour(units), "a"));
    let [large, small, other] = &rules;
    let mut bucket = Bucket::default();
    assert!(bucket.take(large, Want::at_once(1_000), HOUR).is_ok());
    for minute in 0..60 {
        bucket.adopt(small, HOUR + minute * 60 * SECOND);
        bucket.adopt(other, HOUR + minute * 60 * SECOND + 30 * SECOND);
    }
    // Half an hour by either gives 15.
    assert!(bucket.take(other, Want::at_once(14), 2 * HOUR).is_ok());
    assert!(bucket.take(other, Want::at_once(2), 2 * HOUR).is_err());
    assert!(bucket.take(large, Want::at_once(2), 2 * HOUR).is_err());
}

#[test]
fn a_smaller_quota_in_between_changes_nothing() {
    let [large, small] = [1_000, 10].map(|units| Bucket::rule(Quota::per_hour(units), "a"));
    let mut bucket = Bucket::default();
    assert!(bucket.take(&large, Want::at_once(700), HOUR).is_ok());
    for _ in 0..10 {
        bucket.adopt(&small, HOUR);
        assert_eq!(bucket.used(HOUR), 700);
        bucket.adopt(&Bucket::own(small), HOUR);
        bucket.adopt(&large, HOUR);
        assert_eq!(bucket.used(HOUR), 700);
    }
    assert!(bucket.take(&large, Want::at_once(300), HOUR).is_ok());
    assert!(bucket.take(&large, Want::at_once(1), HOUR).is_err());
}

#[test]
fn a_smaller_quota_locks_out_for_its_own_time_only() {
    let [large, small] = [1_000, 10].map(|units| Bucket::rule(Quota::per_hour(units), "a"));
    let (mut bucket, mut now) = (Bucket::default(), HOUR);
    assert!(bucket.take(&large, Want::at_once(1_000), now).is_ok());
    for _ in 0..5 {
        assert!(bucket.take(&small, Want::at_once(1), now).is_err());
        now += HOUR;
        assert!(bucket.take(&small, Want::at_once(10), now).is_ok());
    }
    // 50 have refilled, and were taken again.
    assert!(bucket.take(&large, Want::at_once(1), now).is_err());
    now += HOUR;
    assert!(bucket.take(&large, Want::at_once(1_000), now).is_ok());
    // Nothing is beyond the quota after so long, and takings can be given back.
    now += 1_000 * HOUR;
    let mark = bucket.take(&small, Want::at_once(10), now).unwrap();
    bucket.give_back(10, mark, now);
    assert_eq!(bucket.used(now), 0);
}
