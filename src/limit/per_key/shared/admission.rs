//! How requests are admitted by limits that several processes share.

use std::{sync::Arc, time::Duration};

use super::{ClientLinks, LinkTicket, client::ClientLink};
use crate::{
    error::Rejected,
    limit::{
        per_key::{
            admission::{reject, standing_at},
            by_key::Demand,
            kind::Kind,
            permit::Permit,
            state::PerKeyState,
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
        state: &Arc<PerKeyState<K>>,
        demand: &Demand<K::Plan>,
        max_wait: Duration,
    ) -> Result<Permit<K>, Rejected> {
        let client = self.client(demand);
        match client.take(demand.cost, max_wait) {
            Ok(marks) => Ok(self.permit(client, demand, marks)),
            Err(shortage) => {
                let rejected = self.rejection(&client, demand, shortage);
                reject(state, rejected, max_wait, |_| client.charge(demand.cost))
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
        let looked = client.each(demand.cost, |costs| client.link.look(costs));
        looked.map_err(|shortage| self.rejection(&client, demand, shortage))
    }

    pub(in crate::limit::per_key) fn take_in_turn(
        &self,
        demand: &Demand<K::Plan>,
    ) -> Option<Permit<K>> {
        let client = self.client(demand);
        let marks = client.each(demand.cost, |costs| client.link.take_in_turn(costs))?;
        Some(self.permit(client, demand, marks))
    }

    /// Returns what is left for the client, as far as this process knows.
    pub(in crate::limit::per_key) fn left_for(&self, demand: &Demand<K::Plan>) -> Option<K::Left> {
        let client = self.client(demand);
        client.left::<K>(&self.rule(&client, demand))
    }

    fn permit(&self, client: Arc<ClientLink>, demand: &Demand<K::Plan>, marks: Marks) -> Permit<K> {
        let rule = self.rule(&client, demand);
        let left = client.left::<K>(&rule);
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
        let rules = unpoisoned(self.rules.read());
        plan.map_or(rules.rule, |plan| K::rule(plan, rules.names))
    }

    fn rejection(
        &self,
        client: &ClientLink,
        demand: &Demand<K::Plan>,
        shortage: Shortage,
    ) -> Rejected {
        let number = shortage.limit();
        let (limit, name) = unpoisoned(self.rules.read()).labels[number];
        let capacity = client.link.capacity(number);
        let rejected = shortage.rejection(limit, demand.cost, capacity);
        let rejected = match client.is_shared {
            true => not_for_ever(rejected.named(Some(name))),
            false => rejected.named(Some(name)),
        };
        let left = client.left::<K>(&self.rule(client, demand));
        standing_at::<K>(rejected, demand.cost, left.as_ref())
    }
}
