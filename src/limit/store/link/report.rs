//! What a store must know before anything is taken: limits that were set, and what was taken that
//! it does not know of.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{Link, state::PendingReport};
use crate::limit::store::{
    call::{Call, LimitSpec, Restore, SetQuota, StoreError},
    constants,
    handle::random_id,
};

impl Link {
    /// Sends what has to be known before anything is taken.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let report = self.state().report;
        if report == Some(PendingReport::Unreported) && !self.is_client() {
            // Whether more has to be reported.
            self.hear_only().await?;
        }
        // First, since what is reported counts by it.
        while let Some((number, new)) = self.next_limit() {
            let call = SetQuota {
                name: self.key.name.clone(),
                limits: self.code.clone(),
                number,
                new,
            };
            self.handle.call(Call::SetQuota(call)).await?;
            // Unless it was set again meanwhile.
            let mut state = self.state();
            if state.new_limits.get(&number) == Some(&new) {
                state.new_limits.remove(&number);
            }
        }
        while let Some(restore) = self.next_report() {
            self.handle.call(Call::Restore(restore)).await?;
            self.handle.restores.fetch_add(1, Ordering::Relaxed);
            self.state().sent_report = None;
        }
        Ok(())
    }

    /// Returns the next limit to be sent, with its number.
    fn next_limit(&self) -> Option<(usize, LimitSpec)> {
        let state = self.state();
        let (number, limit) = state.new_limits.first_key_value()?;
        Some((*number, *limit))
    }

    /// Returns the next report to be sent. One whose reply was lost is sent again as it was, so
    /// that the store counts it once.
    fn next_report(&self) -> Option<Restore> {
        let mut state = self.state();
        let now = state.store_time(Instant::now());
        let new = match state.report {
            Some(PendingReport::All) => {
                state.unreported = Box::default();
                // The history is without these units, and with those, so the store knows of both.
                // It is without what others use.
                state.returned.clear();
                state.charged.retain(|charge| charge.up_to.is_some());
                let history = state.history.iter_mut();
                let taken = history.map(|history| history.since(now)).collect();
                Some((taken, constants::grace(self.timeout())))
            }
            Some(PendingReport::Unreported) if state.sent_report.is_none() => {
                let mut unreported = std::mem::take(&mut state.unreported);
                let taken = unreported.iter_mut().map(|history| history.since(now));
                Some((taken.collect(), Duration::ZERO))
            }
            _ => None,
        };
        if let Some((taken, grace)) = new {
            state.report = None;
            state.sent_report = Some(Box::new(Restore {
                id: random_id(),
                key: self.key.clone(),
                limits: self.limits_to_send(&state),
                taken,
                grace,
            }));
        }
        state.sent_report.as_deref().cloned()
    }
}
