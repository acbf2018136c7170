//! The state of a name in memory, and the store of tests.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::limit::{
    Quota,
    algorithm::{Algorithm, gcra::Gcra},
    decision::Decision,
    store::call::{Call, ChargedUnits, Reply, StateKey, Store},
};

const SECOND: u64 = 1_000_000_000;
const START: u64 = Model::START * 1_000;
const GRACE: Duration = Duration::from_secs(1);

fn bucket(capacity: u64, unit_nanos: u64) -> LimitSpec {
    LimitSpec::Bucket {
        capacity,
        unit_nanos,
    }
}

/// Of 256 parts of 4 ms, so that `START` is not rounded.
const PERIOD: u64 = 1_024_000_000;

fn window(capacity: u64) -> LimitSpec {
    LimitSpec::Window {
        capacity,
        period_micros: PERIOD / 1_000,
    }
}

/// Takes for process 1, which would wait for 10 s.
fn take(limits: &[LimitSpec], cost: &[u64]) -> Take {
    Take {
        key: StateKey::of_name("name"),
        limits: limits.into(),
        process: 1,
        cost: cost.to_vec(),
        more: vec![0; cost.len()],
        hold: Duration::ZERO,
        is_in_turn: false,
        patience: Duration::from_secs(10),
        claim: Duration::from_secs(2),
        not_after: None,
        seen: None,
        grace: GRACE,
        returned: Vec::new(),
        charged: Vec::new(),
        pause: Duration::ZERO,
    }
}

fn of_process(process: u64, take: Take) -> Take {
    Take { process, ..take }
}

fn wait(millis: u64) -> Outcome {
    Outcome::Wait(Duration::from_millis(millis))
}

/// Returns the units that were granted of each limit.
fn granted(outcome: &Outcome) -> Option<Vec<u64>> {
    match outcome {
        Outcome::Granted { marks, .. } => Some(marks.iter().map(|mark| mark.cost).collect()),
        _ => None,
    }
}

fn marks(outcome: Outcome) -> Vec<(usize, Mark)> {
    match outcome {
        Outcome::Granted { marks, .. } => marks.into_iter().enumerate().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_limits_are_taken_or_none() {
    let limits = [bucket(10, SECOND), window(5)];
    let mut state = NameState::default();
    let outcome = state.take(&take(&limits, &[4, 4]), START).outcome;
    assert_eq!(granted(&outcome), Some(vec![4, 4]));
    let short = Take {
        patience: Duration::ZERO,
        ..take(&limits, &[4, 4])
    };
    assert_eq!(state.take(&short, START).outcome, wait(1_024));
    let outcome = state.take(&take(&limits, &[6, 1]), START).outcome;
    assert_eq!(granted(&outcome), Some(vec![6, 1]));
    assert_eq!(
        state.take(&take(&limits, &[11, 1]), START).outcome,
        Outcome::Never
    );
}

#[test]
fn a_state_that_was_seen_and_is_gone_is_lost() {
    let limits = [window(5)];
    let mut state = NameState::default();
    let seen = Some(state.take(&take(&limits, &[5]), START).version);
    let again = Take {
        seen,
        ..take(&limits, &[1])
    };
    assert_eq!(state.take(&again, START).outcome, wait(1_024));
    // All is gone: closed for the grace, also for processes that have seen nothing.
    let mut state = NameState::default();
    let later = START + SECOND / 2;
    let taken = state.take(&again, later);
    assert_eq!(taken.outcome, Outcome::Lost(GRACE));
    assert_eq!(taken.version.made, later / 1_000);
    assert_eq!(state.take(&take(&limits, &[1]), later).outcome, wait(1_000));
    // The others learn it, and nothing is wiped.
    let others = state.take(&again, later + SECOND / 4).outcome;
    assert_eq!(others, Outcome::Lost(Duration::from_millis(750)));
    let known = Take {
        seen: Some(taken.version),
        ..take(&limits, &[5])
    };
    let outcome = state.take(&known, later + SECOND).outcome;
    assert_eq!(granted(&outcome), Some(vec![5]));
}

#[test]
fn an_older_copy_is_wiped() {
    let limits = [window(5)];
    let mut state = NameState::default();
    state.take(&take(&limits, &[3]), START);
    let mut copy = state.clone();
    let seen = state.take(&take(&limits, &[1]), START).version;
    let again = Take {
        seen: Some(seen),
        ..take(&limits, &[1])
    };
    let taken = copy.take(&again, START + 1_000);
    assert_eq!(taken.outcome, Outcome::Lost(GRACE));
    assert_eq!(copy.limits.len(), 0);
    assert!(taken.version.made > seen.made);
}

#[test]
fn lost_units_are_restored_before_it_opens() {
    let limits = [window(5), bucket(5, SECOND)];
    let mut state = NameState::default();
    let lost = Take {
        seen: Some(Version {
            made: 1,
            sequence: 1,
        }),
        ..take(&limits, &[1, 1])
    };
    let version = state.take(&lost, START).version;
    let restore = Restore {
        id: 1,
        key: StateKey::of_name("name"),
        limits: limits.as_slice().into(),
        taken: vec![vec![(START - SECOND / 10, 3)], vec![(START, 3), (START, 9)]],
        grace: GRACE,
    };
    state.restore(&restore, START + SECOND / 2);
    // Half a second longer for late reports.
    let known = Take {
        seen: Some(version),
        ..take(&limits, &[1, 1])
    };
    assert_eq!(state.take(&known, START + SECOND / 2).outcome, wait(500));
    // A burst at most.
    assert_eq!(state.take(&known, START + SECOND).outcome, wait(500));
    // One that is sent again counts once.
    for id in [1, 1, 2, 2, 3, 4, 5] {
        state.restore(
            &Restore {
                id,
                ..restore.clone()
            },
            START + SECOND / 2,
        );
        assert_eq!(state.limits[0].window.used(), (3 * (id - 1)).min(10));
    }
}

#[test]
fn returned_units_are_free_again() {
    let limits = [bucket(5, SECOND), window(5)];
    let mut state = NameState::default();
    let all = marks(state.take(&take(&limits, &[5, 5]), START).outcome);
    let back = Take {
        returned: all,
        not_after: Some(0),
        ..take(&limits, &[5, 5])
    };
    // Also if nothing is taken.
    assert_eq!(state.take(&back, START + 1_000).outcome, Outcome::TooLate);
    let outcome = state.take(&take(&limits, &[5, 5]), START + 1_000).outcome;
    assert_eq!(granted(&outcome), Some(vec![5, 5]));
}

#[test]
fn a_check_in_returns_and_takes_nothing() {
    let limits = [window(5)];
    let mut state = NameState::default();
    let all = marks(state.take(&take(&limits, &[5]), START).outcome);
    assert_eq!(state.take(&take(&limits, &[1]), START).outcome, wait(1_024));
    let check_in = Take {
        returned: all,
        ..take(&limits, &[0])
    };
    let outcome = state.take(&check_in, START).outcome;
    assert_eq!(granted(&outcome), Some(vec![0]));
    assert_eq!((state.claims.len(), state.limits[0].window.used()), (1, 0));
}

#[test]
fn claims_are_served_in_order() {
    let limits = [bucket(10, SECOND / 10)];
    let mut state = NameState::default();
    state.take(&take(&limits, &[10]), START);
    let (large, small) = (take(&limits, &[8]), of_process(2, take(&limits, &[1])));
    assert_eq!(state.take(&large, START).outcome, wait(800));
    assert_eq!(state.take(&small, START).outcome, wait(900));
    // The small one fits, but not behind the large one, which keeps its place.
    let half = START + SECOND / 2;
    assert_eq!(state.take(&small, half).outcome, wait(400));
    assert_eq!(state.take(&large, half).outcome, wait(300));
    assert_eq!(state.take(&small, half).outcome, wait(400));
    let outcome = state.take(&large, START + SECOND * 8 / 10).outcome;
    assert_eq!(granted(&outcome), Some(vec![8]));
    let outcome = state.take(&small, START + SECOND * 9 / 10).outcome;
    assert_eq!(granted(&outcome), Some(vec![1]));
    assert_eq!(state.claims.len(), 0);
}

#[test]
fn a_claim_that_is_not_renewed_expires() {
    let limits = [bucket(10, SECOND / 10)];
    let mut state = NameState::default();
    state.take(&take(&limits, &[10]), START);
    let (large, small) = (take(&limits, &[8]), of_process(2, take(&limits, &[1])));
    let large = Take {
        claim: Duration::from_millis(250),
        ..large
    };
    state.take(&large, START);
    let expires = START + SECOND / 4;
    let impatient = Take {
        patience: Duration::ZERO,
        ..small
    };
    let before = state
        .clone()
        .take(&of_process(3, take(&limits, &[2])), expires - 1_000);
    assert_eq!(granted(&before.outcome), None);
    let after = state.take(&of_process(3, take(&limits, &[2])), expires);
    assert_eq!(granted(&after.outcome), Some(vec![2]));
    // A wait beyond the patience leaves no claim, and removes an old one.
    state.take(&take(&limits, &[10]), expires);
    assert_eq!(state.claims.len(), 1);
    let impatient = Take {
        process: 1,
        cost: vec![10],
        ..impatient
    };
    state.take(&impatient, expires);
    assert_eq!(state.claims.len(), 0);
}

#[test]
fn more_fits_in_proportion_behind_the_claims() {
    let limits = [window(10), window(1_000)];
    let mut state = NameState::default();
    let more = Take {
        more: vec![18, 900],
        ..take(&limits, &[1, 50])
    };
    let taken = state.take(&more, START);
    assert_eq!(granted(&taken.outcome), Some(vec![10, 500]));
    let mut state = NameState::default();
    state.take(&take(&limits, &[4, 0]), START);
    // Process 2 waits for 8.
    state.take(&of_process(2, take(&limits, &[8, 0])), START);
    state.take(&take(&limits, &[0, 100]), START);
    let later = START + PERIOD;
    let outcome = state.take(&of_process(3, more), later).outcome;
    assert_eq!(granted(&outcome), Some(vec![2, 100]));
}

#[test]
fn a_reply_says_when_there_is_more() {
    let limits = [bucket(2, SECOND)];
    let mut state = NameState::default();
    for (expected, now) in [(0, START), (1_000, START)] {
        match state.take(&take(&limits, &[1]), now).outcome {
            Outcome::Granted { more_in, .. } => assert_eq!(more_in.as_millis(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_start_in_a_window_counts_from_the_hold() {
    let limits = [window(5)];
    let mut state = NameState::default();
    let held = Take {
        hold: Duration::from_millis(100),
        ..take(&limits, &[5])
    };
    let now = START + 1_000;
    let mark = marks(state.take(&held, now).outcome)[0].1;
    let part = 4_000_000;
    assert!((now + SECOND / 10..now + SECOND / 10 + part).contains(&mark.at));
    assert_eq!((mark.at, mark.cost), (mark.place, 5));
    assert_eq!(
        granted(&state.take(&held, mark.at + PERIOD - 1_000).outcome),
        None
    );
    assert!(granted(&state.take(&held, mark.at + PERIOD).outcome).is_some());
}

#[test]
fn an_unknown_bucket_has_been_full_for_long() {
    let limits = [bucket(1, SECOND / 1_000)];
    let in_turn = Take {
        is_in_turn: true,
        patience: Duration::ZERO,
        ..take(&limits, &[1])
    };
    let mut state = NameState::default();
    let count = |state: &mut NameState| {
        let taken = || granted(&state.take(&in_turn, START).outcome);
        std::iter::from_fn(taken).count()
    };
    assert_eq!(count(&mut state), 11);
    assert_eq!(count(&mut state), 0);
}

#[test]
fn a_clock_that_goes_back_closes_nothing_for_long() {
    let limits = [bucket(5, SECOND), window(5)];
    let mut state = NameState::default();
    let version = state.take(&take(&limits, &[5, 5]), START).version;
    state.take(&take(&limits, &[5, 5]), START);
    let now = START - 3_600 * SECOND;
    let known = Take {
        seen: Some(version),
        ..take(&limits, &[5, 5])
    };
    assert_eq!(state.take(&known, now).outcome, wait(5_000));
    // Its claim was dropped for the new one.
    assert_eq!(state.claims.len(), 1);
    assert!(granted(&state.take(&known, now + 5 * SECOND).outcome).is_some());
    // Neither does a state that is lost after that.
    let mut state = NameState::default();
    assert_eq!(state.take(&known, now).outcome, Outcome::Lost(GRACE));
    let again = state.take(&known, now + SECOND / 2);
    assert_eq!(again.outcome, Outcome::Lost(GRACE));
    assert!(again.version.made > version.made);
}

#[test]
fn a_quota_holds_for_the_code_that_it_replaced() {
    let (code, new) = ([window(5)], [window(8)]);
    let mut state = NameState::default();
    let set = SetQuota {
        name: "name".into(),
        limits: code.as_slice().into(),
        number: 0,
        new: new[0],
    };
    state.set_quota(&set, START);
    let taken = state.take(&take(&code, &[8]), START);
    assert_eq!(taken.limits.as_deref(), Some(&new[..]));
    assert_eq!(granted(&taken.outcome), Some(vec![8]));
    let deployed = state.take(&take(&[window(9)], &[1]), START);
    assert_eq!(
        (deployed.limits, granted(&deployed.outcome)),
        (None, Some(vec![1]))
    );
}

#[test]
fn used_units_of_a_bucket_stay_used() {
    let mut state = NameState::default();
    state.take(&take(&[bucket(10, SECOND)], &[8]), START);
    let outcome = state
        .take(&take(&[bucket(5, SECOND / 10)], &[1]), START)
        .outcome;
    assert_eq!(outcome, wait(100));
    // The excess counts again.
    let outcome = state
        .take(&take(&[bucket(10, SECOND)], &[3]), START)
        .outcome;
    assert_eq!(outcome, wait(1_000));
}

#[test]
fn another_kind_has_a_state_of_its_own() {
    let mut state = NameState::default();
    state.take(&take(&[bucket(5, SECOND)], &[5]), START);
    let outcome = state.take(&take(&[window(5)], &[5]), START).outcome;
    assert_eq!(granted(&outcome), Some(vec![5]));
    let outcome = state.take(&take(&[bucket(5, SECOND)], &[1]), START).outcome;
    assert_eq!(granted(&outcome), None);
}

fn used(units: u64, millis: u64) -> UsedUnits {
    UsedUnits {
        units,
        resets_in: Duration::from_millis(millis),
    }
}

/// Takes for process 1 of a client.
fn take_of_client(limits: &[LimitSpec], cost: &[u64]) -> Take {
    Take {
        key: StateKey {
            name: "name".into(),
            client: Some([7; 16]),
        },
        patience: Duration::ZERO,
        ..take(limits, cost)
    }
}

#[test]
fn a_reply_says_what_is_used() {
    let limits = [bucket(10, SECOND), window(5)];
    let mut state = NameState::default();
    let taken = state.take(&take(&limits, &[4, 3]), START);
    assert_eq!(taken.used, [used(4, 4_000), used(3, 1_024)]);
    // Rounded up.
    let later = state.take(&take(&limits, &[0, 1]), START + SECOND / 2);
    assert_eq!(later.used[0], used(4, 3_500));
    assert_eq!(later.used[1].units, 4);
    let idle = state.take(&take(&limits, &[0, 0]), START + 10 * SECOND);
    assert_eq!(idle.used, [used(0, 0), used(0, 0)]);
}

#[test]
fn a_reply_says_which_limit_is_slowest() {
    let limits = [window(5), bucket(5, SECOND), bucket(5, SECOND / 10)];
    let mut state = NameState::default();
    let slowest = |state: &mut NameState, cost: &[u64]| {
        let taken = state.take(&take(&limits, cost), START);
        (taken.slowest, granted(&taken.outcome).is_some())
    };
    assert_eq!(slowest(&mut state, &[1, 5, 5]), (1, true));
    assert_eq!(slowest(&mut state, &[1, 2, 3]), (1, false));
    assert_eq!(slowest(&mut state, &[1, 0, 3]), (2, false));
    assert_eq!(slowest(&mut state, &[1, 2, 9]), (2, false));
}

#[test]
fn charged_units_count_up_to_twice_the_limit() {
    let limits = [bucket(5, SECOND), window(5)];
    let mut state = NameState::default();
    let all = marks(state.take(&take(&limits, &[5, 5]), START).outcome);
    let charge = |units| Take {
        charged: [(0, 0), (1, all[1].1.at), (1, 1)]
            .map(|(limit, at)| ChargedUnits {
                limit,
                at,
                units,
                up_to: None,
            })
            .into(),
        ..take(&limits, &[0, 0])
    };
    let taken = state.take(&charge(2), START + SECOND / 8);
    assert_eq!(taken.used, [used(7, 6_875), used(7, 899)]);
    let taken = state.take(&charge(100), START + SECOND / 8);
    assert_eq!(taken.used, [used(10, 10_000), used(10, 899)]);
    // What a process reports is not less then.
    let report = Restore {
        id: 1,
        key: StateKey::of_name("name"),
        limits: limits.as_slice().into(),
        taken: vec![vec![(START, 1)]; 2],
        grace: Duration::ZERO,
    };
    state.restore(&report, START + SECOND / 8);
    let taken = state.take(&take(&limits, &[1, 0]), START + SECOND / 8);
    assert_eq!(taken.used, [used(10, 10_000), used(10, 899)]);
    assert_eq!(taken.outcome, wait(6_000));
}

#[test]
fn a_reported_use_is_charged_once() {
    let limits = [bucket(500, SECOND), window(500)];
    let mut state = NameState::default();
    state.take(&take(&limits, &[100, 100]), START);
    let report = |up_to| Take {
        charged: [0, 1]
            .map(|limit| ChargedUnits {
                limit,
                at: START,
                units: u64::MAX,
                up_to: Some(up_to),
            })
            .into(),
        ..take(&limits, &[0, 0])
    };
    for (reported, expected) in [(50, 100), (300, 300), (300, 300), (299, 300), (301, 301)] {
        let used = state.take(&report(reported), START).used;
        assert_eq!([used[0].units, used[1].units], [expected; 2]);
    }
}

#[test]
fn a_pause_stops_all_for_a_while() {
    let limits = [window(5)];
    let mut state = NameState::default();
    let pause = |millis| Take {
        pause: Duration::from_millis(millis),
        ..take(&limits, &[1])
    };
    let taken = state.take(&pause(800), START);
    assert_eq!((taken.outcome, taken.used), (wait(800), vec![used(0, 0)]));
    // The later end counts.
    let later = state.take(&pause(100), START + SECOND / 2);
    assert_eq!(later.outcome, wait(300));
    assert_eq!(later.paused, Duration::from_millis(300));
    let over = state.take(&take(&limits, &[1]), START + 8 * SECOND / 10);
    assert_eq!(
        (granted(&over.outcome), over.paused),
        (Some(vec![1]), Duration::ZERO)
    );
    // Ten minutes at most, and it ends if the clock goes back.
    assert_eq!(state.take(&pause(3_600_000), START).outcome, wait(600_000));
    let back = state.take(&take(&limits, &[1]), START - SECOND);
    assert_eq!(granted(&back.outcome), Some(vec![1]));
}

#[test]
fn a_client_has_a_state_that_is_never_lost() {
    let limits = [bucket(5, SECOND)];
    let mut state = NameState::default();
    let taken = state.take(&take_of_client(&limits, &[5]), START);
    let seen = Some(Version {
        made: START / 1_000,
        sequence: 9,
    });
    assert_eq!(
        taken.version,
        Version {
            made: 0,
            sequence: 0
        }
    );
    let again = Take {
        seen,
        ..take_of_client(&limits, &[1])
    };
    assert_eq!(state.take(&again, START).outcome, wait(1_000));
    assert_eq!(
        NameState::default().take(&again, START).used,
        [used(1, 1_000)]
    );
}

#[test]
fn a_client_keeps_about_what_a_unit_was() {
    // A unit time that does not fit into 4 bytes.
    let unit = 100_000_001;
    let mut state = NameState::default();
    state.take(&take_of_client(&[bucket(10, unit)], &[8]), START);
    assert!(state.is_short);
    let taken = state.take(&take_of_client(&[bucket(10, unit)], &[1]), START);
    assert_eq!(taken.used[0].units, 9);
    // Used units stay used: one is 8 ns less than it was.
    let taken = state.take(&take_of_client(&[bucket(20, 7)], &[0]), START);
    assert_eq!(taken.used[0].units, 10);
    // Not with anything else to keep.
    let paused = Take {
        pause: Duration::from_secs(1),
        ..take_of_client(&[bucket(20, 7)], &[0])
    };
    state.take(&paused, START);
    assert!(!state.is_short);
    state.take(&take_of_client(&[bucket(20, 7)], &[0]), START + SECOND);
    assert!(state.is_short);
}

#[tokio::test(start_paused = true)]
async fn the_store_keeps_names_for_a_day() {
    let (store, limits) = (Model::new(), [bucket(5, SECOND)]);
    let version = async |store: &Model| match store.call(Call::Take(take(&limits, &[1]))).await {
        Ok(Reply::Take(taken)) => taken.version,
        other => panic!("{other:?}"),
    };
    let first = version(&store).await;
    assert_eq!(first.made, Model::START);
    tokio::time::advance(Duration::from_secs(23 * 3_600)).await;
    assert_eq!(version(&store).await.made, first.made);
    tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
    assert_ne!(version(&store).await.made, first.made);
    store.forget();
    assert_eq!(version(&store).await.sequence, 1);
}

#[tokio::test(start_paused = true)]
async fn the_store_counts_processes() {
    let store = Model::new();
    let beat = |process| {
        let expires = Duration::from_secs(1);
        store.call(Call::Beat { process, expires })
    };
    assert_eq!(beat(1).await, Ok(Reply::Processes(1)));
    assert_eq!(beat(2).await, Ok(Reply::Processes(2)));
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(beat(1).await, Ok(Reply::Processes(2)));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(beat(1).await, Ok(Reply::Processes(1)));
}

/// Without a hold and other processes it is the limit of a single one.
#[test]
fn a_bucket_does_as_gcra() {
    let quotas = [
        Quota::new(700, Duration::from_millis(1_000)).burst(30),
        Quota::new(3_000, Duration::from_millis(1_000)).burst(10),
    ];
    let specs = quotas.map(|quota| {
        let refill = Refill::new(&quota);
        bucket(refill.capacity, refill.unit_nanos)
    });
    let mut rng = StdRng::seed_from_u64(7);
    let (gcra, mut state) = (Gcra::new(&quotas[0]), NameState::default());
    let (mut now, mut which, mut taken) = (START, 0, Vec::new());
    for step in 0..10_000 {
        now += rng.random_range(0..8_000) * 1_000;
        // Not before the first request: then it has been full for long.
        if step > 0 && rng.random_ratio(1, 50) {
            which = 1 - which;
            gcra.set_quota(&quotas[which], now);
            taken.clear();
        }
        let is_in_turn = rng.random_ratio(1, 2);
        let mut call = Take {
            is_in_turn,
            patience: Duration::ZERO,
            ..take(&specs[which..=which], &[rng.random_range(1..12)])
        };
        if rng.random_ratio(1, 3) && !taken.is_empty() {
            let (mark, other): (Mark, Mark) = taken.swap_remove(rng.random_range(0..taken.len()));
            gcra.give_back(&mark, now);
            call.returned.push((0, other));
        }
        let expected = match is_in_turn {
            true => gcra.take_in_turn(call.cost[0], now),
            false => gcra.take(call.cost[0], now),
        };
        match (expected, state.take(&call, now).outcome) {
            (Ok(mark), Outcome::Granted { marks, .. }) => {
                // What was given back is counted in other units after a change.
                assert_eq!(
                    (mark.place, mark.at),
                    (marks[0].place, marks[0].at),
                    "{step}"
                );
                taken.push((mark, marks[0]));
            }
            (Err(Decision::Wait(wait)), Outcome::Wait(other)) => {
                let wait = wait.as_nanos().div_ceil(1_000);
                assert_eq!(wait, other.as_micros(), "{step}");
            }
            (Err(Decision::Never), Outcome::Never) => {}
            (expected, outcome) => panic!("{step}: {expected:?} {outcome:?}"),
        }
    }
}

#[test]
fn a_window_does_as_the_window_of_one_process() {
    let (capacity, period) = (500, Period::in_parts(PERIOD / 1_000));
    let mut rng = StdRng::seed_from_u64(8);
    let (mut window, mut state) = (RefundableWindow::default(), NameState::default());
    let (mut now, mut taken) = (Model::START, Vec::new());
    for step in 0..10_000 {
        now += rng.random_range(0..10_000);
        let cost = rng.random_range(1..20);
        let mut call = Take {
            patience: Duration::ZERO,
            ..take(&[self::window(capacity)], &[cost])
        };
        window.advance(period.nanos, now);
        if rng.random_ratio(1, 4) && !taken.is_empty() {
            let mark: Mark = taken.swap_remove(rng.random_range(0..taken.len()));
            window.give_back(mark.at / 1_000, mark.cost);
            call.returned.push((0, mark));
        }
        let wait = window.wait(capacity, &period, cost, now);
        match state.take(&call, now * 1_000).outcome {
            Outcome::Granted { marks, .. } => {
                let start = window.start(&period, now);
                window.take(start, cost);
                assert_eq!((wait, start * 1_000), (0, marks[0].at), "{step}");
                taken.push(marks[0]);
            }
            outcome => assert_eq!(outcome, Outcome::Wait(duration(wait)), "{step}"),
        }
    }
}
