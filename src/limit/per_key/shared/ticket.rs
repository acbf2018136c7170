use std::sync::Arc;

use super::client::ClientLink;
use crate::limit::{algorithm::Mark, per_key::kind::Kind, store::link::Marks};

/// What one request took of the limits of a client, to be settled.
pub(in crate::limit::per_key) struct LinkTicket<K: Kind> {
    /// It is not dropped before.
    pub(super) client: Arc<ClientLink>,
    pub(super) rule: K::Rule,
    pub(super) marks: Marks,
    pub(super) cost: u64,
}

// ===== impl LinkTicket =====

impl<K: Kind> LinkTicket<K> {
    /// Counts a cost that grows.
    pub(in crate::limit::per_key) fn charge(&mut self, cost: u64) {
        if cost > self.cost {
            self.client.charge(cost - self.cost);
            self.cost = cost;
        }
    }

    /// Replaces the cost by the real one. Returns what is left.
    pub(in crate::limit::per_key) fn settle(&mut self, real: u64) -> Option<K::Left> {
        let unused = self.cost.saturating_sub(real);
        if unused > 0 {
            let back = |mark: &Mark| Mark {
                cost: mark.cost.min(unused),
                ..*mark
            };
            let marks: Vec<_> = self.marks.iter().map(back).collect();
            self.client.link.refund(&marks);
        }
        self.charge(real);
        left::<K>(&self.client, &self.rule)
    }
}

/// Returns what is left for a client, as far as this process knows.
pub(super) fn left<K: Kind>(client: &ClientLink, rule: &K::Rule) -> Option<K::Left> {
    let mut used = client.used().peekable();
    used.peek()?;
    Some(K::left_in_store(rule, &mut used))
}
