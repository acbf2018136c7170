//! The times of a shared limit, all derived from its period and from the timeout of a call.

use std::time::Duration;

use tokio::time::Instant;

/// A window loses one hold per period, so a hold is less than a hundredth of it.
const HOLDS_PER_PERIOD: u32 = 128;

/// A hold is at least ten ticks of the timer.
pub(super) const SHORTEST_HOLD: Duration = Duration::from_millis(10);

/// A process asks for at most this part of a limit ahead of need, so that others find some.
pub(super) const AHEAD: u64 = 8;

/// The store keeps a state for longer than this after the last call, so one that is missing after a
/// shorter time was lost.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);

/// After so many calls without a reply in a row the store counts as unreachable, and the connection
/// is opened again.
pub(super) const TIMEOUTS: u32 = 3;

/// The most calls for clients that a process has under way. The others wait in the process, where
/// one that comes too late is not sent. A server carries out some 25,000 per second, so fifty
/// processes with as many calls take half of the default timeout.
pub(super) const MOST_CALLS: usize = 64;

/// The most units to be given back that are kept until the next call. Older ones are dropped: they
/// count as used.
pub(super) const MOST_RETURNED: usize = 1_024;

/// Returns how long a grant may be spent.
pub(super) fn hold(period: Duration, timeout: Duration) -> Duration {
    let longest = timeout.max(SHORTEST_HOLD);
    (period / HOLDS_PER_PERIOD).clamp(SHORTEST_HOLD, longest)
}

/// Returns the shortest time between two calls of a name that had too little: at most four in a
/// hold.
pub(super) fn floor(hold: Duration) -> Duration {
    hold / 4
}

/// Returns after how long to ask again although the reply was a longer wait: units that others give
/// back wake no request.
pub(super) fn look_again(wait: Duration, hold: Duration, timeout: Duration) -> Duration {
    wait.min(hold.saturating_mul(2)).min(timeout)
}

/// Returns the time between two registrations of a process.
pub(super) fn beat(timeout: Duration) -> Duration {
    timeout.saturating_mul(2)
}

/// Returns how long nothing is taken from a state that was lost: each process has made itself
/// heard by then. It may wait for a probe, or for a beat, and both calls of a beat may be slow.
pub(super) fn grace(timeout: Duration) -> Duration {
    longest_backoff(timeout).saturating_add(timeout.saturating_mul(4))
}

/// Returns how long units are kept that were refunded, if no other call takes them along.
pub(super) fn report(timeout: Duration) -> Duration {
    (timeout / 5).min(Duration::from_millis(50))
}

/// Returns the wait before the next probe of an unreachable store, after one of `wait`.
pub(super) fn backoff(wait: Duration, timeout: Duration) -> Duration {
    let longest = longest_backoff(timeout);
    let shortest = (timeout / 5).saturating_mul(2).min(longest);
    wait.saturating_mul(2).clamp(shortest, longest)
}

fn longest_backoff(timeout: Duration) -> Duration {
    timeout.saturating_mul(4).min(Duration::from_secs(1))
}

/// Returns `at` plus `wait`, or a time that never comes.
pub(super) fn later(at: Instant, wait: Duration) -> Instant {
    at.checked_add(wait)
        .unwrap_or_else(|| at + Duration::from_secs(86_400 * 365))
}
