//! Calls as scripts with arguments, and replies. The state is described in `lua/open.lua`.

use std::{sync::Arc, time::Duration};

use redis::Value;

use crate::limit::{
    algorithm::Mark,
    clock::TIMER_LATENESS,
    nanos,
    store::call::{
        Call, LeaseReply, LimitSpec, MOST_EXACT, Outcome, Reply, Restore, SetQuota, StoreError,
        Take, TakeReply, Version, micros,
    },
};

/// The nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) text: &'static str,
    /// Of the text, in hexadecimal digits, for `EVALSHA`.
    pub(super) sha1: &'static str,
}

/// A script with its only key and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) script: &'static Script,
    pub(super) key: String,
    pub(super) args: Vec<Vec<u8>>,
}

/// Returns the text of a script of a name.
macro_rules! of_name {
    ($file:literal) => {
        concat!(
            include_str!("lua/open.lua"),
            include_str!($file),
            include_str!("lua/save.lua")
        )
    };
}

static TAKE: Script = Script {
    text: of_name!("lua/take.lua"),
    sha1: "3bcd0269b3f434924eb44aeef4a44285470c13ea",
};

static RESTORE: Script = Script {
    text: of_name!("lua/restore.lua"),
    sha1: "45119272e4d823c90588521eb6e48c9c5861bba2",
};

static SET_QUOTA: Script = Script {
    text: of_name!("lua/set_quota.lua"),
    sha1: "8ab4742aa11c30a7406c6cb4244dc32525370577",
};

static BEAT: Script = Script {
    text: include_str!("lua/beat.lua"),
    sha1: "526fc37e381c4830b129c89dfa3f61764b92e2f1",
};

static LEASE: Script = Script {
    text: include_str!("lua/lease.lua"),
    sha1: "f2c9c8dc2b31380171386fb247976a6b8b882f04",
};

/// Returns the script that carries out `call`, for keys that begin with `prefix`.
pub(super) fn encode(call: &Call, prefix: &str) -> Command {
    match call {
        Call::Take(take) => {
            let numbers = numbers_of_take(take);
            of_name(&TAKE, prefix, &take.name, &take.limits, numbers)
        }
        Call::Restore(restore) => {
            let numbers = numbers_of_restore(restore);
            of_name(&RESTORE, prefix, &restore.name, &restore.limits, numbers)
        }
        Call::SetQuota(SetQuota { name, limits, new }) => {
            let mut numbers = without_loss();
            numbers.extend(encode_limits(new));
            of_name(&SET_QUOTA, prefix, name, limits, numbers)
        }
        Call::Lease(lease) => {
            let mut args = Vec::new();
            let times = [lease.expires, lease.grace].map(micros);
            put(&mut args, [lease.process, lease.limit, lease.held]);
            put(
                &mut args,
                [lease.wanted, times[0], times[1], lease.has_seen.into()],
            );
            Command {
                script: &LEASE,
                key: format!("{prefix}:1s:{}", lease.name),
                args: vec![args],
            }
        }
        Call::Beat { process, expires } => {
            let mut args = Vec::new();
            put(&mut args, [*process, micros(*expires)]);
            Command {
                script: &BEAT,
                key: format!("{prefix}:processes"),
                args: vec![args],
            }
        }
    }
}

/// Returns the reply to `call` in the result of its script.
///
/// # Errors
///
/// Returns [`StoreError::Unreadable`] if it is no such reply.
pub(super) fn decode(call: &Call, value: &Value) -> Result<Reply, StoreError> {
    let reply = match (call, value) {
        (Call::Take(take), Value::BulkString(bytes)) => decode_taken(take, bytes).map(Reply::Take),
        (Call::Restore(_) | Call::SetQuota(_), Value::Int(1)) => Some(Reply::Done),
        (Call::Beat { .. }, Value::Int(count)) => u64::try_from(*count).ok().map(Reply::Processes),
        (Call::Lease(_), Value::Array(values)) => match values.as_slice() {
            [Value::Int(slots), Value::Int(others)] => u64::try_from(*slots).ok().map(|slots| {
                let others_wait = *others == 1;
                Reply::Lease(LeaseReply { slots, others_wait })
            }),
            _ => None,
        },
        _ => None,
    };
    reply.ok_or_else(|| StoreError::Unreadable(format!("unexpected reply: {value:?}").into()))
}

fn of_name(
    script: &'static Script,
    prefix: &str,
    name: &str,
    limits: &[LimitSpec],
    numbers: Vec<u8>,
) -> Command {
    let mut args = vec![encode_limits(limits), numbers];
    // Each kind has fields of its own, so that they never mix while processes are replaced.
    args.extend(limits.iter().zip(1..).map(|(limit, number)| {
        let kind = match limit {
            LimitSpec::Bucket { .. } => 'b',
            LimitSpec::Window { .. } => 'w',
        };
        format!("{kind}{number}").into_bytes()
    }));
    Command {
        script,
        // The number of the format.
        key: format!("{prefix}:1:{name}"),
        args,
    }
}

fn encode_limits(limits: &[LimitSpec]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(15 * limits.len());
    for limit in limits {
        let (kind, capacity, unit) = match *limit {
            LimitSpec::Bucket {
                capacity,
                unit_nanos,
            } => (b'b', capacity, unit_nanos.max(1)),
            LimitSpec::Window {
                capacity,
                period_micros,
            } => (b'w', capacity, period_micros),
        };
        bytes.push(kind);
        put(&mut bytes, [capacity, unit]);
    }
    bytes
}

fn decode_limits(bytes: &[u8]) -> Option<Arc<[LimitSpec]>> {
    let limit = |bytes: &[u8]| {
        let (kind, mut bytes) = bytes.split_first()?;
        let [capacity, unit] = get(&mut bytes)?;
        match kind {
            b'b' => Some(LimitSpec::Bucket {
                capacity,
                unit_nanos: unit,
            }),
            b'w' => Some(LimitSpec::Window {
                capacity,
                period_micros: unit,
            }),
            _ => None,
        }
    };
    bytes.chunks(15).map(limit).collect()
}

fn numbers_of_take(take: &Take) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let returned = take.returned.iter();
    let returned = returned.filter(|(limit, _)| *limit < take.limits.len());
    let late = if take.is_in_turn {
        nanos(TIMER_LATENESS)
    } else {
        0
    };
    let (made, sequence) = take.seen.map_or((0, 0), |seen| (seen.made, seen.sequence));
    let [hold, grace] = [take.hold, take.grace].map(micros);
    put(&mut bytes, [hold, late, made, sequence, grace]);
    put(
        &mut bytes,
        [
            take.process,
            micros(take.patience),
            micros(take.claim),
            take.not_after.map_or(MOST_EXACT, |last| last / 1_000),
            returned.clone().count() as u64,
        ],
    );
    for (cost, more) in take.cost.iter().zip(&take.more) {
        put(&mut bytes, [*cost, *more]);
    }
    for (limit, mark) in returned {
        let [place, at] = [mark.place, mark.at].map(|at| [at / NANOS, at % NANOS]);
        put(&mut bytes, [*limit as u64 + 1, mark.cost]);
        put(&mut bytes, [place[0], place[1], at[0], at[1], mark.given]);
    }
    bytes
}

fn numbers_of_restore(restore: &Restore) -> Vec<u8> {
    let mut bytes = without_loss();
    put(&mut bytes, [micros(restore.grace), restore.id]);
    for taken in &restore.taken {
        put(&mut bytes, [taken.len() as u64]);
        for (at, units) in taken {
            put(&mut bytes, [at / 1_000, *units]);
        }
    }
    bytes
}

/// Returns the first numbers of a script that does not find out whether the state was lost.
fn without_loss() -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, [0, 0, 0, 0, MOST_EXACT]);
    bytes
}

fn decode_taken(take: &Take, bytes: &[u8]) -> Option<TakeReply> {
    let (outcome, mut bytes) = bytes.split_first()?;
    let [second, micro, made, sequence, micros] = get(&mut bytes)?;
    let duration = Duration::from_micros(micros);
    let outcome = match outcome {
        0 => {
            let mark = |spec| decode_mark(spec, second, &mut bytes);
            Outcome::Granted {
                marks: take.limits.iter().map(mark).collect::<Option<_>>()?,
                more_in: duration,
            }
        }
        1 => Outcome::Wait(duration),
        2 => Outcome::Never,
        3 => Outcome::TooLate,
        4 => Outcome::Lost(duration),
        _ => return None,
    };
    let limits = match bytes {
        [] => None,
        _ => Some(decode_limits(bytes)?),
    };
    Some(TakeReply {
        now: second * NANOS + micro * 1_000,
        version: Version { made, sequence },
        limits,
        outcome,
    })
}

fn decode_mark(spec: &LimitSpec, second: u64, bytes: &mut &[u8]) -> Option<Mark> {
    let [cost, place, at, given] = get(bytes)?;
    let instant = |instant| match spec {
        LimitSpec::Bucket { .. } => (second - 1) * NANOS + instant,
        LimitSpec::Window { .. } => instant * 1_000,
    };
    Some(match cost {
        0 => Mark::default(),
        _ => Mark {
            cost,
            place: instant(place),
            at: instant(at),
            given,
        },
    })
}

/// Appends numbers with 7 bytes each.
fn put<const N: usize>(bytes: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        bytes.extend_from_slice(&number.min(MOST_EXACT).to_be_bytes()[1..]);
    }
}

/// Removes numbers from the front.
fn get<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let (numbers, rest) = bytes.split_at_checked(7 * N)?;
    *bytes = rest;
    let number = |at| {
        let digits = numbers[7 * at..7 * at + 7].iter();
        digits.fold(0, |number, digit| number << 8 | u64::from(*digit))
    };
    Some(std::array::from_fn(number))
}
