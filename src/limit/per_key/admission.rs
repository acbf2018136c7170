//! How requests are admitted, and how they wait.

use std::{sync::Arc, time::Duration};

use super::{
    by_key::{Client, Demand},
    kind::{Kind, Want},
    permit::Permit,
    state::PerKeyState,
};
use crate::{
    error::{Reason, Rejected},
    http::headers::rate_limit::standing::Standings,
    limit::{
        engine::{Limiter, Patience, Waiter},
        key::ClientKey,
        priority::Priority,
        quota::nanos,
    },
};

impl<K: Kind> Limiter for Arc<PerKeyState<K>> {
    type Ask = Demand<K::Plan>;
    type Pass = Permit<K>;

    #[inline]
    fn enter(&self, demand: &Demand<K::Plan>, max_wait: Duration) -> Result<Permit<K>, Rejected> {
        if !matches!(demand.client, Client::Key(_) | Client::Shared) {
            return enter_without_key(self, demand, max_wait);
        }
        if self.table.is_closed() {
            return Err(closed::<K>(self.table.name()));
        }
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.enter(self, demand, max_wait);
        }
        let want = Want::at_once(demand.cost);
        let taken = self.table.take(demand, want, self.clock.now());
        let rejected = match taken.mark {
            // Here, since a permit is large and would be moved otherwise.
            Ok(mark) => return Ok(Permit::new(self, demand, mark, taken.left, taken.shared)),
            Err(rejected) => standing_at::<K>(rejected, demand.cost, Some(&taken.left)),
        };
        reject(self, rejected, max_wait, |wait| {
            let Some(wait) = wait else { return };
            // What it would get after its wait.
            let now = self.clock.now();
            let then = now.saturating_add(nanos(wait));
            let take = |count: &mut K, rule: &K::Rule| {
                count.add(rule, Want::at_once(demand.cost), then);
            };
            let (key, plan) = (demand.counted_key(), demand.plan);
            self.table.change(key, plan, taken.shared, now, take);
        })
    }

    fn behind(&self, demand: &Demand<K::Plan>, priority: Priority) -> Option<Rejected> {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.behind(demand, priority);
        }
        let ahead = self.table.units_ahead(demand.counted_key(), priority)?;
        let (room, left) = self.table.room(demand, ahead, self.clock.now());
        Some(match room {
            Ok(()) => self.late(demand),
            Err(rejected) => standing_at::<K>(rejected, demand.cost, Some(&left)),
        })
    }

    #[cfg(feature = "redis")]
    fn reply_time(&self, rejected: &Rejected) -> Duration {
        let shared = self.shared.as_ref().filter(|_| rejected.needs_reply());
        shared.map_or(Duration::ZERO, |shared| shared.timeout())
    }

    fn join(&self, demand: &Demand<K::Plan>, patience: Patience) -> Result<Waiter, Rejected> {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.join(demand, patience);
        }
        self.table.join(demand, patience)
    }

    fn refuse(&self, _: &Demand<K::Plan>, rejected: &Rejected) -> Option<Permit<K>> {
        self.count_rejection();
        let passes = self.is_shadow() && !self.table.is_closed();
        passes.then(|| Permit::shadowed(rejected))
    }

    fn key(demand: &Demand<K::Plan>) -> Option<ClientKey> {
        demand.key()
    }

    #[inline]
    fn shadowed(permit: &Permit<K>) -> Option<&Rejected> {
        permit.rejection.as_deref()
    }

    fn look(&self, demand: &Demand<K::Plan>) -> Result<(), Rejected> {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.look(demand);
        }
        let (room, left) = self.table.room(demand, 0, self.clock.now());
        room.map_err(|rejected| standing_at::<K>(rejected, demand.cost, Some(&left)))
    }

    fn take_in_turn(&self, demand: &Demand<K::Plan>) -> Option<Permit<K>> {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.take_in_turn(demand);
        }
        let want = Want {
            in_turn: true,
            ..Want::at_once(demand.cost)
        };
        let taken = self.table.take(demand, want, self.clock.now());
        let mark = taken.mark.ok()?;
        Some(Permit::new(self, demand, mark, taken.left, taken.shared))
    }

    fn late(&self, demand: &Demand<K::Plan>) -> Rejected {
        let rejected = Rejected::too_long(K::LIMIT, Some(Duration::ZERO));
        let rejected = rejected.named(self.table.name());
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return standing_at::<K>(rejected, demand.cost, shared.left_for(demand).as_ref());
        }
        let (_, left) = self.table.room(demand, 0, self.clock.now());
        standing_at::<K>(rejected, demand.cost, Some(&left))
    }

    fn left(&self, demand: &Demand<K::Plan>, _: Priority) {
        self.table.leave(demand.counted_key(), self.clock.now());
    }
}

/// Enters a request that is exempt, or has no key.
#[cold]
fn enter_without_key<K: Kind>(
    state: &Arc<PerKeyState<K>>,
    demand: &Demand<K::Plan>,
    max_wait: Duration,
) -> Result<Permit<K>, Rejected> {
    let missing = match demand.client {
        Client::MissingKey(status) => Rejected::missing_key(K::LIMIT, status),
        Client::MissingPeer => Rejected::new(K::LIMIT, Reason::MissingPeer, None),
        Client::Exempt | Client::Key(_) | Client::Shared => return Ok(Permit::uncounted()),
    };
    let rejected = missing.named(state.table.name());
    #[cfg(feature = "tracing")]
    if rejected.reason() == Reason::MissingPeer {
        state.peer_missing.call_once(|| {
            tracing::error!(
                target: "tower_throttle::per_key",
                name = rejected.name(),
                error = %rejected,
                "missing peer address"
            )
        });
    }
    reject(state, rejected, max_wait, |_| {})
}

/// Returns the rejection of a limiter that is closed.
#[cold]
pub(super) fn closed<K: Kind>(name: Option<&'static str>) -> Rejected {
    let rejected = Rejected::too_long(K::LIMIT, None);
    rejected.closed().named(name)
}

/// Adds the state of the key's limits to the rejection of a request, if it is known.
#[cold]
pub(super) fn standing_at<K: Kind>(
    rejected: Rejected,
    cost: u64,
    left: Option<&K::Left>,
) -> Rejected {
    let Some(left) = left else {
        return rejected;
    };
    let all = K::standings(left).collect();
    rejected.standing_at(Standings { cost, all })
}

/// Rejects a request that finds no room. In a shadow it passes, and does not wait: one that would
/// wait, or whose wait a store has yet to say, takes its units by `take` all the same. Otherwise no
/// request after it would be seen to wait too long.
#[cold]
pub(super) fn reject<K: Kind>(
    state: &Arc<PerKeyState<K>>,
    rejected: Rejected,
    max_wait: Duration,
    take: impl FnOnce(Option<Duration>),
) -> Result<Permit<K>, Rejected> {
    if !state.is_shadow() {
        return Err(rejected);
    }
    let wait = rejected.retry_after();
    let may_wait = max_wait.saturating_add(state.reply_time(&rejected));
    if rejected.is_final() || may_wait.is_zero() || wait > Some(max_wait) {
        state.count_rejection();
        return Ok(Permit::shadowed(&rejected.within(max_wait)));
    }
    take(wait);
    Ok(Permit::uncounted())
}
