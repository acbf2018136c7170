//! The instants at which the time limits end.

use tokio::time::Instant;

use super::TimeoutLayer;
use crate::{error::TimedOut, http::timer::FAR};

/// The instant of a timeout, and its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Instant,
    pub(super) why: TimedOut,
}

// ===== impl TimeoutLayer =====

impl TimeoutLayer {
    /// Returns the deadline of the head, for a call that began then.
    pub(super) fn of_head(&self, begun: Instant) -> Option<End> {
        let attempt = |after| End::new(begun, TimedOut::Attempt(after));
        End::sooner(self.of_call(begun), self.attempt.and_then(attempt))
    }

    /// Returns the deadline of the whole call, for a call that began then.
    pub(super) fn of_call(&self, begun: Instant) -> Option<End> {
        End::new(begun, TimedOut::Call(self.whole_call?))
    }
}

// ===== impl End =====

impl End {
    pub(super) fn new(begun: Instant, why: TimedOut) -> Option<Self> {
        // A duration from there on is no limit.
        let after = Some(why.after()).filter(|after| *after < FAR)?;
        let at = begun + after;
        Some(Self { at, why })
    }

    /// Returns the earlier of the two, and the first if they are equal.
    pub(super) fn sooner(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        let ends = [first, second].into_iter().flatten();
        ends.min_by_key(|end| end.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn huge_durations_are_no_bounds() {
        let now = Instant::now();
        for after in [FAR, Duration::MAX, Duration::from_secs(i64::MAX as u64)] {
            assert_eq!(End::new(now, TimedOut::Call(after)), None);
        }
        let why = TimedOut::Call(FAR - SECOND);
        let at = now + FAR - SECOND;
        assert_eq!(End::new(now, why), Some(End { at, why }));
    }

    #[test]
    fn the_earlier_end_counts() {
        let now = Instant::now();
        for (attempt, whole_call, sooner) in [
            (None, None, None),
            (Some(1), None, Some(TimedOut::Attempt(SECOND))),
            (None, Some(1), Some(TimedOut::Call(SECOND))),
            (Some(1), Some(2), Some(TimedOut::Attempt(SECOND))),
            (Some(2), Some(1), Some(TimedOut::Call(SECOND))),
            (Some(1), Some(1), Some(TimedOut::Call(SECOND))),
        ] {
            let layer = TimeoutLayer {
                attempt: attempt.map(Duration::from_secs),
                whole_call: whole_call.map(Duration::from_secs),
                first_byte: None,
                between_chunks: None,
            };
            assert_eq!(layer.of_head(now).map(|end| end.why), sooner);
        }
    }
}
