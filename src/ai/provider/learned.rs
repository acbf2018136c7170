//! Events for limits that turned out to be others than we knew.

use super::{Usage, quota::Quotas};

/// What was known of the limits before an answer was heard.
#[derive(Debug)]
pub(super) struct Known(Usage);

/// What an answer changed, to be told once the quotas are not locked any more.
#[derive(Debug)]
#[must_use = "it is told to nobody yet"]
pub(super) struct Learned {
    before: Usage,
    after: Usage,
}

// ===== impl Known =====

impl Known {
    /// Whether somebody listens: nobody else should pay for two looks at all limits for each answer.
    #[inline]
    pub(super) fn is_wanted() -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }

    pub(super) fn of(quotas: &mut Quotas, now: u64) -> Self {
        Self(quotas.usage(now))
    }

    pub(super) fn and_now(self, quotas: &mut Quotas, now: u64) -> Learned {
        Learned {
            before: self.0,
            after: quotas.usage(now),
        }
    }
}

// ===== impl Learned =====

impl Learned {
    pub(super) fn tell(self) {
        let Self { before, after } = self;
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
