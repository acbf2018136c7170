//! What a limit does while the store is unreachable.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Asker, Link, Shortage,
    state::{PendingReport, State},
};
use crate::limit::{
    algorithm::Mark,
    nanos,
    store::{
        call::LimitSpec,
        constants,
        history::GrantHistory,
        pot::{Grant, Marks},
        settings::WhenDown,
        share::LocalShare,
    },
};

// ===== impl Link =====

impl Link {
    /// Returns when the store is tried again, if it can't be used.
    pub(super) fn unreachable_until(&self, state: &State, now: Instant) -> Option<Instant> {
        let broken = state.broken.map(|broken| broken.probe_at);
        let probe_at = self.handle.probe_at();
        probe_at.or(broken.filter(|probe_at| now < *probe_at))
    }

    /// Takes units into the pot without the store.
    pub(super) fn take_locally(
        self: &Arc<Self>,
        state: &mut State,
        cost: &[u64],
        asker: Asker,
        until_probe: Duration,
        now: Instant,
    ) -> Result<(), Shortage> {
        let at = state.store_time(now);
        match self.handle.settings.when_down {
            WhenDown::Closed => return Err(Shortage::Store(until_probe)),
            WhenDown::Open => {
                let mark = |(limit, cost): (&LimitSpec, &u64)| {
                    Mark::new(limit.cost(*cost), limit.round_up(at), limit.round_up(at))
                };
                let marks: Vec<_> = state.limits.iter().zip(cost).map(mark).collect();
                self.grant_locally(state, marks.into(), at, now);
                return Ok(());
            }
            WhenDown::Local => {}
        }
        state.empty_pot();
        let is_in_turn = matches!(asker, Asker::Head);
        let latest = at.saturating_add(nanos(state.hold));
        let shares = state.shares.take();
        let mut shares = shares.unwrap_or_else(|| self.new_shares(state, at));
        let cost = state.limits.iter().zip(cost);
        let cost: Box<[u64]> = cost.map(|(limit, cost)| limit.cost(*cost)).collect();
        let waits = shares.iter_mut().zip(&cost);
        let waits: Option<Vec<_>> = waits
            .map(|(share, cost)| share.wait(*cost, at, is_in_turn))
            .collect();
        let longest = waits.map(|waits| (0..).zip(waits).max_by_key(|(_, wait)| *wait));
        let result = match longest {
            // More than the share: only the store can grant it.
            None => Err(Shortage::Store(until_probe)),
            Some(Some((limit, wait))) if wait > 0 => Err(Shortage::Wait {
                limit,
                wait: Duration::from_nanos(wait),
            }),
            Some(_) => {
                let taken = shares.iter_mut().zip(&cost);
                let marks = taken.map(|(share, cost)| share.take(*cost, at, latest, is_in_turn));
                Ok(marks.collect::<Vec<_>>())
            }
        };
        state.shares = Some(shares);
        self.grant_locally(state, result?.into(), at, now);
        Ok(())
    }

    /// Returns this process's shares of the limits, from which it has taken what it took before.
    fn new_shares(&self, state: &mut State, at: u64) -> Box<[LocalShare]> {
        state.told = None;
        let processes = self.handle.processes();
        let mut history = state.history.iter_mut();
        let shares = state.limits.iter().map(|limit| {
            let taken = history.next().map(|history| history.since(at));
            LocalShare::new(limit, processes, &taken.unwrap_or_default(), at)
        });
        shares.collect()
    }

    /// Puts units that were taken without the store into the pot.
    fn grant_locally(self: &Arc<Self>, state: &mut State, marks: Marks, at: u64, now: Instant) {
        state.empty_pot();
        if state.unreported.is_empty() {
            state.unreported = state.limits.iter().map(GrantHistory::new).collect();
        }
        if state.history.is_empty() {
            // From now on a client's is needed as well: the next share continues from it.
            state.history = state.limits.iter().map(GrantHistory::new).collect();
        }
        state.report = state.report.or(Some(PendingReport::Unreported));
        let grant = Grant {
            marks,
            taken_at: at,
            until: constants::later(now, state.hold),
            is_local: true,
        };
        state.put(grant, now);
        self.sweep();
    }
}
