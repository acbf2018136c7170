//! Registry of retry budgets by name.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use tokio::time::Instant;

use super::Budget;

use crate::sync::unpoisoned;

/// Registry of retry [`Budget`]s by name, such as one for each provider or host.
///
/// Layers that use the same name share a budget. A server that is down does not use up the retries
/// for the others. Clones share the registry.
///
/// # Examples
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
/// # Capacity
///
/// Default: at most 1,024 budgets; [`at_most`](BudgetRegistry::at_most) sets another number. A full
/// registry removes budgets that have no other clone and whose reserve is full: new ones in their
/// place allow no more retries than they did. If none can be removed, new names share one budget.
///
/// # Performance
///
/// A name that exists takes a read lock and a look-up. A new name in a full registry looks at all
/// budgets under the write lock.
#[derive(Clone)]
#[must_use]
pub struct BudgetRegistry(Arc<Registry>);

struct Registry {
    /// The settings of all budgets, and the budget that new names share if there is no room.
    common: Budget,
    at_most: usize,
    named: RwLock<HashMap<Box<str>, Budget>>,
}

// ===== impl BudgetRegistry =====

impl BudgetRegistry {
    /// Creates a registry of budgets with the settings of `like`, each with nothing saved at first.
    pub fn new(like: &Budget) -> Self {
        Self::with(like.like_new(), 1_024)
    }

    /// Sets the maximum number of budgets. Default: 1,024.
    ///
    /// This returns a new, empty registry: call it before it is cloned.
    pub fn at_most(self, budgets: usize) -> Self {
        Self::with(self.0.common.like_new(), budgets)
    }

    /// Returns the budget of this name, and creates it if there is none.
    pub fn named(&self, name: &str) -> Budget {
        let budget = self.read().get(name).cloned();
        budget.unwrap_or_else(|| self.make(name))
    }

    /// Returns the number of budgets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns whether there are no budgets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the budget of the host in this authority, which may contain a user name and
    /// password.
    pub(super) fn of_host(&self, authority: Option<&str>) -> Budget {
        let host = authority.and_then(|authority| authority.rsplit('@').next());
        let host = host.unwrap_or_default();
        self.named(&match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, Budget>> {
        // Nothing panics under this lock.
        unpoisoned(self.0.named.read())
    }

    #[cold]
    fn make(&self, name: &str) -> Budget {
        let mut named = unpoisoned(self.0.named.write());
        let is_full = named.len() >= self.0.at_most && !named.contains_key(name);
        if is_full {
            let now = Instant::now();
            named.retain(|_, budget| !budget.is_lone() || !budget.is_reserve_full(now));
            if named.len() >= self.0.at_most {
                return self.0.common.clone();
            }
        }
        let budget = named.entry(name.into());
        budget.or_insert_with(|| self.0.common.like_new()).clone()
    }

    fn with(common: Budget, at_most: usize) -> Self {
        Self(Arc::new(Registry {
            common,
            at_most,
            named: RwLock::default(),
        }))
    }
}

impl Default for BudgetRegistry {
    /// Creates a registry of budgets with the settings of [`Budget::default`].
    fn default() -> Self {
        Self::with(Budget::default(), 1_024)
    }
}

crate::macros::debug!(impl Debug for BudgetRegistry |self| {
    like: self.0.common,
    at_most: self.0.at_most,
    len: self.len(),
    ..
});

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::time::Duration;

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
    async fn a_budget_is_per_host_and_port() {
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
        // A budget in use stays, and so does one that is not full.
        assert!(is_same(&budgets.named("held"), &held));
        let spent = budgets.named("spent");
        let left = (0..99).filter(|_| spent.withdraw(Instant::now())).count();
        assert_eq!(left, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn names_share_a_budget_while_the_registry_is_full() {
        let budgets = BudgetRegistry::default().at_most(1);
        let first = budgets.named("first");
        let second = budgets.named("second");
        assert!(is_same(&budgets.named("third"), &second));
        assert!(!is_same(&first, &second));
        drop(first);
        assert!(!is_same(&budgets.named("second"), &second));
        assert_eq!(budgets.len(), 1);
        let none = BudgetRegistry::default().at_most(0);
        assert!(is_same(&none.named("any"), &none.named("other")));
    }
}
