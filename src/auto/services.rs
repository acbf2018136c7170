//! The services that targets are called with.

use std::sync::{Arc, Mutex, PoisonError};

/// Services to clone. They are never polled themselves, so nothing is held before a request is sent.
///
/// Behind a lock, so that a service that is not `Sync` will do.
#[derive(Debug)]
pub(super) struct Services<S>(Arc<Mutex<List<S>>>);

#[derive(Debug)]
enum List<S> {
    One(S),
    Each(Vec<S>),
}

// ===== impl Services =====

impl<S> Services<S> {
    /// One for all targets.
    pub(super) fn one(service: S) -> Self {
        Self(Arc::new(Mutex::new(List::One(service))))
    }

    /// One for each target.
    pub(super) fn each(services: Vec<S>) -> Self {
        Self(Arc::new(Mutex::new(List::Each(services))))
    }

    /// A fresh clone for that target.
    pub(super) fn get(&self, target: usize) -> S
    where
        S: Clone,
    {
        // A clone that panicked has not changed what it was made from.
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            List::One(service) => service.clone(),
            List::Each(services) => services[target].clone(),
        }
    }
}

impl<S> Clone for Services<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
