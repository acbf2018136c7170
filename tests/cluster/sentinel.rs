//! A master and a replica, and the sentinel that names the master.

use std::{
    env, fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, WhenDown};

use crate::{
    fleet::{Fleet, Report, between, fullest},
    nodes::until,
    server::{Server, free_port, program},
};

/// Killed when it is dropped.
struct Sentinel {
    process: Child,
    port: u16,
}

impl Sentinel {
    /// Starts a sentinel that watches the master `mymaster`, which needs a password.
    fn start(master: &Server) -> Self {
        let port = free_port();
        let file = env::temp_dir().join(format!("throttle-sentinel-{port}.conf"));
        let lines = [
            format!(
                "bind 127.0.0.1\nport {port}\ndir {}",
                env::temp_dir().display()
            ),
            format!("sentinel monitor mymaster 127.0.0.1 {} 1", master.port()),
            "sentinel auth-pass mymaster secret".to_owned(),
            "sentinel down-after-milliseconds mymaster 1000".to_owned(),
            "sentinel failover-timeout mymaster 5000\n".to_owned(),
        ];
        fs::write(&file, lines.join("\n")).unwrap();
        let process = Command::new(program())
            .arg(&file)
            .args(["--sentinel", "--logfile", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let file = env::temp_dir().join(format!("throttle-sentinel-{}.conf", self.port));
        let _ = fs::remove_file(file);
    }
}

#[test]
fn limits_hold_when_a_sentinel_names_another_master() {
    const LIMIT: u64 = 300;
    let period = Duration::from_secs(2);
    let password = ["--requirepass", "secret", "--masterauth", "secret"];
    let mut master = Server::with(&password);
    let port = master.port().to_string();
    let replica = Server::with(&[&password[..], &["--replicaof", "127.0.0.1", &port]].concat());
    let replica_says = |text: &str| {
        let mut client = replica.client();
        let _ = client.try_command(&["AUTH", "secret"]);
        // The sentinel closes all connections when it promotes the replica.
        let info = client.try_command(&["INFO", "replication"]);
        info.is_ok_and(|info| format!("{info:?}").contains(text))
    };
    until("the replica has a copy", || {
        replica_says("master_link_status:up")
    });
    let sentinel = Sentinel::start(&master);
    let fleet = Fleet::new();
    // One is not there.
    let gone = format!("redis://127.0.0.1:{}", free_port());
    let processes = [(), ()].map(|()| {
        let redis = Redis::sentinel("redis://:secret@mymaster", [gone.clone(), sentinel.url()]);
        redis.unwrap().when_down(WhenDown::Closed)
    });
    let log = fleet.log();
    {
        let _runtime = fleet.runtime.enter();
        for redis in &processes {
            let limiter = SlidingWindowLimiter::new(Quota::new(LIMIT, period)).shared(redis, "n");
            fleet.wait_for(&limiter, 4, &log);
            fleet.probe(redis, "probe");
        }
    }
    // A sentinel asks a master for its replicas every ten seconds.
    fleet.run_for(Duration::from_secs(11));
    let start = Instant::now();
    master.kill();
    until("the replica is promoted", || replica_says("role:master"));
    let back = fleet.now();
    println!("sentinel: promoted after {:?}", start.elapsed());
    fleet.run_for(Duration::from_secs(3) + period * 2);

    let mut report = Report::new("sentinel");
    report.check_calls(&fleet);
    let late = fleet.latest();
    let starts = log.starts();
    let all = fullest(&starts, period.saturating_sub(late));
    report.check(all <= LIMIT, format!("fullest {all}"));
    let recovered = back + Duration::from_secs(3).as_nanos();
    let starts = between(&starts, recovered, u128::MAX).len();
    let used = starts as f64 / (2 * LIMIT) as f64;
    // It is known for a whole number of periods alone.
    report.check(used >= 0.9, format!("used {used:.2} again"));
    for redis in &processes {
        report.check(redis.status().is_connected, redis.status().to_string());
    }
    report.end();
}
