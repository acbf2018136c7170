//! The scripts against the model.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use redis::{Connection, Value, cmd};
use sha1_smol::Sha1;

use super::{
    scripts::{self, Script},
    server::Server,
};
use crate::limit::{
    algorithm::Mark,
    store::{
        call::{
            Call, ChargedUnits, Lease, LimitSpec, MOST_EXACT, Outcome, Reply, Restore, SetQuota,
            StateKey, StoreError, Take, TakeReply, Version,
        },
        tests::model::{NameState, slots::SlotState},
    },
};

const START: u64 = 1_767_225_600_000_000_000;

/// A server of its own, and a connection that sends scripts as they are.
struct Scripts {
    _server: Server,
    connection: Connection,
}

impl Scripts {
    fn start() -> Self {
        let server = Server::start();
        let client = redis::Client::open(server.url()).unwrap();
        Self {
            connection: client.get_connection().unwrap(),
            _server: server,
        }
    }

    fn run(&mut self, words: &[&str]) -> Value {
        cmd(words[0])
            .arg(&words[1..])
            .query(&mut self.connection)
            .unwrap()
    }

    /// Carries out `call` by the server's clock.
    fn call(&mut self, call: &Call) -> Result<Reply, StoreError> {
        let command = scripts::encode(call, "tt");
        let mut eval = cmd("EVAL");
        eval.arg(command.script.text)
            .arg(1)
            .arg(command.key)
            .arg(command.args);
        match eval.query(&mut self.connection) {
            Ok(value) => scripts::decode(call, &value),
            Err(error) => Err(StoreError::Unreadable(error.to_string().into())),
        }
    }

    /// Carries out `call` at `now`.
    fn call_at(&mut self, call: &Call, now: u64) -> Reply {
        let command = scripts::encode(call, "tt");
        let text = command.script.text;
        assert!(text.contains("redis.call('TIME')"));
        let text = text.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}");
        // The keys expire by the real clock.
        let text = text.replace(", 'PX', math.ceil(lasting / 1000)", "");
        let mut eval = cmd("EVAL");
        eval.arg(text).arg(1).arg(command.key).arg(command.args);
        eval.arg(now / 1_000_000_000)
            .arg(now % 1_000_000_000 / 1_000);
        let value = eval.query(&mut self.connection).unwrap();
        scripts::decode(call, &value).unwrap()
    }
}

fn model(state: &mut NameState, call: &Call, now: u64) -> Reply {
    match call {
        Call::Take(take) => return Reply::Take(state.take(take, now)),
        Call::Restore(restore) => state.restore(restore, now),
        Call::SetQuota(set) => state.set_quota(set, now),
        Call::Beat { .. } | Call::Lease(_) => panic!("not of a name"),
    }
    Reply::Done
}

/// What a few processes do with one name, at random.
struct Steps {
    rng: StdRng,
    now: u64,
    /// The limits of the code before and after a deployment.
    codes: [Arc<[LimitSpec]>; 2],
    hold: Duration,
    seen: [Option<Version>; 4],
    granted: Vec<(usize, Mark)>,
    key: StateKey,
}

impl Steps {
    fn new(seed: u64, limits: Vec<LimitSpec>, others: Vec<LimitSpec>, hold: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: START,
            codes: [limits.into(), others.into()],
            hold: Duration::from_micros(hold),
            seen: [None; 4],
            granted: Vec::new(),
            key: StateKey::of_name("name"),
        }
    }

    fn of_client(self) -> Self {
        let client = Some(*b"0123456789abcdef");
        let key = StateKey { client, ..self.key };
        Self { key, ..self }
    }

    fn one_in(&mut self, steps: u32) -> bool {
        self.rng.random_ratio(1, steps)
    }

    fn code(&mut self) -> Arc<[LimitSpec]> {
        Arc::clone(&self.codes[usize::from(self.one_in(20))])
    }

    /// Mostly a few units, sometimes most of the capacity.
    fn units(&mut self, limits: &[LimitSpec]) -> Vec<u64> {
        let shift = self.rng.random_range(0..8);
        let units = limits.iter().map(|limit| limit.capacity() >> shift);
        let units: Vec<u64> = units.collect();
        units
            .into_iter()
            .map(|most| self.rng.random_range(0..=most + most / 8))
            .collect()
    }

    fn next(&mut self) -> (usize, Call) {
        let process = self.rng.random_range(0..4);
        let step = match self.rng.random_range(0..1_000) {
            0 => 3_600_000_000,
            1..20 => self.rng.random_range(0..10_000_000),
            20..500 => self.rng.random_range(0..20_000),
            500..800 => self.rng.random_range(0..300),
            _ => 0,
        };
        self.now += step * 1_000;
        if self.one_in(300) {
            let most = if self.one_in(2) {
                3_600_000_000
            } else {
                100_000
            };
            self.now -= self.rng.random_range(0..most) * 1_000;
        }
        let (name, limits) = (Arc::<str>::from("name"), self.code());
        if self.key.client.is_none() && self.one_in(100) {
            let number = self.rng.random_range(0..limits.len());
            let set = SetQuota {
                name,
                new: self.changed(&limits[number]),
                number,
                limits,
            };
            return (process, Call::SetQuota(set));
        }
        if self.one_in(50) {
            let taken = limits.iter().map(|_| self.history()).collect();
            let grace = Duration::from_millis(if self.one_in(2) { 30 } else { 0 });
            let id = self.rng.random_range(0..100);
            return (
                process,
                Call::Restore(Restore {
                    id,
                    key: self.key.clone(),
                    limits,
                    taken,
                    grace,
                }),
            );
        }
        let cost = match self.one_in(20) {
            true => vec![0; limits.len()],
            false => self.units(&limits),
        };
        let more = match self.one_in(3) {
            true => vec![0; limits.len()],
            false => self.units(&limits),
        };
        let mut returned = Vec::new();
        while !self.granted.is_empty() && self.one_in(3) {
            let index = self.rng.random_range(0..self.granted.len());
            let (limit, mut mark) = self.granted.swap_remove(index);
            mark.cost = self.rng.random_range(0..=mark.cost);
            returned.push((limit, mark));
        }
        let mut charged = Vec::new();
        while self.one_in(4) {
            let limit = self.rng.random_range(0..limits.len());
            let since = self.now - self.rng.random_range(0..2_000_000) * 1_000;
            let most = limits[limit].capacity() / 4;
            let units = self.rng.random_range(0..=most);
            let reported = self.one_in(3);
            charged.push(ChargedUnits {
                limit,
                at: since,
                units: if reported { MOST_EXACT } else { units },
                up_to: reported.then_some(units * 3),
            });
        }
        let pause = match self.rng.random_range(0..1_000) {
            0 => 3_600_000_000,
            1..20 => self.rng.random_range(0..50_000),
            _ => 0,
        };
        let late = self.one_in(50);
        let seen = self.seen[process].filter(|_| !self.rng.random_ratio(1, 50));
        let take = Take {
            key: self.key.clone(),
            limits,
            process: process as u64 + 1,
            cost,
            more,
            hold: self.hold,
            is_in_turn: self.one_in(2),
            patience: Duration::from_millis(self.rng.random_range(0..400)),
            claim: Duration::from_micros(self.rng.random_range(0..20_000)),
            not_after: late.then_some(self.now - 1_000),
            seen,
            grace: Duration::from_millis(30),
            returned,
            charged,
            pause: Duration::from_micros(pause),
        };
        (process, Call::Take(take))
    }

    fn changed(&mut self, limit: &LimitSpec) -> LimitSpec {
        let capacity = self.rng.random_range(0..=2 * limit.capacity());
        match *limit {
            LimitSpec::Bucket { unit_nanos, .. } => LimitSpec::Bucket {
                capacity,
                unit_nanos: self.rng.random_range(1..=2 * unit_nanos),
            },
            LimitSpec::Window { period_micros, .. } => LimitSpec::Window {
                capacity,
                period_micros: self.rng.random_range(1..=2 * period_micros),
            },
        }
    }

    fn history(&mut self) -> Vec<(u64, u64)> {
        let starts = self.rng.random_range(0..5);
        let mut at = self.now;
        let starts = (0..starts).map(|_| {
            at -= self.rng.random_range(0..200_000_000);
            (at / 1_000 * 1_000, self.rng.random_range(0..50))
        });
        let mut starts: Vec<_> = starts.collect();
        starts.reverse();
        starts
    }

    fn saw(&mut self, process: usize, taken: &TakeReply) {
        self.seen[process] = Some(taken.version);
        if let Outcome::Granted { marks, .. } = &taken.outcome {
            self.granted.extend(marks.iter().copied().enumerate());
            let forgotten = self.granted.len().saturating_sub(20);
            self.granted.drain(..forgotten);
        }
    }

    /// Compares 10,000 steps.
    fn compare(mut self) {
        let mut server = Scripts::start();
        let key = match self.key.client {
            None => "tt:2:name",
            Some(_) => "tt:c:MDEyMzQ1Njc4OWFiY2RlZg",
        };
        let (mut state, mut copy) = (NameState::default(), NameState::default());
        let mut outcomes = [0; 5];
        for step in 0..10_000 {
            match self.rng.random_range(0..2_000) {
                0 => {
                    state = NameState::default();
                    server.run(&["DEL", key]);
                }
                1 => {
                    state = copy.clone();
                    server.run(&["DEL", key]);
                    server.run(&["COPY", "copy", key]);
                }
                2..6 => {
                    copy = state.clone();
                    server.run(&["DEL", "copy"]);
                    server.run(&["COPY", key, "copy"]);
                }
                _ => {}
            }
            let (process, call) = self.next();
            // A client that is idle is forgotten.
            if self.key.client.is_some() && state.idle_at() <= self.now / 1_000 {
                state = NameState::default();
                server.run(&["DEL", key]);
            }
            let expected = model(&mut state, &call, self.now);
            let reply = server.call_at(&call, self.now);
            assert_eq!(
                reply, expected,
                "step {step} at {}: {call:?} {state:#?}",
                self.now
            );
            if let Reply::Take(taken) = &reply {
                self.saw(process, taken);
                outcomes[match taken.outcome {
                    Outcome::Granted { .. } => 0,
                    Outcome::Wait(_) => 1,
                    Outcome::Never => 2,
                    Outcome::TooLate => 3,
                    Outcome::Lost(_) => 4,
                }] += 1;
            }
        }
        // Each of them was compared often enough.
        let lost = outcomes[4] > 5 || self.key.client.is_some();
        assert!(
            lost && outcomes[..4].iter().all(|count| *count > 5),
            "{outcomes:?}"
        );
        assert!(
            outcomes[..2].iter().all(|count| *count > 1_000),
            "{outcomes:?}"
        );
    }
}

fn bucket(capacity: u64, unit_nanos: u64) -> LimitSpec {
    LimitSpec::Bucket {
        capacity,
        unit_nanos,
    }
}

fn window(capacity: u64, period_micros: u64) -> LimitSpec {
    LimitSpec::Window {
        capacity,
        period_micros,
    }
}

#[test]
fn a_reply_that_makes_no_sense_is_an_error() {
    let limits = [bucket(10, 1_000_000)];
    let call = take(&limits, &[1]);
    let reply = |outcome: u8, slowest: u8, second: u64, mark: u64| {
        let mut bytes = vec![outcome, slowest];
        let numbers = [second, 0, 1, 1, 0, 0, 0, 0, 1, mark, mark, 0];
        let used = if outcome == 0 { 12 } else { 8 };
        for number in &numbers[..used] {
            bytes.extend_from_slice(&number.to_be_bytes()[1..]);
        }
        scripts::decode(&call, &Value::BulkString(bytes))
    };
    assert!(reply(0, 0, 1_767_225_600, 5).is_ok() && reply(1, 0, 1_767_225_600, 5).is_ok());
    let most = (1 << 56) - 1;
    for (outcome, slowest, second, mark) in [
        (1, 1, 1_767_225_600, 5),
        (1, 200, 1_767_225_600, 5),
        (9, 0, 1_767_225_600, 5),
        (0, 0, 0, 5),
        (0, 0, most, 5),
        (1, 0, most, 5),
    ] {
        let error = reply(outcome, slowest, second, mark).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    }
    // Not the whole of it.
    let long = Value::Array(vec![Value::Int(7); 100_000]);
    assert!(scripts::decode(&call, &long).unwrap_err().to_string().len() < 100);
}

#[test]
#[ignore = "needs redis-server"]
fn a_bucket_does_as_its_model() {
    let limits = vec![bucket(100, 1_234_567)];
    Steps::new(1, limits, vec![bucket(50, 3_333_333)], 10_000).compare();
}

#[test]
#[ignore = "needs redis-server"]
fn a_slow_bucket_does_as_its_model() {
    let limits = vec![bucket(40, 50_000_000_000_000)];
    Steps::new(2, limits, vec![bucket(1, 1)], 0).compare();
}

#[test]
#[ignore = "needs redis-server"]
fn a_window_does_as_its_model() {
    let limits = vec![window(1_000, 1_000_000)];
    Steps::new(3, limits, vec![window(300, 777_777)], 10_000).compare();
}

#[test]
#[ignore = "needs redis-server"]
fn three_limits_do_as_their_model() {
    let limits = vec![
        window(200, 1_000_000),
        window(40_000, 600_000),
        bucket(500, 2_000_003),
    ];
    let others = vec![window(200, 1_000_000), bucket(70_000, 50_000)];
    Steps::new(4, limits, others, 8_000).compare();
}

#[test]
#[ignore = "needs redis-server"]
fn a_bucket_of_a_client_does_as_its_model() {
    // A unit time that does not fit into 4 bytes, and one that does.
    let limits = vec![bucket(100, 100_000_001)];
    let steps = Steps::new(5, limits, vec![bucket(50, 3_333_333)], 10_000);
    steps.of_client().compare();
}

#[test]
#[ignore = "needs redis-server"]
fn a_window_of_a_client_does_as_its_model() {
    let limits = vec![window(1_000, 1_000_000)];
    let steps = Steps::new(6, limits, vec![bucket(300, 7_777_777)], 10_000);
    steps.of_client().compare();
}

#[test]
#[ignore = "needs redis-server"]
fn two_limits_of_a_client_do_as_their_model() {
    let limits = vec![bucket(100, 10_000_001), window(1_000, 3_000_000)];
    let steps = Steps::new(7, limits, vec![bucket(100, 30_000_001)], 10_000);
    steps.of_client().compare();
}

fn take(limits: &[LimitSpec], cost: &[u64]) -> Call {
    Call::Take(Take {
        key: StateKey::of_name("name"),
        limits: limits.into(),
        process: 1,
        cost: cost.to_vec(),
        more: vec![0; cost.len()],
        hold: Duration::from_millis(10),
        is_in_turn: false,
        patience: Duration::from_secs(1),
        claim: Duration::from_millis(250),
        not_after: None,
        seen: None,
        grace: Duration::from_secs(1),
        returned: Vec::new(),
        charged: Vec::new(),
        pause: Duration::ZERO,
    })
}

fn take_of_client(client: u128, limits: &[LimitSpec], cost: &[u64]) -> Call {
    let Call::Take(take) = take(limits, cost) else {
        panic!("another call");
    };
    Call::Take(Take {
        key: StateKey {
            client: Some(client.to_be_bytes()),
            ..take.key
        },
        patience: Duration::ZERO,
        ..take
    })
}

fn restore(limits: &[LimitSpec]) -> Call {
    Call::Restore(Restore {
        id: 1,
        key: StateKey::of_name("name"),
        limits: limits.into(),
        taken: vec![vec![(START, 1)]; limits.len()],
        grace: Duration::ZERO,
    })
}

fn set_quota(limits: &[LimitSpec]) -> Call {
    Call::SetQuota(SetQuota {
        name: "name".into(),
        limits: limits.into(),
        number: 0,
        new: limits[0],
    })
}

fn beat(process: u64) -> Call {
    let expires = Duration::from_millis(300);
    Call::Beat { process, expires }
}

/// If a script is changed, this prints its new digest.
#[test]
fn digests_are_those_of_the_scripts() {
    let limits = [bucket(5, 1)];
    let calls = [
        take(&limits, &[1]),
        restore(&limits),
        set_quota(&limits),
        beat(1),
        Call::Lease(lease(1, 0, 0)),
    ];
    let scripts = calls.map(|call| scripts::encode(&call, "tt").script);
    let digests = scripts.map(|script: &Script| script.sha1);
    assert_eq!(
        digests.map(str::to_owned),
        scripts.map(|script| Sha1::from(script.text).digest().to_string())
    );
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_with_few_permissions_is_enough() {
    let mut server = Scripts::start();
    let user = "ACL SETUSER few on >few ~tt:* +@connection -@dangerous +evalsha +eval +get +set \
                +setrange +del +time";
    server.run(&user.split_whitespace().collect::<Vec<_>>());
    server.run(&["AUTH", "few", "few"]);
    let limits = [bucket(5, 1_000_000_000), window(5, 60_000_000)];
    let Ok(Reply::Take(taken)) = server.call(&take_of_client(1, &limits, &[1, 1])) else {
        panic!("another reply");
    };
    let Outcome::Granted { marks, .. } = taken.outcome else {
        panic!("{taken:?}");
    };
    // All is given back, so that the key is deleted.
    let Call::Take(mut give_back) = take_of_client(1, &limits, &[0, 0]) else {
        panic!("another call");
    };
    give_back.returned = marks.into_iter().enumerate().collect();
    for call in [
        Call::Take(give_back),
        take_of_client(1, &limits[..1], &[1]),
        take(&limits, &[1, 1]),
        take(&limits, &[1, 1]),
        restore(&limits),
        set_quota(&limits),
        beat(1),
    ] {
        let reply = server.call(&call);
        assert!(reply.is_ok(), "{reply:?}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn unreadable_clients_are_granted_nothing() {
    let mut server = Scripts::start();
    let key = "tt:c:AAAAAAAAAAAAAAAAAAAAAQ";
    let limits = [bucket(5, 1_000_000_000), window(5, 60_000_000)];
    let (one, two) = (
        take_of_client(1, &limits[..1], &[1]),
        take_of_client(1, &limits, &[1, 1]),
    );
    // A bucket whose units take no time, or are no number.
    for (call, value) in [
        (&one, "string.rep('\\0', 12)"),
        (&one, "string.rep('\\255', 12)"),
        (&one, "string.rep('\\0', 13)"),
        (&two, "string.rep('\\255', 12)"),
        (&two, "string.rep('\\0', 48)"),
        (&two, "string.rep('\\255', 47)"),
        (
            &two,
            "struct.pack('>I7I7I7I7I7I4I4I4', 1, 1, 0, 0, 0, 0, 0, 0)",
        ),
    ] {
        server.run(&[
            "EVAL",
            &format!("redis.call('SET', KEYS[1], {value})"),
            "1",
            key,
        ]);
        let reply = server.call(call);
        assert!(
            matches!(reply, Err(StoreError::Unreadable(_))),
            "{value}: {reply:?}"
        );
    }
    // From the end of all times: it refills in a burst.
    let value = "struct.pack('>I4I4f', 2^32 - 1, 2^32 - 1, 1e9)";
    server.run(&[
        "EVAL",
        &format!("redis.call('SET', KEYS[1], {value})"),
        "1",
        key,
    ]);
    let Ok(Reply::Take(taken)) = server.call(&one) else {
        panic!("another reply");
    };
    assert_eq!(taken.outcome, Outcome::Wait(Duration::from_secs(1)));
}

#[test]
#[ignore = "needs redis-server"]
fn keys_of_clients_expire_when_idle() {
    let mut server = Scripts::start();
    for (client, limits, cost, millis) in [
        (1, vec![bucket(5, 1_000_000_000)], vec![2], 2_010),
        (2, vec![window(5, 60_000_000)], vec![1], 60_235),
        (
            3,
            vec![window(5, 600_000), bucket(5, 1_000_000_000)],
            vec![1, 1],
            1_010,
        ),
    ] {
        server
            .call(&take_of_client(client, &limits, &cost))
            .unwrap();
        let command = scripts::encode(&take_of_client(client, &limits, &cost), "tt");
        let Value::Int(left) = server.run(&["PTTL", &command.key]) else {
            panic!("no time to live");
        };
        assert!(
            (millis - 500..=millis + 10).contains(&left),
            "{left} of {millis} ms"
        );
    }
}

/// Prints the bytes that a client takes on the server.
#[test]
#[ignore = "needs redis-server"]
fn a_client_takes_few_bytes() {
    const CLIENTS: u128 = 100_000;
    let hour = 3_600_000_000_000;
    for (limits, most) in [
        (vec![bucket(50, hour)], 160),
        (vec![window(50, hour / 1_000)], 300),
        (vec![bucket(50, hour), window(50, hour / 1_000)], 350),
    ] {
        let mut server = Scripts::start();
        let used = |server: &mut Scripts| {
            let info = server.run(&["INFO", "memory"]);
            let info: String = redis::from_redis_value(info).unwrap();
            let used = info
                .lines()
                .find_map(|line| line.strip_prefix("used_memory:"));
            used.unwrap().parse::<u128>().unwrap()
        };
        server
            .call(&take_of_client(0, &limits, &vec![1; limits.len()]))
            .unwrap();
        let before = used(&mut server);
        for clients in 0..CLIENTS / 1_000 {
            let mut pipe = redis::pipe();
            for client in 1..=1_000 {
                // As digests are: without order.
                let client =
                    (clients * 1_000 + client).wrapping_mul(0x9e37_79b9_7f4a_7c15 << 60 | 1);
                let call = take_of_client(client, &limits, &vec![1; limits.len()]);
                let command = scripts::encode(&call, "tt");
                pipe.cmd("EVALSHA").arg(command.script.sha1).arg(1);
                pipe.arg(command.key).arg(command.args).ignore();
            }
            pipe.exec(&mut server.connection).unwrap();
        }
        let bytes = (used(&mut server) - before) / CLIENTS;
        println!("{limits:?}: {bytes} bytes");
        assert!(bytes <= most, "{bytes} bytes");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_unreadable_grants_nothing() {
    let mut server = Scripts::start();
    let limits = [bucket(5, 1_000_000_000), window(5, 60_000_000)];
    let call = take(&limits, &[1, 1]);
    // The head has 47 bytes, the bucket 47, and the window 26.
    for (place, value) in [
        (0, "an instant that is too late"),
        (35, "more bytes of quotas than there are"),
        (48, "another length of the bucket"),
        (95, "another length of the window"),
        (99, "more units than there are"),
        (120, "and more"),
    ] {
        server.run(&["DEL", "tt:2:name"]);
        assert!(server.call(&call).is_ok());
        server.run(&["SETRANGE", "tt:2:name", &place.to_string(), value]);
        let reply = server.call(&call);
        assert!(
            matches!(reply, Err(StoreError::Unreadable(_))),
            "{place}: {reply:?}"
        );
    }
    server.run(&["SET", "tt:2:name", "short"]);
    assert!(matches!(server.call(&call), Err(StoreError::Unreadable(_))));
    server.run(&["DEL", "tt:2:name"]);
    server.run(&["RPUSH", "tt:2:name", "another type"]);
    server.run(&["SET", "tt:processes", "short"]);
    for call in [call, restore(&limits), set_quota(&limits), beat(1)] {
        let reply = server.call(&call);
        assert!(matches!(reply, Err(StoreError::Unreadable(_))), "{reply:?}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn keys_expire() {
    let mut server = Scripts::start();
    let hour = 3_600_000_000_000;
    for (limits, hours) in [
        (vec![bucket(5, 1)], 24),
        (vec![window(5, 60_000_000)], 24),
        // Twice the longest, also if it was shorter before.
        (vec![bucket(20, hour)], 40),
        (vec![bucket(20, hour), window(5, 50 * 3_600_000_000)], 100),
        (vec![bucket(5, 1)], 100),
    ] {
        server.call(&take(&limits, &vec![1; limits.len()])).unwrap();
        let Value::Int(left) = server.run(&["PTTL", "tt:2:name"]) else {
            panic!("no time to live");
        };
        let expected = hours * 3_600_000;
        assert!(
            (expected - 60_000..=expected).contains(&left),
            "{left} of {hours} h"
        );
    }
    server.call(&beat(1)).unwrap();
    assert!(matches!(
        server.run(&["PTTL", "tt:processes"]),
        Value::Int(1..=301)
    ));
}

#[test]
#[ignore = "needs redis-server"]
fn processes_are_counted_until_they_expire() {
    let mut server = Scripts::start();
    let mut at = |process, millis: u64| {
        let now = START + millis * 1_000_000;
        server.call_at(&beat(process), now)
    };
    assert_eq!(at(1, 0), Reply::Processes(1));
    assert_eq!(at(2, 100), Reply::Processes(2));
    assert_eq!(at(1, 250), Reply::Processes(2));
    assert_eq!(at(1, 399), Reply::Processes(2));
    assert_eq!(at(1, 400), Reply::Processes(1));
}

#[test]
#[ignore = "needs redis-server"]
fn the_clock_of_the_server_counts() {
    let mut server = Scripts::start();
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let Reply::Take(taken) = server.call(&take(&[window(5, 1_000_000)], &[1])).unwrap() else {
        panic!("another reply");
    };
    let now = Duration::from_nanos(taken.now);
    assert!(
        (since..since + Duration::from_secs(5)).contains(&now),
        "{now:?}"
    );
    assert_eq!(taken.version.made, taken.now / 1_000);
}

fn lease(process: u64, held: u64, wanted: u64) -> Lease {
    Lease {
        name: "name".into(),
        process,
        limit: 10,
        held,
        wanted,
        expires: Duration::from_secs(2),
        has_seen: held % 2 == 1,
        grace: Duration::from_secs(1),
    }
}

#[test]
#[ignore = "needs redis-server"]
fn leases_do_as_their_model() {
    let (mut server, mut model) = (Scripts::start(), SlotState::default());
    let mut random = StdRng::seed_from_u64(1);
    let (mut now, mut held) = (START, [0; 4]);
    for step in 0..10_000 {
        now += random.random_range(0..400_000) * 1_000;
        let process = random.random_range(0..4);
        let lease = lease(
            process as u64 + 1,
            held[process],
            random.random_range(0..12),
        );
        let expected = model.lease(&lease, now);
        let reply = server.call_at(&Call::Lease(lease), now);
        assert_eq!(reply, Reply::Lease(expected), "step {step}");
        held[process] = random.random_range(0..=expected.slots);
    }
}
