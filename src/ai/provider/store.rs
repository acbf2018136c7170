//! The limits of a provider in a store that several processes share.
//!
//! A request is admitted by the local pause, by the local number of requests in flight, and by one
//! link, which takes from all other limits at once. The meters of this process only observe.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Accounting, Counting, LimitUsage, Provider, Usage,
    quota::{QueuedTokens, Quotas, StoredLimit, WHOLE},
};
use crate::{
    ai::tokens::{TokenUsage, Tokens},
    error::{LimitKind, Rejected},
    http::{Dimension, RateLimits},
    limit::{
        algorithm::Mark,
        engine::WaitQueue,
        store::{
            call::{LimitSpec, StateKey},
            handle::Handle,
            link::{Link, Marks, Queue, Shortage},
        },
    },
};

/// The limits of a provider in a store.
#[derive(Debug)]
pub(crate) struct ProviderLink {
    link: Arc<Link>,
    pub(super) queue: Arc<ProviderQueue>,
    pub(super) limits: Box<[StoredLimit]>,
    accounting: Accounting,
}

/// The queue with the units of each limit.
#[derive(Debug)]
pub(crate) struct ProviderQueue {
    pub(super) wait_queue: Arc<WaitQueue>,
    /// The units that all queued requests ask for.
    units: Box<[AtomicU64]>,
}

// ===== impl ProviderLink =====

impl ProviderLink {
    pub(super) fn new(store: Arc<Handle>, name: &str, provider: &Provider) -> Self {
        let limits = StoredLimit::of(provider).into_boxed_slice();
        let specs: Arc<[LimitSpec]> = limits.iter().map(|limit| limit.spec).collect();
        let limited = specs.iter().filter(|spec| !spec.is_unlimited());
        let look_again = limited.map(|spec| store.look_again(spec)).min();
        let queue = Arc::new(ProviderQueue {
            wait_queue: Arc::new(WaitQueue::new(look_again)),
            units: limits.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        Self {
            link: Link::new(store, StateKey::of_name(name), specs, queue.clone()),
            queue,
            accounting: provider.accounting(),
            limits,
        }
    }

    /// Returns how long a request may wait for a reply beside its maximum wait.
    pub(super) fn reply_time(&self, rejected: &Rejected) -> Duration {
        // Only a response frees a place in flight.
        match rejected.needs_reply() && rejected.limit() != LimitKind::Quota(Dimension::Concurrency)
        {
            true => self.link.timeout(),
            false => Duration::ZERO,
        }
    }

    /// Takes from all limits for a new request.
    pub(super) fn take(&self, tokens: Tokens, max_wait: Duration) -> Result<Marks, Rejected> {
        let cost = self.cost(tokens);
        let taken = self.link.take(&cost, max_wait);
        taken.map_err(|shortage| self.rejected(shortage, &cost))
    }

    /// Takes from all limits for the head of the queue.
    pub(super) fn take_in_turn(&self, tokens: Tokens) -> Option<Marks> {
        self.link.take_in_turn(&self.cost(tokens))
    }

    /// Returns whether the limits have room, and asks for it if not.
    pub(super) fn look(&self, tokens: Tokens) -> Result<(), Rejected> {
        let cost = self.cost(tokens);
        let looked = self.link.look(&cost);
        looked.map_err(|shortage| self.rejected(shortage, &cost))
    }

    /// Returns the expected wait, if it is known, behind those `ahead`.
    pub(super) fn wait_after(&self, tokens: Tokens, ahead: &QueuedTokens) -> Option<Duration> {
        let units = |n: usize| ahead.share_of(self.limits[n].dimension, WHOLE);
        self.link.wait_after(&self.cost(tokens), units)
    }

    /// Returns the rejection of a request that only waits for those `ahead`.
    pub(super) fn too_long(&self, tokens: Tokens, ahead: &QueuedTokens) -> Rejected {
        let wait = self.wait_after(tokens, ahead);
        Rejected::too_long(self.kind(0), wait)
    }

    /// Returns the rest of a pause that another process has begun.
    pub(super) fn paused(&self) -> Duration {
        self.link.paused()
    }

    /// Returns what a request takes. A limit that was learned admits larger ones, since the
    /// provider may accept them.
    fn cost(&self, tokens: Tokens) -> Vec<u64> {
        let limits = self.link.limits();
        let costs = self.limits.iter().zip(limits.iter());
        let costs = costs.map(|(limit, applies)| match limit.cost(tokens) {
            cost if limit.spec == *applies => cost,
            cost => cost.min(applies.capacity()),
        });
        costs.collect()
    }

    fn kind(&self, n: usize) -> LimitKind {
        LimitKind::Quota(self.limits[n].dimension)
    }

    fn rejected(&self, shortage: Shortage, cost: &[u64]) -> Rejected {
        let n = shortage.limit();
        shortage.rejection(self.kind(n), cost[n], self.link.capacity(n))
    }

    /// Settles what a request has taken to its usage; `None` keeps what was reserved.
    pub(super) fn settle(&self, marks: &[Mark], usage: Option<TokenUsage>) {
        let (limits, counting) = (self.link.limits(), self.accounting.counting());
        let (mut unused, mut more) = (marks.to_vec(), vec![0; marks.len()]);
        for (n, limit) in self.limits.iter().enumerate() {
            let cost = marks[n].cost;
            let used = usage.map_or(cost, |usage| self.accounting.used(limit.dimension, usage));
            // A response costs at most the whole limit, whatever usage it reports.
            let used = used.min(limits[n].capacity().max(cost));
            (unused[n].cost, more[n]) = match counting {
                _ if limit.dimension == Dimension::Requests => (0, 0),
                Counting::Admission => (0, 0),
                Counting::Settled => (cost.saturating_sub(used), used.saturating_sub(cost)),
                Counting::Completion => (cost, used),
            };
        }
        self.refund(&unused);
        let since = (counting == Counting::Settled).then_some(marks);
        if more.iter().any(|units| *units > 0) {
            self.link.charge(since, &more);
        }
    }

    /// Gives back these units.
    pub(super) fn refund(&self, marks: &[Mark]) {
        if marks.iter().any(|mark| mark.cost > 0) {
            self.link.refund(marks);
        }
    }

    /// Gives back what a request has not used that the provider rejected with the limits `told`.
    ///
    /// If these report more used units than the store knows of, others use the API key, or the
    /// provider counts more tokens. The difference is charged.
    pub(super) fn refuse(&self, quotas: &Quotas, marks: &[Mark], told: &RateLimits) {
        let mut unused = marks.to_vec();
        for (n, mark) in unused.iter_mut().enumerate() {
            if !quotas.returns_after_rejection(n, !told.is_empty()) {
                mark.cost = 0;
            }
        }
        self.refund(&unused);
        let limits = self.link.limits();
        for (n, used) in quotas.reported_use(told) {
            // Otherwise it is learned now, with all that is used.
            if !limits[n].is_unlimited() {
                self.link.raise(n, Some(&marks[n]), used);
            }
        }
    }

    /// Adopts what other processes have learned, applies `hear` to the quotas, and sends the other
    /// processes what was learned from the response, which reported the limits `told`, and the
    /// pause that it has begun.
    pub(super) fn learn(
        &self,
        quotas: &mut Quotas,
        told: &RateLimits,
        now: u64,
        hear: impl FnOnce(&mut Quotas, u64),
    ) {
        let (limits, usage) = (self.link.limits(), self.link.usage());
        // The first limit is always one on requests.
        let requests = usage.and_then(|usage| usage.used.first().copied());
        let known = quotas.adopt(&limits, requests.map(|used| used.units), now);
        hear(quotas, now);
        let learned = quotas.learned(&known, &limits, told);
        if !learned.is_empty() {
            for (n, limit) in learned {
                self.link.set_limit(n, limit);
            }
            for (n, used) in quotas.reported_use(told) {
                // Without a limit nothing was counted.
                if limits[n].is_unlimited() {
                    self.link.raise(n, None, used);
                }
            }
        }
        if let Some(pause) = quotas.pause.take_begun() {
            self.link.pause(pause);
        }
    }

    /// Returns `usage` with the limits that the store counts as it has said last.
    pub(super) fn shown(&self, mut usage: Usage) -> Usage {
        let Some(all) = self.link.usage() else {
            return usage;
        };
        let limits = self.limits.iter().zip(all.limits.iter().zip(&all.used));
        let known = limits.filter(|(_, (applies, _))| StoredLimit::is_known(applies));
        let stored = known.map(|(limit, (applies, used))| LimitUsage {
            dimension: limit.dimension,
            period: Some(Duration::from_nanos(limit.period)),
            limit: applies.units_per(limit.period),
            ours: applies.units_per(limit.period),
            used: used.units,
            reserved: 0,
            resets_in: used.resets_in.saturating_sub(all.age),
        });
        let is_stored = |usage: &LimitUsage| self.limits.iter().any(|one| one.is_shown_as(usage));
        let local = usage.limits.into_iter().filter(|usage| !is_stored(usage));
        usage.limits = stored.chain(local).collect();
        usage
    }

    /// Counts the units of the queue, which has changed.
    pub(super) fn count_queued(&self, queued: &QueuedTokens) {
        for (limit, units) in self.limits.iter().zip(&self.queue.units) {
            units.store(queued.share_of(limit.dimension, WHOLE), Ordering::Relaxed);
        }
    }

    pub(super) fn close(&self) {
        self.link.close();
    }
}

// ===== impl ProviderQueue =====

impl Queue for ProviderQueue {
    fn units(&self, limit: usize) -> u64 {
        // Relaxed: a lone number.
        self.units[limit].load(Ordering::Relaxed)
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.wait_queue
    }
}
