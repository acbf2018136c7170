//! How requests are admitted by limits that several processes share.

use std::{sync::Arc, time::Duration};

use super::{ClientLinks, LinkTicket, client::ClientLink, ticket::left};
use crate::{
    error::Rejected,
    limit::{
        per_key::{
            admission::standing_at, by_key::Demand, kind::Kind, permit::Permit, state::PerKeyState,
            table::not_for_ever,
        },
        priority::Priority,
        store::link::{Marks, Shortage},
    },
    sync::unpoisoned,
};

impl<K: Kind> ClientLinks<K> {
    /// Admits a request at once, if its units were granted. Otherwise asks for them, unless it is
    /// known how long to wait.
    #[cold]
    pub(in crate::limit::per_key) fn enter(
        &self,
        state: &PerKeyState<K>,
        demand: &Demand<K::Plan>,
        max_wait: Duration,
    ) -> Result<Permit<K>, Rejected> {
        let client = self.client(demand);
        match client.take(demand.cost, max_wait) {
            Ok(marks) => Ok(self.permit(client, demand, marks)),
            Err(shortage) => {
                let rejected = self.rejection(&client, demand, shortage);
                match state.is_shadow() {
                    true => Ok(pass(state, &client, demand, &rejected, max_wait)),
                    false => Err(rejected),
                }
            }
        }
    }

    /// Returns the rejection of a request that only waits for those ahead of its priority.
    pub(in crate::limit::per_key) fn behind(
        &self,
        demand: &Demand<K::Plan>,
        priority: Priority,
    ) -> Option<Rejected> {
        let client = self.client(demand);
        let shortage = client.behind(demand.cost, priority)?;
        Some(self.rejection(&client, demand, shortage))
    }

    /// Returns whether the head of a queue can be admitted.
    pub(in crate::limit::per_key) fn look(&self, demand: &Demand<K::Plan>) -> Result<(), Rejected> {
        let client = self.client(demand);
        let looked = client.look(demand.cost);
        looked.map_err(|shortage| self.rejection(&client, demand, shortage))
    }

    pub(in crate::limit::per_key) fn take_in_turn(
        &self,
        demand: &Demand<K::Plan>,
    ) -> Option<Permit<K>> {
        let client = self.client(demand);
        let marks = client.take_in_turn(demand.cost)?;
        Some(self.permit(client, demand, marks))
    }

    /// Returns what is left for the client, as far as this process knows.
    pub(in crate::limit::per_key) fn left_for(&self, demand: &Demand<K::Plan>) -> Option<K::Left> {
        let client = self.client(demand);
        left::<K>(&client, &self.rule(&client, demand))
    }

    fn permit(&self, client: Arc<ClientLink>, demand: &Demand<K::Plan>, marks: Marks) -> Permit<K> {
        let rule = self.rule(&client, demand);
        let left = left::<K>(&client, &rule);
        let ticket = demand.settles.then(|| LinkTicket {
            client,
            rule,
            marks,
            cost: demand.cost,
        });
        Permit::of_store(left, ticket)
    }

    fn rule(&self, client: &ClientLink, demand: &Demand<K::Plan>) -> K::Rule {
        let plan = demand.plan.filter(|_| !client.is_shared);
        unpoisoned(self.rules.read()).rule(plan)
    }

    fn rejection(
        &self,
        client: &ClientLink,
        demand: &Demand<K::Plan>,
        shortage: Shortage,
    ) -> Rejected {
        let number = shortage.limit();
        let (limit, name) = unpoisoned(self.rules.read()).labels[number];
        let capacity = client.limits[number].capacity();
        let rejected = shortage.rejection(limit, demand.cost, capacity);
        let rejected = match client.is_shared {
            true => not_for_ever(rejected.named(Some(name))),
            false => rejected.named(Some(name)),
        };
        let left = left::<K>(client, &self.rule(client, demand));
        standing_at::<K>(rejected, demand.cost, left.as_ref())
    }
}

/// Lets a request pass a shadow. One that would wait, or whose wait the store has yet to say, takes
/// its units all the same. Otherwise no request after it would be seen to wait too long.
fn pass<K: Kind>(
    state: &PerKeyState<K>,
    client: &ClientLink,
    demand: &Demand<K::Plan>,
    rejected: &Rejected,
    max_wait: Duration,
) -> Permit<K> {
    let is_too_long = rejected.retry_after().is_some_and(|wait| wait > max_wait);
    if is_too_long || rejected.is_final() {
        state.count_rejection();
        return Permit::shadowed(&rejected.clone().within(max_wait));
    }
    client.charge(demand.cost);
    Permit::uncounted()
}
