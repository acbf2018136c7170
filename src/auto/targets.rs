//! All targets, and which of them a request may go to.

use std::{fmt, time::Duration};

use super::{Target, weights::Weights};

/// What all services of a layer share.
pub(super) struct Targets<Request> {
    pub(super) list: Vec<Target<Request>>,
    /// `None` where they are ranked.
    pub(super) weights: Option<Weights>,
    pub(super) takes_all: bool,
    pub(super) max_wait: Option<Duration>,
}

// ===== impl Targets =====

impl<Request> Targets<Request> {
    pub(super) fn new(is_weighted: bool) -> Self {
        Self {
            list: Vec::new(),
            weights: is_weighted.then(|| Weights::new(0)),
            takes_all: false,
            max_wait: None,
        }
    }

    pub(super) fn add(&mut self, target: Target<Request>) {
        self.list.push(target);
        if self.weights.is_some() {
            self.weights = Some(Weights::new(self.list.len()));
        }
    }

    /// The numbers of those that a request may go to which names a model so.
    pub(super) fn of(&self, model: Option<&str>) -> Vec<usize> {
        let Some(model) = model.filter(|_| !self.takes_all) else {
            return (0..self.list.len()).collect();
        };
        match self.which(|target| target.is_called(model)) {
            none if none.is_empty() => self.which(|target| target.model.is_none()),
            some => some,
        }
    }

    fn which(&self, is_one: impl Fn(&Target<Request>) -> bool) -> Vec<usize> {
        let numbered = self.list.iter().enumerate();
        let ones = numbered.filter(|(_, target)| is_one(target));
        ones.map(|(number, _)| number).collect()
    }
}

/// The same targets, which take turns of their own.
impl<Request> Clone for Targets<Request> {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.weights.is_some());
        clone.takes_all = self.takes_all;
        clone.max_wait = self.max_wait;
        for target in &self.list {
            clone.add(target.clone());
        }
        clone
    }
}

impl<Request> fmt::Debug for Targets<Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets")
            .field("list", &self.list)
            .field("weights", &self.weights)
            .field("takes_all", &self.takes_all)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}
