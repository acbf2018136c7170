//! States that this crate does not write, and names that it does not expect.

use std::time::{Duration, Instant};

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::{
    fleet::burst,
    fleet::{Fleet, Report, between, fullest, together},
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

    fn kind(&self) -> &'static str {
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
            let key = format!("tt:2:{name}{}", limiter.kind());
            server.command(&[&[name, &key], &command[1..]].concat());
            // The share of one process is the limit.
            assert_eq!(limiter.take(3 * LIMIT).await, LIMIT, "{name}");
        }
        // The server is not down.
        assert!(redis.status().is_connected);
    }
}

/// Values that replace a part of a state, as Lua.
const GARBAGE: [&str; 15] = [
    "''",
    "'x'",
    "string.rep('x', 12)",
    "string.rep('x', 47)",
    "string.rep('x', 94)",
    "string.rep('\\0', 7)",
    "string.rep('\\0', 47)",
    "string.rep('\\0', 94)",
    "string.rep('\\255', 7)",
    "string.rep('\\255', 26)",
    "string.rep('\\255', 47)",
    "string.rep('\\255', 94)",
    "string.rep('\\255', 28) .. string.rep('\\0', 7)",
    "string.rep('\\0', 35) .. string.rep('\\255', 12)",
    "string.rep('\\1', 1000003)",
];

/// Values of the only limit: units without a start, more and fewer than the starts have, a start
/// without units, and a refill time of zero; of the head: from the end of all times, quotas, and
/// claims.
const MORE_GARBAGE: [(&str, &str); 12] = [
    ("w1", "struct.pack('>bI4I7', -1, 7, 20)"),
    ("w1", "struct.pack('>bI4I7I7I7', -1, 21, 20, 2^52, 5)"),
    ("w1", "struct.pack('>bI4I7I7I7', -1, 21, 5, 2^52, 20)"),
    ("w1", "struct.pack('>bI4I7I7I7', -1, 21, 5, 1, 20)"),
    ("w1", "struct.pack('>bI4I7I7I7', -1, 21, 0, 2^52, 0)"),
    (
        "b1",
        "struct.pack('>bI4I7I7I7I7I7I7', 1, 42, 1, 1, 1, 1, 20, 0)",
    ),
    (
        "b1",
        "struct.pack('>bI4I7I7I7I7I7I7', 1, 42, 2^52, 2^52, 2^52, 2^52, 2^52, 2^52)",
    ),
    ("b1", "struct.pack('>bI4', 1, 2^32 - 1)"),
    ("b1", "struct.pack('>bI4', 0, 0)"),
    (
        "h",
        "struct.pack('>I7I7I7I7I7I4I4I4', 2^53, 2^53, 2^53, 2^53, 2^53, 0, 0, 0)",
    ),
    (
        "h",
        "string.sub(saved, 1, 35) .. struct.pack('>I4I4I4', 9, 0, 0) .. 'quotas'",
    ),
    (
        "h",
        "string.sub(saved, 1, 35) .. struct.pack('>I4I4I4I7I7I7B', 0, 22, 0, 1, 1, 2^53 - 1, 255)",
    ),
];

/// Takes some units, replaces the head or the limit by garbage, and returns what is taken before
/// and after.
async fn take_around(server: &Server, limiter: Limiter, write: (&str, &str, &str)) -> [u64; 2] {
    let mut before = limiter.take(5).await;
    while before < 5 {
        // A reply was late, on a busy machine.
        tokio::time::sleep(Duration::from_millis(100)).await;
        before += limiter.take(5 - before).await;
    }
    let (key, part, value) = write;
    let state = match part {
        "h" => format!("{value} .. string.sub(saved, 48)"),
        "all" => value.to_owned(),
        _ => format!("string.sub(saved, 1, 47) .. {value}"),
    };
    let script = format!(
        "local saved = redis.call('GET', KEYS[1])
        return redis.call('SET', KEYS[1], {state})"
    );
    let reply = server.command(&["EVAL", &script, "1", key]);
    assert_eq!(reply, Reply::Text("OK".to_owned()), "{part}: {value}");
    // What was granted ahead of need lapses, and the process asks again.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut after = 0;
    // A state that was lost is closed for 2 s.
    for _ in 0..5 {
        after += limiter.take(2 * LIMIT).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    [before, after]
}

#[test]
fn garbage_in_any_part_is_no_grant() {
    let server = Server::start();
    let fleet = Fleet::new();
    let redis = &fleet.connect(&server, 1, |redis| redis)[0];
    let mut scenarios = MORE_GARBAGE.to_vec();
    for value in GARBAGE {
        scenarios.extend(["h", "w1", "b1", "all"].map(|part| (part, value)));
    }
    // Many at once: each waits for the server now and then.
    let mut results = Vec::new();
    for (turn, scenarios) in scenarios.chunks(20).enumerate() {
        let mut calls = Vec::new();
        for (number, (part, value)) in scenarios.iter().enumerate() {
            let name = format!("{turn}-{number}");
            for limiter in Limiter::both(redis, &name) {
                if *part == "h" || *part == "all" || *part == limiter.kind() {
                    let key = format!("tt:2:{name}{}", limiter.kind());
                    let (kind, server) = (limiter.kind(), &server);
                    calls.push(async move {
                        let taken = take_around(server, limiter, (&key, part, value)).await;
                        (kind, part, value, taken)
                    });
                }
            }
        }
        let calls = futures::future::join_all(calls);
        results.extend(fleet.runtime.block_on(calls));
    }
    let mut report = Report::new("garbage");
    for (kind, part, value, [before, after]) in results {
        let text = format!("{kind}: {part} = {value}: {before}, then {after}");
        // Either the state is new, or the process keeps to what it knows. A part of the limit
        // may have been granted ahead of need. A window may look as if it were full.
        let is_window = *part == "w1" || *part == "all" && kind == "w1";
        let is_right = before == 5 && after <= LIMIT + LIMIT / 8 && (after >= 10 || is_window);
        report.check(is_right, text);
    }
    println!("garbage: {}", redis.status());
    report.end();
}

/// Moves all instants of a state with one limit by `ARGV[1]` microseconds, and its head if
/// `ARGV[2]` is 1.
const SHIFT: &str = "
local key, by = KEYS[1], tonumber(ARGV[1])
local state = redis.call('GET', key)
local function move(at, by)
  local instant = struct.unpack('>I7', state, at)
  state = string.sub(state, 1, at - 1) .. struct.pack('>I7', instant + by)
    .. string.sub(state, at + 7)
end
if ARGV[2] == '1' then move(1, by) end
move(15, by)
move(29, by)
local quotas, claims, reports = struct.unpack('>I4I4I4', state, 36)
local place = 48 + quotas + claims + reports
if struct.unpack('>b', state, place) < 0 then
  for at = place + 12, #state - 13, 14 do move(at, by) end
else
  move(place + 5, by / 1000000)
end
redis.call('SET', key, state)
return #state";

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
    for name in ["tt:2:window", "tt:2:bucket"] {
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
