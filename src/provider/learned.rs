//! Events for limits that turned out to be others than we knew.

use super::{Usage, quota::Quotas};

/// What was known of the limits before an answer was heard, where somebody wants to know what it changed.
#[derive(Debug)]
pub(super) struct Known(Option<Usage>);

/// What an answer changed, to be told once the quotas are not locked any more.
#[derive(Debug)]
#[must_use = "it is told to nobody yet"]
pub(super) struct Learned(Option<(Usage, Usage)>);

// ===== impl Known =====

impl Known {
    #[inline]
    pub(super) fn of(quotas: &mut Quotas, now: u64) -> Self {
        // Two looks at all limits for each answer, which nobody should pay for who does not listen.
        let is_wanted = tracing::enabled!(tracing::Level::DEBUG);
        Self(is_wanted.then(|| quotas.usage(now)))
    }

    #[inline]
    pub(super) fn and_now(self, quotas: &mut Quotas, now: u64) -> Learned {
        Learned(self.0.map(|before| (before, quotas.usage(now))))
    }
}

// ===== impl Learned =====

impl Learned {
    pub(super) fn tell(self) {
        let Some((before, after)) = self.0 else {
            return;
        };
        for limit in after.limits() {
            let same = |other: &&super::LimitUsage| {
                other.dimension == limit.dimension && other.period == limit.period
            };
            let was = before.limits().find(same).map(|before| before.limit);
            if was != Some(limit.limit) {
                tracing::debug!(
                    dimension = %limit.dimension,
                    period = ?limit.period,
                    limit = limit.limit,
                    was,
                    "learned a limit"
                );
            }
        }
    }
}
