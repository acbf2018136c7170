//! Faults of a server, while four processes share its limits.

use std::{thread, time::Duration};

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter, WhenDown};

use crate::{
    fleet::{Fleet, Log, Report, Starts, TIMEOUT, between, burst, fullest, laps, together, used},
    server::{Reply, Server},
};

const LIMIT: u64 = 300;
const PERIOD: Duration = Duration::from_secs(2);
const PROCESSES: usize = 4;

/// Units of a bucket per second, and at once.
const RATE: u64 = 300;
const BURST: u64 = 100;
const UNIT_NANOS: u128 = 1_000_000_000 / RATE as u128;

/// A limit is used up again this long after a fault.
const RECOVERY: Duration = Duration::from_secs(3);

/// The longest wait for a probe of the server, and a call.
const BACK: Duration = Duration::from_millis(1_500);

fn sleep(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

fn ok(server: &Server, command: &[&str]) {
    assert_eq!(
        server.command(command),
        Reply::Text("OK".to_owned()),
        "{command:?}"
    );
}

/// Processes with one policy, and what they start.
struct Load {
    processes: Vec<Redis>,
    window: Log,
    bucket: Log,
}

impl Load {
    /// Starts processes that all want more than there is.
    fn start(fleet: &Fleet, server: &Server, when_down: WhenDown) -> Self {
        let prefix = format!("{when_down:?}");
        let set = |redis: Redis| redis.prefix(prefix.as_str()).when_down(when_down);
        let processes = fleet.connect(server, PROCESSES, set);
        let (window, bucket) = (fleet.log(), fleet.log());
        for (number, redis) in processes.iter().enumerate() {
            let limiter = SlidingWindowLimiter::new(Quota::new(LIMIT, PERIOD));
            let limiter = limiter.shared(redis, "window");
            // One of them does not wait.
            match number {
                0 => fleet.try_for(&limiter, 2, &window),
                _ => fleet.wait_for(&limiter, 4, &window),
            }
            let limiter = TokenBucketLimiter::new(Quota::per_second(RATE).burst(BURST));
            fleet.wait_for_bucket(&limiter.shared(redis, "bucket"), 2, &bucket);
            fleet.probe(redis, "probe");
        }
        Self {
            processes,
            window,
            bucket,
        }
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

/// Causes a fault under load, and checks that the limits hold and are used again.
fn fault(name: &str, options: &[&str], cause: fn(&mut Server)) {
    let mut server = Server::with(options);
    let fleet = Fleet::new();
    let closed = Load::start(&fleet, &server, WhenDown::Closed);
    let local = Load::start(&fleet, &server, WhenDown::Local);
    fleet.run_for(Duration::from_millis(2_500));
    let from = fleet.now();
    cause(&mut server);
    let back = fleet.now();
    fleet.run_for(RECOVERY + PERIOD * 2);

    let mut report = Report::new(name);
    report.check_calls(&fleet);
    let (again, recovered) = (back + BACK.as_nanos(), back + RECOVERY.as_nanos());
    // What a busy machine costs: starts are noted late, and so are replies, so that holds are
    // longer.
    let late = fleet.latest();
    let period = PERIOD.saturating_sub(late);
    let least = 0.98 - 4.0 * late.as_secs_f64() / PERIOD.as_secs_f64();
    let slack = RATE as f64 * (0.02 + 4.0 * late.as_secs_f64());
    let most_of_bucket = u128::from(BURST) + slack as u128 + 1;
    for (policy, load) in [(WhenDown::Closed, &closed), (WhenDown::Local, &local)] {
        println!("{name}: {policy:?}: {}", load.processes[1].status());
        // Shares of the processes that the server has not heard of may come on top: also before and
        // after the fault, if the machine is so busy that the server seems to be away.
        let times = if policy == WhenDown::Local { 2 } else { 1 };
        let starts = load.window.starts();
        let before = fullest(&between(&starts, 0, from), period);
        let after = fullest(&between(&starts, again, u128::MAX), period);
        let all = fullest(&starts, period);
        let calm = if late < TIMEOUT / 4 { 1 } else { times };
        report.check(
            all <= times * LIMIT && before.max(after) <= calm * LIMIT,
            format!("{policy:?}: fullest {all}, before {before}, after {after}"),
        );
        let share = window_used(&between(&starts, recovered, u128::MAX));
        report.check(
            share >= least,
            format!("{policy:?}: window used {share:.4}"),
        );

        let starts = load.bucket.starts();
        let after = burst(&between(&starts, again, u128::MAX), UNIT_NANOS);
        let all = burst(&starts, UNIT_NANOS / u128::from(times)) / u128::from(times);
        report.check(
            all <= most_of_bucket && after <= most_of_bucket,
            format!("{policy:?}: burst {all}, after {after}"),
        );
        let starts = between(&starts, recovered, u128::MAX);
        let share = used(&starts, RATE as f64, 0);
        report.check(
            share >= least,
            format!("{policy:?}: bucket used {share:.4}"),
        );
    }
    report.end();
}

fn replica_of(server: &Server, master: &str, port: &str) {
    ok(server, &["REPLICAOF", master, port]);
}

// ===== faults =====

fn back_empty(name: &str) {
    fault(name, &[], |server| {
        server.kill();
        sleep(600);
        server.restart_empty();
    });
}

fn back_with_an_older_copy(name: &str) {
    fault(name, &[], |server| {
        ok(server, &["SAVE"]);
        sleep(1_000);
        server.kill();
        server.restart();
    });
}

fn back_with_its_log(name: &str) {
    fault(
        name,
        &["--appendonly", "yes", "--appendfsync", "always"],
        |server| {
            server.kill();
            sleep(600);
            server.restart();
        },
    );
}

fn frozen(name: &str) {
    fault(name, &[], |server| {
        server.freeze();
        sleep(2_000);
        server.unfreeze();
    });
}

fn paused(name: &str) {
    fault(name, &[], |server| {
        ok(server, &["CLIENT", "PAUSE", "1500"]);
        sleep(1_500);
    });
}

fn flushed(name: &str) {
    fault(name, &[], |server| ok(server, &["FLUSHALL"]));
}

fn without_scripts(name: &str) {
    fault(name, &[], |server| ok(server, &["SCRIPT", "FLUSH"]));
}

fn demoted(name: &str) {
    fault(name, &[], |server| {
        // It does not begin to copy within that time.
        let master = Server::with(&["--repl-diskless-sync-delay", "60"]);
        replica_of(server, "127.0.0.1", &master.port().to_string());
        sleep(1_500);
        replica_of(server, "NO", "ONE");
    });
}

fn demoted_and_emptied(name: &str) {
    fault(name, &[], |server| {
        let master = Server::with(&["--repl-diskless-sync-delay", "0"]);
        replica_of(server, "127.0.0.1", &master.port().to_string());
        sleep(1_500);
        assert_eq!(server.command(&["DBSIZE"]), Reply::Integer(0));
        replica_of(server, "NO", "ONE");
    });
}

fn without_memory(name: &str) {
    fault(name, &[], |server| {
        ok(server, &["CONFIG", "SET", "maxmemory", "1"]);
        sleep(1_500);
        ok(server, &["CONFIG", "SET", "maxmemory", "0"]);
    });
}

#[test]
fn limits_hold_when_data_is_lost() {
    together(&[
        ("empty", back_empty),
        ("copy", back_with_an_older_copy),
        ("log", back_with_its_log),
        ("flushed", flushed),
        ("emptied", demoted_and_emptied),
    ]);
}

#[test]
fn limits_hold_when_the_server_is_away() {
    together(&[
        ("frozen", frozen),
        ("paused", paused),
        ("scripts", without_scripts),
        ("demoted", demoted),
        ("memory", without_memory),
    ]);
}
