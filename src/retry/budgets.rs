//! A budget for each of many servers.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use super::Budget;

/// A full registry is not looked through more often, so that endless names cost no more than a look-up each.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

/// A registry of [`Budget`]s by name, such as one for each provider or host.
///
/// Two layers that ask for the same name have the same budget, and one server that is down leaves the others their retries.
/// Its clones are the same registry.
///
/// ```
/// use tower_throttle::{RetryAfterBackoffLayer, retry::BudgetRegistry};
///
/// let budgets = BudgetRegistry::default();
/// // Two layers for one provider:
/// let chat = RetryAfterBackoffLayer::new().budget(budgets.named("openai"));
/// let embeddings = RetryAfterBackoffLayer::new().budget(budgets.named("openai"));
/// // One layer for whatever hosts there are:
/// let proxy = RetryAfterBackoffLayer::new().budget_by_host(budgets);
/// # let _ = (chat, embeddings, proxy);
/// ```
///
/// # How many
///
/// At most 1,024 by default; [`at_most`](BudgetRegistry::at_most) sets another number. When there are as many,
/// those are removed that nobody has a clone of and whose reserve is whole: a new one in their place allows
/// no more than they did. If none can be removed, new names share one budget.
///
/// # What it costs
///
/// A read lock and a look-up for a name that is there.
#[derive(Clone)]
#[must_use]
pub struct BudgetRegistry(Arc<Registry>);

struct Registry {
    /// The terms of all of them, and the one that they share for whom there is no room.
    common: Budget,
    at_most: usize,
    named: RwLock<NamedBudget>,
}

struct NamedBudget {
    budgets: HashMap<Box<str>, Budget>,
    swept: Option<Instant>,
}

// ===== impl BudgetRegistry =====

impl BudgetRegistry {
    /// Budgets on the terms of this one, each with nothing saved at first.
    pub fn new(like: &Budget) -> Self {
        Self::with(like.anew(), 1_024)
    }

    /// How many budgets there may be. 1,024 unless told otherwise.
    ///
    /// This makes a new registry with nothing in it, so call it before it is cloned.
    pub fn at_most(self, budgets: usize) -> Self {
        Self::with(self.0.common.anew(), budgets)
    }

    /// The budget of that name, which is made if there is none.
    pub fn named(&self, name: &str) -> Budget {
        // Nothing panics while it is held.
        let named = self.0.named.read().unwrap_or_else(PoisonError::into_inner);
        let budget = named.budgets.get(name).cloned();
        drop(named);
        budget.unwrap_or_else(|| self.make(name))
    }

    /// How many budgets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let named = self.0.named.read().unwrap_or_else(PoisonError::into_inner);
        named.budgets.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The budget of the host in this authority, in which there may be a user's name and password, too.
    pub(super) fn of_host(&self, authority: Option<&str>) -> Budget {
        let authority = authority.unwrap_or_default();
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => host,
            None => authority,
        };
        self.named(&match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        })
    }

    #[cold]
    fn make(&self, name: &str) -> Budget {
        let mut named = self.0.named.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = named.budgets.get(name) {
            return budget.clone();
        }
        if named.budgets.len() >= self.0.at_most {
            named.sweep();
        }
        if named.budgets.len() >= self.0.at_most {
            return self.0.common.clone();
        }
        let budget = self.0.common.anew();
        named.budgets.insert(name.into(), budget.clone());
        budget
    }

    fn with(common: Budget, at_most: usize) -> Self {
        Self(Arc::new(Registry {
            common,
            at_most,
            named: RwLock::new(NamedBudget {
                budgets: HashMap::new(),
                swept: None,
            }),
        }))
    }
}

impl Default for BudgetRegistry {
    /// Budgets on the terms of [`Budget::default`].
    fn default() -> Self {
        Self::with(Budget::default(), 1_024)
    }
}

impl fmt::Debug for BudgetRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetRegistry")
            .field("like", &self.0.common)
            .field("at_most", &self.0.at_most)
            .field("len", &self.len())
            .finish()
    }
}

// ===== impl NamedBudget =====

impl NamedBudget {
    fn sweep(&mut self) {
        let now = Instant::now();
        let is_early = |swept| now.saturating_duration_since(swept) < BETWEEN_SWEEPS;
        if self.swept.is_some_and(is_early) {
            return;
        }
        self.swept = Some(now);
        self.budgets
            .retain(|_, budget| !budget.is_lone() || !budget.is_rested(now));
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use super::*;
    use crate::limit::Quota;

    fn is_same(one: &Budget, other: &Budget) -> bool {
        let before = other.saved();
        (0..5).for_each(|_| one.deposit());
        other.saved() > before
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_has_one_budget_and_no_other_name_has_it() {
        let budgets = BudgetRegistry::default();
        assert!(budgets.is_empty());
        let one = budgets.named("one");
        assert!(is_same(&budgets.clone().named("one"), &one));
        assert!(!is_same(&budgets.named("two"), &one));
        assert_eq!(budgets.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_told_apart_by_host_and_port_alone() {
        let budgets = BudgetRegistry::new(&Budget::new(20, Quota::per_second(0)));
        let host = budgets.of_host(Some("api.example.com"));
        for same in [
            "API.example.COM",
            "user:pass@api.example.com",
            "a@b@api.example.com",
        ] {
            assert!(is_same(&budgets.of_host(Some(same)), &host), "{same}");
        }
        for other in [Some("api.example.com:8080"), Some("example.com"), None] {
            assert!(!is_same(&budgets.of_host(other), &host), "{other:?}");
        }
        assert!(is_same(&budgets.of_host(None), &budgets.named("")));
        assert!(!format!("{budgets:?}").contains("example"));
    }

    #[tokio::test(start_paused = true)]
    async fn endless_names_take_no_more_than_there_may_be() {
        let budgets = BudgetRegistry::default().at_most(100);
        let held = budgets.named("held");
        let spent = budgets.named("spent");
        assert!(spent.withdraw(Instant::now()));
        drop(spent);
        for n in 0..10_000 {
            let _ = budgets.named(&n.to_string());
            assert!(budgets.len() <= 100);
        }
        tokio::time::advance(Duration::from_millis(1_999)).await;
        let _ = budgets.named("new");
        // What is in use stays, and so does what could do more if it were made anew.
        assert!(is_same(&budgets.named("held"), &held));
        let spent = budgets.named("spent");
        let left = (0..99).filter(|_| spent.withdraw(Instant::now())).count();
        assert_eq!(left, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn names_without_room_share_one_until_there_is_room_again() {
        let budgets = BudgetRegistry::default().at_most(1);
        let first = budgets.named("first");
        let second = budgets.named("second");
        assert!(is_same(&budgets.named("third"), &second));
        assert!(!is_same(&first, &second));
        drop(first);
        tokio::time::advance(BETWEEN_SWEEPS).await;
        assert!(!is_same(&budgets.named("second"), &second));
        assert_eq!(budgets.len(), 1);
        let none = BudgetRegistry::default().at_most(0);
        assert!(is_same(&none.named("any"), &none.named("other")));
    }
}
