//! States that this crate does not write, and names that it does not expect.

use std::time::{Duration, Instant};

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::{
    fleet::{Fleet, Report, between, fullest, together},
    processes::burst,
    server::{Reply, Server},
};

const LIMIT: u64 = 20;
const HOUR: Duration = Duration::from_secs(3_600);

enum Limiter {
    Window(SlidingWindowLimiter),
    Bucket(TokenBucketLimiter),
}

impl Limiter {
    /// Both kinds, with a limit in an hour.
    fn both(redis: &Redis, name: &str) -> [Self; 2] {
        let quota = Quota::new(LIMIT, HOUR);
        [
            Self::Window(SlidingWindowLimiter::new(quota).shared(redis, &format!("{name}w1"))),
            Self::Bucket(TokenBucketLimiter::new(quota).shared(redis, &format!("{name}b1"))),
        ]
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Window(_) => "w1",
            Self::Bucket(_) => "b1",
        }
    }

    /// Tries to take units one by one without waiting, and returns how many it has taken.
    async fn take(&self, tries: u64) -> u64 {
        let mut taken = 0;
        for _ in 0..tries {
            let start = Instant::now();
            let result = match self {
                Self::Window(limiter) => limiter.acquire_within(1, Duration::ZERO).await.is_ok(),
                Self::Bucket(limiter) => limiter.acquire_within(1, Duration::ZERO).await.is_ok(),
            };
            taken += u64::from(result);
            // A call takes 300 ms at most, on a machine that is not busy.
            let elapsed = start.elapsed();
            assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
        }
        taken
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_name_is_shared() {
    let server = Server::start();
    let redis = [
        Redis::connect(&server.url()).await.unwrap(),
        Redis::connect(&server.url()).await.unwrap(),
    ];
    let large = "n".repeat(1_000_000);
    let names = [
        "",
        " ",
        "{",
        "}",
        "{}",
        "{a}b",
        "a\r\nb\n",
        "*1\r\n$4\r\nQUIT\r\n",
        "\0",
        "ünï:cödé",
        &large,
    ];
    for name in names {
        for (first, second) in Limiter::both(&redis[0], name)
            .into_iter()
            .zip(Limiter::both(&redis[1], name))
        {
            let start: String = name.chars().take(20).collect();
            assert_eq!(first.take(LIMIT / 2).await, LIMIT / 2, "{start:?}");
            // What was granted ahead of need goes back.
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert_eq!(second.take(LIMIT).await, LIMIT / 2, "{start:?}");
            assert_eq!(first.take(1).await, 0, "{start:?}");
        }
    }
    assert_eq!(redis[0].status().errors, 0, "{}", redis[0].status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_no_grant() {
    let server = Server::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let commands: [&[&str]; 4] = [
        &["SET", "x"],
        &["RPUSH", "x"],
        &["SADD", "x"],
        &["ZADD", "1", "x"],
    ];
    for command in commands {
        let name = command[0];
        for limiter in Limiter::both(&redis, name) {
            let key = format!("tt:1:{name}{}", limiter.field());
            server.command(&[&[name, &key], &command[1..]].concat());
            // The share of one process is the limit.
            assert_eq!(limiter.take(3 * LIMIT).await, LIMIT, "{name}");
        }
        // The server is not down.
        assert!(redis.status().is_connected);
    }
}

/// Values of any field that are no state, as Lua.
const GARBAGE: [&str; 15] = [
    "''",
    "'x'",
    "string.rep('x', 35)",
    "string.rep('x', 42)",
    "string.rep('x', 64)",
    "string.rep('\\0', 7)",
    "string.rep('\\0', 35)",
    "string.rep('\\0', 42)",
    "string.rep('\\255', 7)",
    "string.rep('\\255', 21)",
    "string.rep('\\255', 35)",
    "string.rep('\\255', 42)",
    "string.rep('\\255', 50)",
    "string.rep('\\255', 28) .. string.rep('\\0', 7)",
    "string.rep('\\1', 1000003)",
];

/// Values of single fields: units without a start, more and fewer than the starts have, a start
/// without units, and a refill time of zero; a head from the end of all times, quotas and claims.
const MORE_GARBAGE: [(&str, &str); 10] = [
    ("w1", "struct.pack('>I7', 20)"),
    ("w1", "struct.pack('>I7I7I7', 2^52, 5, 20)"),
    ("w1", "struct.pack('>I7I7I7', 2^52, 20, 5)"),
    ("w1", "struct.pack('>I7I7I7', 1, 20, 5)"),
    ("w1", "struct.pack('>I7I7I7', 2^52, 0, 0)"),
    ("b1", "struct.pack('>I7I7I7I7I7I7', 1, 1, 1, 1, 20, 0)"),
    (
        "b1",
        "struct.pack('>I7I7I7I7I7I7', 2^52, 2^52, 2^52, 2^52, 2^52, 2^52)",
    ),
    ("h", "struct.pack('>I7I7I7I7I7', 2^53, 2^53, 2^53, 2^53, 0)"),
    (
        "h",
        "string.sub(redis.call('HGET', KEYS[1], 'h'), 1, 28) .. struct.pack('>I7', 9) .. 'quotas'",
    ),
    (
        "h",
        "redis.call('HGET', KEYS[1], 'h') .. struct.pack('>I7I7I7B', 1, 1, 2^53 - 1, 255)",
    ),
];

/// Takes some units, replaces a field by garbage, and returns what is taken before and after.
async fn take_around(server: &Server, limiter: Limiter, write: (&str, &str, &str)) -> [u64; 2] {
    let before = limiter.take(5).await;
    let (key, field, value) = write;
    let script = format!("return redis.call('HSET', KEYS[1], ARGV[1], {value})");
    let reply = server.command(&["EVAL", &script, "1", key, field]);
    assert_eq!(reply, Reply::Integer(0), "{field}: {value}");
    // What was granted ahead of need lapses, and the process asks again.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut after = 0;
    for _ in 0..3 {
        after += limiter.take(2 * LIMIT).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    [before, after]
}

#[test]
fn garbage_in_any_field_is_no_grant() {
    let server = Server::start();
    let fleet = Fleet::new();
    let redis = &fleet.connect(&server, 1, |redis| redis)[0];
    let mut scenarios = MORE_GARBAGE.to_vec();
    for value in GARBAGE {
        scenarios.extend(["h", "w1", "b1"].map(|field| (field, value)));
    }
    // All at once: each waits for the server now and then.
    let mut calls = Vec::new();
    for (number, (field, value)) in scenarios.into_iter().enumerate() {
        let name = format!("{number}");
        for limiter in Limiter::both(redis, &name) {
            if field == "h" || field == limiter.field() {
                let key = format!("tt:1:{number}{}", limiter.field());
                let (kind, server) = (limiter.field(), &server);
                calls.push(async move {
                    let taken = take_around(server, limiter, (&key, field, value)).await;
                    (kind, field, value, taken)
                });
            }
        }
    }
    let results = fleet.runtime.block_on(futures::future::join_all(calls));
    let mut report = Report::new("garbage");
    for (kind, field, value, [before, after]) in results {
        let text = format!("{kind}: {field} = {value}: {before}, then {after}");
        // Either the state is new, or the process keeps to what it knows. A part of the limit
        // may have been granted ahead of need. A window may look as if it were full.
        let is_right = before == 5 && after <= LIMIT + LIMIT / 8 && (after >= 10 || field == "w1");
        report.check(is_right, text);
    }
    println!("garbage: {}", redis.status());
    report.end();
}

/// Moves all instants of a state by `ARGV[1]` microseconds, and its head if `ARGV[2]` is 1.
const SHIFT: &str = "
local key, by = KEYS[1], tonumber(ARGV[1])
local function moved(text, at)
  local instant = struct.unpack('>I7', text, at)
  return string.sub(text, 1, at - 1) .. struct.pack('>I7', instant + by) .. string.sub(text, at + 7)
end
local head = redis.call('HGET', key, 'h')
if ARGV[2] == '1' then head = moved(head, 1) end
redis.call('HSET', key, 'h', moved(moved(head, 15), 22))
local window = redis.call('HGET', key, 'w1')
if window then
  for at = 1, #window - 20, 14 do window = moved(window, at) end
  redis.call('HSET', key, 'w1', window)
end
local bucket = redis.call('HGET', key, 'b1')
if bucket then
  by = by / 1000000
  redis.call('HSET', key, 'b1', moved(bucket, 1))
end
return #(window or bucket)";

/// Lets the clock jump: moves what the server knows instead.
fn clock_jumps(seconds: i64, with_head: bool, times: u64) {
    const RATE: u64 = 150;
    let period = Duration::from_secs(2);
    let limit = RATE * 2;
    let server = Server::start();
    let fleet = Fleet::new();
    let processes = fleet.connect(&server, 4, |redis| redis);
    let (window, bucket) = (fleet.log(), fleet.log());
    for redis in &processes {
        let limiter = SlidingWindowLimiter::new(Quota::new(limit, period)).shared(redis, "window");
        fleet.wait_for(&limiter, 4, &window);
        let quota = Quota::per_second(RATE).burst(limit);
        let limiter = TokenBucketLimiter::new(quota).shared(redis, "bucket");
        fleet.wait_for_bucket(&limiter, 2, &bucket);
    }
    fleet.run_for(Duration::from_millis(2_600));
    let jumped = fleet.now();
    for name in ["tt:1:window", "tt:1:bucket"] {
        let by = (seconds * 1_000_000).to_string();
        let reply = server.command(&[
            "EVAL",
            SHIFT,
            "1",
            name,
            &by,
            &u8::from(with_head).to_string(),
        ]);
        assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
    }
    fleet.run_for(period + Duration::from_millis(3_400));

    let mut report = Report::new(&format!("clock {seconds} s, head {with_head}"));
    let late = fleet.latest();
    let period = period.saturating_sub(late);
    let starts = window.starts();
    let most = fullest(&starts, period);
    report.check(most <= times * limit, format!("fullest {most}"));
    // A period after the jump, or a second more if all processes have to report, it is used again.
    let again = jumped + (period + Duration::from_millis(1_400)).as_nanos();
    let after = between(&starts, jumped + period.as_nanos(), u128::MAX);
    let most = fullest(&after, period);
    report.check(most <= limit, format!("fullest a period later {most}"));
    let after = between(&starts, again, u128::MAX);
    let units = after.len() as u64;
    report.check(
        units >= limit / 2,
        format!("units in the next period {units}"),
    );

    let starts = bucket.starts();
    let slack = (RATE as f64 * (0.03 + 4.0 * late.as_secs_f64())) as u64;
    let most = burst(&starts, 1_000_000_000 / u128::from(RATE));
    report.check(
        most <= u128::from(times * limit + slack),
        format!("burst {most}"),
    );
    let after = between(&starts, again, u128::MAX);
    let units: u64 = after.iter().map(|(_, units)| units).sum();
    report.check(units >= RATE, format!("units of the bucket {units}"));
    report.end();
}

#[test]
fn clocks_may_jump() {
    together(&[
        ("back", |_| clock_jumps(3_600, false, 1)),
        ("another state, back", |_| clock_jumps(3_600, true, 1)),
        // Each period ends at the jump.
        ("forward", |_| clock_jumps(-3_600, false, 2)),
        ("another state, forward", |_| clock_jumps(-3_600, true, 1)),
    ]);
}
