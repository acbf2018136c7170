//! A bucket whose costs are settled, against one that knew them when they were taken.

use std::collections::VecDeque;

use proptest::{prelude::*, sample::Index};

use super::*;

/// The state of a bucket, computed again from the first request on with what each is known to have
/// cost by now.
#[derive(Default)]
struct Replay(Vec<Event>);

#[derive(Clone, Copy)]
enum Event {
    Took { at: u64, units: u64 },
    Changed { at: u64, plan: usize },
}

/// How long a unit takes, and how many there are.
const PLANS: [(u64, u64); 3] = [(SECOND / 10, 30), (SECOND / 1_000, 400), (60 * SECOND, 3)];

impl Replay {
    /// Nanoseconds until it is full.
    fn debt(&self, now: u64) -> u64 {
        let (mut unit, mut full_at) = (PLANS[0].0, 0_u64);
        for event in &self.0 {
            match *event {
                Event::Took { at, units } => full_at = full_at.max(at) + units * unit,
                Event::Changed { at, plan } => {
                    let (next, _) = PLANS[plan];
                    let debt = u128::from(full_at.saturating_sub(at)) * u128::from(next);
                    let debt = debt.div_ceil(unit.into());
                    (unit, full_at) = (next, at + debt as u64);
                }
            }
        }
        full_at.saturating_sub(now)
    }
}

fn rule((unit, burst): (u64, u64)) -> <Bucket as Count>::Rule {
    let quota = Quota::new(1, std::time::Duration::from_nanos(unit));
    Bucket::rule(quota.burst(burst), "a")
}

#[derive(Debug, Clone)]
enum Step {
    Take(u64),
    /// Which of those under way, and what it has cost, in eighths of what was reserved.
    Settle(Index, u64),
    Pass(u64),
    Change(usize),
}

fn step(plans: usize) -> impl Strategy<Value = Step> {
    let pause = prop_oneof![Just(0), 0..SECOND / 10, 0..3 * SECOND, 0..90 * SECOND];
    prop_oneof![
        4 => (1..30u64).prop_map(Step::Take),
        4 => (any::<Index>(), prop_oneof![Just(0), Just(8), 0..12u64])
            .prop_map(|(which, real)| Step::Settle(which, real)),
        2 => pause.prop_map(Step::Pass),
        1 => (0..plans).prop_map(Step::Change),
    ]
}

/// Runs the steps, and shows after each by how much the bucket is more in debt than it should be.
fn run(steps: Vec<Step>, mut check: impl FnMut(u64, u64)) {
    let (mut bucket, mut now, mut plan) = (Bucket::default(), SECOND, 0);
    let mut replay = Replay::default();
    let mut under_way = Vec::new();
    bucket.adopt(&rule(PLANS[0]), now);
    for step in steps {
        match step {
            Step::Take(units) => {
                let (at, want) = (now, Want::at_once(units));
                if let Ok(mark) = bucket.take(&rule(PLANS[plan]), want, now) {
                    under_way.push((replay.0.len(), units, mark, PLANS[plan]));
                    replay.0.push(Event::Took { at, units });
                }
            }
            Step::Settle(which, real) if !under_way.is_empty() => {
                let (event, reserved, mark, by) =
                    under_way.swap_remove(which.index(under_way.len()));
                let (at, units) = (now, reserved * real / 8);
                let before = bucket.full_at(now);
                bucket.settle(&rule(by), (reserved, mark), units, now);
                if units > reserved {
                    // As much of it as is counted, which is bounded.
                    let over = (bucket.full_at(now) - before) / PLANS[plan].0;
                    replay.0.push(Event::Took { at, units: over });
                } else if let Event::Took { units: took, .. } = &mut replay.0[event] {
                    *took = units;
                }
            }
            Step::Change(next) => {
                plan = next;
                bucket.adopt(&rule(PLANS[plan]), now);
                replay.0.push(Event::Changed { at: now, plan });
            }
            Step::Pass(nanos) => now += nanos,
            Step::Settle(..) => {}
        }
        // The row of an idle key may be removed at any time.
        if bucket.idle_at() <= now {
            bucket = Bucket::after(bucket.given());
            bucket.adopt(&rule(PLANS[plan]), now);
        }
        check(bucket.full_at(now) - now, replay.debt(now));
    }
}

impl Bucket {
    fn full_at(&self, now: u64) -> u64 {
        self.idle_at().max(now)
    }
}

proptest! {
    /// Whatever the order of takings, settlements and plans: so no more is ever admitted than by
    /// one who knew all costs at first.
    #[test]
    fn a_bucket_never_gives_back_more_than_it_was_not_worth(
        steps in prop::collection::vec(step(PLANS.len()), 1..120),
    ) {
        run(steps, |debt, least| assert!(debt >= least, "{debt} is less than {least}"));
    }

    /// Where costs are settled in the order in which they were taken, all that has not refilled yet
    /// is given back.
    #[test]
    fn a_bucket_refills_what_was_taken_first_first(
        steps in prop::collection::vec((1..30u64, 0..9u64, 0..SECOND, 1..5usize), 1..60),
    ) {
        let rule = rule(PLANS[0]);
        let (mut bucket, mut now) = (Bucket::default(), SECOND);
        // Those under way, and what of each has not refilled.
        let (mut under_way, mut missing) = (VecDeque::new(), VecDeque::new());
        for (units, real, pause, most) in steps {
            if let Ok(mark) = bucket.take(&rule, Want::at_once(units), now) {
                under_way.push_back((units, mark, units * real / 8));
                missing.push_back(units * PLANS[0].0);
            }
            now += pause;
            let mut refills = pause;
            for missing in &mut missing {
                let refilled = refills.min(*missing);
                *missing -= refilled;
                refills -= refilled;
            }
            while under_way.len() >= most {
                let Some((units, mark, real)) = under_way.pop_front() else { break };
                bucket.settle(&rule, (units, mark), real, now);
                let first = missing.len() - under_way.len() - 1;
                missing[first] = missing[first].saturating_sub((units - real) * PLANS[0].0);
            }
            prop_assert_eq!(bucket.full_at(now) - now, missing.iter().sum::<u64>());
        }
    }
}
