//! How requests are admitted, and how they wait.

use std::{sync::Arc, time::Duration};

use super::{
    admitted::Admitted,
    ask::{Demand, Who},
    callers::Callers,
    kind::{Kind, Want},
};
use crate::{
    error::{Reason, Rejected},
    http::headers::rate_limit::standing::Standings,
    limit::{
        engine::{Front, Limiter, Patience, Schedule, Waiter, Waiting},
        key::ClientKey,
        quota::nanos,
    },
};

impl<K: Kind> Limiter for Arc<Callers<K>> {
    type Ask = Demand<K::Plan>;
    type Pass = Admitted<K>;
    type Turn = Front<Self>;

    #[inline]
    fn enter(&self, asked: &Demand<K::Plan>, max_wait: Duration) -> Result<Admitted<K>, Rejected> {
        match asked.who {
            Who::Exempt => return Ok(Admitted::uncounted()),
            Who::Unknown(status) => {
                let rejected = Rejected::missing_key(K::LIMIT, status).named(self.table.name());
                return short(self, asked, rejected, false, max_wait);
            }
            Who::NoPeer => {
                let rejected = Rejected::new(K::LIMIT, Reason::MissingPeer, None);
                let rejected = rejected.named(self.table.name());
                #[cfg(feature = "tracing")]
                self.settings
                    .peer_missing
                    .call_once(|| tracing::error!("{rejected}"));
                return short(self, asked, rejected, false, max_wait);
            }
            Who::ClientKey(_) | Who::Nobody => {}
        }
        let taken = self.take(asked.caller(), asked.plan, Want::at_once(asked.cost));
        match taken.mark {
            Ok(mark) => Ok(Admitted::new(self, asked, mark, taken.left, taken.shared)),
            Err(rejected) => {
                let rejected = standing_at::<K>(rejected, asked.cost, &taken.left);
                short(self, asked, rejected, taken.shared, max_wait)
            }
        }
    }

    fn join(
        &self,
        asked: Demand<K::Plan>,
        patience: Patience,
    ) -> Result<Waiting<Self::Turn>, Rejected> {
        let join = |line| Waiter::join(line, asked.cost, patience);
        let place = self.table.join(asked.caller(), join);
        Front::wait(self, asked, place)
    }

    fn refuse(&self, _: &Demand<K::Plan>, rejected: &Rejected) -> Option<Admitted<K>> {
        self.count_rejection();
        self.is_shadow().then(|| Admitted::shadowed(rejected))
    }

    fn key(asked: &Demand<K::Plan>) -> Option<ClientKey> {
        asked.key()
    }

    #[inline]
    fn shadowed(admitted: &Admitted<K>) -> Option<&Rejected> {
        admitted.rejection()
    }
}

impl<K: Kind> Schedule for Arc<Callers<K>> {
    fn look(&self, asked: &Demand<K::Plan>) -> Result<(), Rejected> {
        let (room, left) = self.room(asked);
        room.map_err(|rejected| standing_at::<K>(rejected, asked.cost, &left))
    }

    fn take_in_turn(&self, asked: &Demand<K::Plan>) -> Option<Admitted<K>> {
        let taken = self.take(asked.caller(), asked.plan, Want::in_turn(asked.cost));
        let mark = taken.mark.ok()?;
        Some(Admitted::new(self, asked, mark, taken.left, taken.shared))
    }

    fn late(&self, asked: &Demand<K::Plan>) -> Rejected {
        let (_, left) = self.room(asked);
        let rejected = Rejected::too_long(K::LIMIT, Duration::ZERO, Some(Duration::ZERO));
        let rejected = rejected.named(self.table.name());
        standing_at::<K>(rejected, asked.cost, &left)
    }

    fn left(&self, asked: &Demand<K::Plan>) {
        self.table.leave(asked.caller(), self.clock.now());
    }
}

/// Adds where the caller stands to the refusal of a request.
fn standing_at<K: Kind>(rejected: Rejected, cost: u64, left: &K::Left) -> Rejected {
    let mut standings = Standings::new(cost);
    K::standings(left, &mut |standing| standings.push(standing));
    rejected.standing_at(standings)
}

/// For one who finds no room. A limit that only watches lets nobody wait, either.
#[cold]
fn short<K: Kind>(
    callers: &Callers<K>,
    asked: &Demand<K::Plan>,
    rejected: Rejected,
    shared: bool,
    max_wait: Duration,
) -> Result<Admitted<K>, Rejected> {
    if !callers.is_shadow() {
        return Err(rejected);
    }
    let wait = rejected.retry_after();
    if rejected.exceeds_capacity() || max_wait.is_zero() || wait > Some(max_wait) {
        callers.count_rejection();
        return Ok(Admitted::shadowed(&rejected.within(max_wait)));
    }
    if let Some(wait) = wait {
        // It takes for it what it would get then, for else nobody who comes after it would ever be seen to wait too long.
        let now = callers.clock.now();
        let then = now.saturating_add(nanos(wait));
        let take = |count: &mut K, rule: &K::Rule| {
            count.add(rule, Want::at_once(asked.cost), then);
        };
        let caller = asked.caller();
        callers.table.change(caller, asked.plan, shared, now, take);
    }
    Ok(Admitted::uncounted())
}
