//! Calls as scripts with arguments, and replies. The state is described in `lua/open.lua`.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::Value;

use crate::limit::{
    algorithm::Mark,
    clock::TIMER_LATENESS,
    nanos,
    store::call::{
        Call, ChargedUnits, LeaseReply, LimitSpec, MOST_EXACT, Outcome, Reply, Restore, StateKey,
        StoreError, Take, TakeReply, UsedUnits, Version, micros,
    },
};

/// The nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

/// Outcomes of `lua/take.lua`.
const GRANTED: u8 = 0;
const LOST: u8 = 4;

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

/// Returns the text of a script of a name or client.
macro_rules! of_state {
    ($file:literal) => {
        concat!(
            include_str!("lua/open.lua"),
            include_str!($file),
            include_str!("lua/save.lua")
        )
    };
}

static TAKE: Script = Script {
    text: of_state!("lua/take.lua"),
    sha1: "aaab00721c617eacf2711ba95ef322abd58db8a4",
};

static RESTORE: Script = Script {
    text: of_state!("lua/restore.lua"),
    sha1: "2002fe36b1110478a69e8fdebd856065ca933246",
};

static SET_QUOTA: Script = Script {
    text: of_state!("lua/set_quota.lua"),
    sha1: "377e40d642db225589cf4aa10bd3e032d390ffdd",
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
    let (script, key, args) = match call {
        Call::Take(take) => (
            &TAKE,
            key(prefix, &take.key),
            vec![encode_limits(&take.limits), numbers_of_take(take)],
        ),
        Call::Restore(restore) => (
            &RESTORE,
            key(prefix, &restore.key),
            vec![encode_limits(&restore.limits), numbers_of_restore(restore)],
        ),
        Call::SetQuota(set) => {
            let name = StateKey::of_name(Arc::clone(&set.name));
            let mut numbers = common_numbers(&name, [0, 0, 0, 0, MOST_EXACT], [0, 0], &[]);
            put(&mut numbers, [set.number as u64 + 1]);
            numbers.extend(encode_limits(&[set.new]));
            let args = vec![encode_limits(&set.limits), numbers];
            (&SET_QUOTA, key(prefix, &name), args)
        }
        Call::Lease(lease) => {
            let mut args = Vec::new();
            let [expires, grace] = [lease.expires, lease.grace].map(micros);
            let slots = [lease.process, lease.limit, lease.held, lease.wanted];
            put(&mut args, slots);
            put(&mut args, [expires, grace, lease.has_seen.into()]);
            (&LEASE, format!("{prefix}:1s:{}", lease.name), vec![args])
        }
        Call::Beat { process, expires } => {
            let mut args = Vec::new();
            put(&mut args, [*process, micros(*expires)]);
            (&BEAT, format!("{prefix}:processes"), vec![args])
        }
    };
    Command { script, key, args }
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
    reply.ok_or_else(|| StoreError::Unreadable("a reply of another form".into()))
}

/// Returns the key of a state. The key of a client is short, and does not identify it.
fn key(prefix: &str, key: &StateKey) -> String {
    match key.client {
        // The number of the format.
        None => format!("{prefix}:2:{}", key.name),
        Some(client) => format!("{prefix}:c:{}", URL_SAFE_NO_PAD.encode(client)),
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

/// Returns what each script of a state begins with: hold, lateness, version and grace; number of
/// the report, from 1, and most bursts; and what is added, with the number of the limit.
fn common_numbers(
    key: &StateKey,
    start: [u64; 5],
    report: [u64; 2],
    added: &[ChargedUnits],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.push(key.client.is_some().into());
    put(&mut bytes, start);
    put(&mut bytes, report);
    put(&mut bytes, [added.len() as u64]);
    for added in added {
        let up_to = added.up_to.unwrap_or(MOST_EXACT);
        put(&mut bytes, [added.limit as u64 + 1, added.at / 1_000]);
        put(&mut bytes, [added.units, up_to]);
    }
    bytes
}

fn numbers_of_take(take: &Take) -> Vec<u8> {
    let late = u64::from(take.is_in_turn) * nanos(TIMER_LATENESS);
    let seen = take.seen.map(|seen| (seen.made, seen.sequence));
    let (made, sequence) = seen.unwrap_or_default();
    let [hold, grace] = [take.hold, take.grace].map(micros);
    let start = [hold, late, made, sequence, grace];
    let mut bytes = common_numbers(&take.key, start, [0, 2], &take.charged);
    let returned = take.returned.iter();
    let returned = returned.filter(|(limit, _)| *limit < take.limits.len());
    put(
        &mut bytes,
        [
            take.process,
            micros(take.patience),
            micros(take.claim),
            take.not_after.map_or(MOST_EXACT, |last| last / 1_000),
            micros(take.pause),
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
    let taken = restore.taken.iter().enumerate();
    let taken = taken.flat_map(|(limit, taken)| {
        let starts = taken.iter();
        starts.map(move |(at, units)| ChargedUnits {
            limit,
            at: *at,
            units: *units,
            up_to: None,
        })
    });
    let taken: Vec<_> = taken.collect();
    let (start, report) = ([0, 0, 0, 0, MOST_EXACT], [restore.id + 1, 1]);
    let mut bytes = common_numbers(&restore.key, start, report, &taken);
    put(&mut bytes, [micros(restore.grace)]);
    bytes
}

fn decode_taken(take: &Take, bytes: &[u8]) -> Option<TakeReply> {
    let ([outcome, slowest], mut bytes) = bytes.split_first_chunk()?;
    let [second, micro, made, sequence, micros, paused] = get(&mut bytes)?;
    let duration = Duration::from_micros(micros);
    let (mut used, mut marks) = (Vec::new(), Vec::new());
    for spec in take.limits.iter().filter(|_| *outcome != LOST) {
        let [units, resets_in] = get(&mut bytes)?;
        used.push(UsedUnits {
            units,
            resets_in: Duration::from_micros(resets_in),
        });
        if *outcome == GRANTED {
            marks.push(decode_mark(spec, second, &mut bytes)?);
        }
    }
    let outcome = match *outcome {
        GRANTED => Outcome::Granted {
            marks,
            more_in: duration,
        },
        1 => Outcome::Wait(duration),
        2 => Outcome::Never,
        3 => Outcome::TooLate,
        LOST => Outcome::Lost(duration),
        _ => return None,
    };
    let limits = match bytes {
        [] => None,
        _ => Some(decode_limits(bytes)?),
    };
    let (nanos, rest) = (second.checked_mul(NANOS)?, micro.checked_mul(1_000)?);
    let slowest = usize::from(*slowest);
    if slowest >= take.limits.len() {
        return None;
    }
    Some(TakeReply {
        now: nanos.checked_add(rest)?,
        version: Version { made, sequence },
        limits,
        used,
        paused: Duration::from_micros(paused),
        slowest,
        outcome,
    })
}

fn decode_mark(spec: &LimitSpec, second: u64, bytes: &mut &[u8]) -> Option<Mark> {
    let [cost, place, at, given] = get(bytes)?;
    let instant = |instant| match spec {
        LimitSpec::Bucket { .. } => second
            .checked_sub(1)?
            .checked_mul(NANOS)?
            .checked_add(instant),
        LimitSpec::Window { .. } => u64::checked_mul(instant, 1_000),
    };
    Some(match cost {
        0 => Mark::default(),
        _ => Mark {
            cost,
            place: instant(place)?,
            at: instant(at)?,
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
