//! Faults of a cluster, while two processes share limits in it.

use std::time::Duration;

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter, WhenDown};

use crate::{
    fleet::{Fleet, Log, Report, Starts, TIMEOUT, between, burst, fullest, laps, used},
    nodes::{Nodes, ok, text},
};

const LIMIT: u64 = 300;
const PERIOD: Duration = Duration::from_secs(2);
const PROCESSES: usize = 2;
/// Names of windows, which are in several hash slots.
const WINDOWS: [&str; 3] = ["window-a", "window-b", "window-c"];

/// Units of a bucket per second, and at once.
const RATE: u64 = 300;
const BURST: u64 = 100;
const UNIT_NANOS: u128 = 1_000_000_000 / RATE as u128;

/// A limit is used up again this long after the cluster is well.
const RECOVERY: Duration = Duration::from_secs(3);

/// The longest wait for a probe of the cluster, and a call.
const BACK: Duration = Duration::from_millis(1_500);

/// Processes with one policy, and what they start.
struct Load {
    policy: WhenDown,
    processes: Vec<Redis>,
    windows: Vec<Log>,
    bucket: Log,
}

impl Load {
    /// Starts processes that all want more than there is.
    fn start(fleet: &Fleet, nodes: &Nodes, policy: WhenDown) -> Self {
        let process = |_| {
            let redis = nodes.connect().prefix(format!("{policy:?}"));
            redis.when_down(policy).processes(PROCESSES as u64)
        };
        let processes: Vec<Redis> = (0..PROCESSES).map(process).collect();
        let windows: Vec<Log> = WINDOWS.iter().map(|_| fleet.log()).collect();
        let bucket = fleet.log();
        let _runtime = fleet.runtime.enter();
        for redis in &processes {
            for (name, log) in WINDOWS.iter().zip(&windows) {
                let limiter = SlidingWindowLimiter::new(Quota::new(LIMIT, PERIOD));
                let limiter = limiter.shared(redis, name);
                fleet.wait_for(&limiter, 4, log);
                // One of them does not wait.
                fleet.try_for(&limiter, 1, log);
            }
            let limiter = TokenBucketLimiter::new(Quota::per_second(RATE).burst(BURST));
            fleet.wait_for_bucket(&limiter.shared(redis, "bucket"), 2, &bucket);
            fleet.probe(redis, "probe");
        }
        Self {
            policy,
            processes,
            windows,
            bucket,
        }
    }

    /// Checks what was started: before `from`, between the fault and `again`, after that, and that
    /// all is used from `recovered` on.
    fn check(&self, report: &mut Report, late: Duration, from: u128, again: u128, recovered: u128) {
        let policy = self.policy;
        // What a busy machine costs: starts are noted late, and so are replies, so that holds are
        // longer.
        let period = PERIOD.saturating_sub(late);
        let least = 0.98 - 4.0 * late.as_secs_f64() / PERIOD.as_secs_f64();
        let slack = RATE as f64 * (0.02 + 4.0 * late.as_secs_f64());
        let most_of_bucket = u128::from(BURST) + slack as u128 + 1;
        // Shares of processes may come on top of what the server has granted.
        let times = if policy == WhenDown::Local { 2 } else { 1 };
        let calm = if late < TIMEOUT / 4 { 1 } else { times };
        for (name, log) in WINDOWS.iter().zip(&self.windows) {
            let starts = log.starts();
            let before = fullest(&between(&starts, 0, from), period);
            let after = fullest(&between(&starts, again, u128::MAX), period);
            let all = fullest(&starts, period);
            report.check(
                all <= times * LIMIT && before.max(after) <= calm * LIMIT,
                format!("{policy:?}: {name}: fullest {all}, before {before}, after {after}"),
            );
            let share = window_used(&between(&starts, recovered, u128::MAX));
            report.check(
                share >= least,
                format!("{policy:?}: {name}: used {share:.4}"),
            );
        }
        let starts = self.bucket.starts();
        let after = burst(&between(&starts, again, u128::MAX), UNIT_NANOS);
        let all = burst(&starts, UNIT_NANOS / u128::from(times)) / u128::from(times);
        report.check(
            all <= most_of_bucket && after <= most_of_bucket,
            format!("{policy:?}: burst {all}, after {after}"),
        );
        let share = used(&between(&starts, recovered, u128::MAX), RATE as f64, 0);
        report.check(
            share >= least,
            format!("{policy:?}: bucket used {share:.4}"),
        );
    }
}

/// Returns the share of a window that was used, from the time between a unit and the one that comes
/// as many units later as there are.
fn window_used(starts: &Starts) -> f64 {
    match starts.get(LIMIT as usize..) {
        Some([_, ..]) => 1.0 / laps(starts, LIMIT as usize, PERIOD).1,
        _ => 0.0,
    }
}

/// Causes a fault under load, and checks that the limits hold and are used again. `cause` gets the
/// master that has a name, and returns as soon as the cluster works again.
fn fault(name: &str, cause: fn(&mut Nodes, usize)) {
    let mut nodes = Nodes::start();
    let fleet = Fleet::new();
    let policies = [WhenDown::Closed, WhenDown::Local];
    let loads = policies.map(|policy| Load::start(&fleet, &nodes, policy));
    fleet.run_for(PERIOD + RECOVERY / 2);
    let (master, _) = nodes.key(WINDOWS[0]);
    let from = fleet.now();
    cause(&mut nodes, master);
    let back = fleet.now();
    // All of a window may start at once.
    fleet.run_for(RECOVERY + PERIOD * 3);

    let mut report = Report::new(name);
    let away = Duration::from_nanos((back - from) as u64);
    report.check(true, format!("well again after {away:?}"));
    report.check_calls(&fleet);
    let late = fleet.latest();
    for load in &loads {
        println!("{name}: {:?}: {}", load.policy, load.processes[0].status());
        let (again, recovered) = (back + BACK.as_nanos(), back + RECOVERY.as_nanos());
        load.check(&mut report, late, from, again, recovered);
    }
    report.end();
}

// ===== faults =====

fn failover_by_hand(name: &str) {
    fault(name, |nodes, master| {
        ok(nodes.replica(master), &["CLUSTER", "FAILOVER"]);
        nodes.until_promoted(master);
    });
}

fn failover_by_kill(name: &str) {
    fault(name, |nodes, master| {
        nodes.kill(master);
        nodes.until_promoted(master);
    });
}

/// The master neither responds nor closes its connections, and comes back as one that was replaced.
fn frozen(name: &str) {
    fault(name, |nodes, master| {
        nodes.all()[master].freeze();
        nodes.until_promoted(master);
        nodes.all()[master].unfreeze();
    });
}

fn without_scripts(name: &str) {
    fault(name, |nodes, _| {
        for node in nodes.all() {
            ok(node, &["SCRIPT", "FLUSH"]);
        }
    });
}

/// Moves a hash slot with a name to another master and back, twice.
fn moved(name: &str) {
    let nodes = Nodes::start();
    let fleet = Fleet::new();
    let policies = [WhenDown::Closed, WhenDown::Local];
    let loads = policies.map(|policy| Load::start(&fleet, &nodes, policy));
    fleet.run_for(PERIOD);
    let from = fleet.now();
    for load in &loads {
        println!(
            "{name}: before: {:?}: {}",
            load.policy,
            load.processes[0].status()
        );
    }
    let mut moves = 0;
    for _ in 0..2 {
        for (window, load) in WINDOWS.iter().zip(loads.iter().cycle()) {
            let (master, key) = nodes.key(&format!("{:?}*{window}", load.policy));
            let other = (master + 1) % 3;
            nodes.move_hash_slot(&key, master, other);
            nodes.move_hash_slot(&key, other, master);
            moves += 2;
        }
    }
    let to = fleet.now();
    fleet.run_for(PERIOD);

    let mut report = Report::new(name);
    let time = Duration::from_nanos((to - from) as u64);
    report.check(true, format!("{moves} moves in {time:?}"));
    report.check_calls(&fleet);
    let late = fleet.latest();
    for load in &loads {
        for redis in &load.processes {
            let status = redis.status();
            // On a busy machine, a reply may be late.
            let is_late = late > TIMEOUT / 4 && status.is_connected;
            report.check(
                status.errors == 0 || is_late,
                format!("{:?}: {status}", load.policy),
            );
        }
        // There is no fault: all is used, and never more, all the time.
        load.check(&mut report, late, u128::MAX, 0, PERIOD.as_nanos());
    }
    report.end();
}

#[test]
fn limits_hold_while_hash_slots_move() {
    moved("moved");
}

#[test]
fn limits_hold_in_a_failover_by_hand() {
    failover_by_hand("by hand");
}

#[test]
fn limits_hold_if_a_master_is_killed() {
    failover_by_kill("killed");
}

#[test]
fn limits_hold_if_a_master_is_frozen() {
    frozen("frozen");
}

#[test]
fn limits_hold_without_scripts() {
    without_scripts("scripts");
}

#[test]
fn one_url_is_enough() {
    let nodes = Nodes::start();
    let fleet = Fleet::new();
    fleet.runtime.block_on(async {
        let redis = Redis::cluster(&nodes.urls()[..1]).unwrap();
        let redis = redis.timeout(Duration::from_secs(5));
        for number in 0..30 {
            let limiter = SlidingWindowLimiter::new(Quota::per_minute(1));
            let limiter = limiter.shared(&redis, &format!("name-{number}"));
            limiter.acquire_within(1, Duration::ZERO).await.unwrap();
            assert!(limiter.acquire_within(1, Duration::ZERO).await.is_err());
        }
        assert_eq!(redis.status().errors, 0, "{}", redis.status());
    });
    for node in &nodes.all()[..3] {
        assert!(text(node, &["INFO", "keyspace"]).contains("db0:"));
    }
}

#[test]
fn a_url_of_one_node_says_so() {
    let nodes = Nodes::start();
    let fleet = Fleet::new();
    let errors = nodes.urls().into_iter().filter_map(|url| {
        let connected = fleet.runtime.block_on(Redis::connect(&url));
        connected.err().map(|error| error.to_string())
    });
    let errors: Vec<String> = errors.collect();
    // One of them has the key that is asked for.
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert!(error.contains("use `Redis::cluster`"), "{error}");
    }
}
