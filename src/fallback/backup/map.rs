//! How a service comes to its request.

use crate::TryClone;

/// Leaves the request as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Same;

/// Keeps the request by its [`Clone`], where it has no [`TryClone`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cloned<M>(pub(super) M);

/// How a service comes to its request. Implemented for closures, which change it.
pub trait Map<Request> {
    /// What is kept of a request that is given to the primary, if anything can be.
    fn keep(&self, request: &Request) -> Option<Request>;

    /// Whether what was kept can be sent still. A body that was recorded while it was sent may have become too long. It can
    /// unless told otherwise.
    fn can_send(&self, kept: &Request) -> bool {
        let _ = kept;
        true
    }

    /// Makes of what was kept the request for the backup.
    fn map(&self, kept: Request) -> Request;
}

// ===== impl Map =====

impl<Request: TryClone> Map<Request> for Same {
    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn can_send(&self, kept: &Request) -> bool {
        kept.take_over()
    }

    fn map(&self, kept: Request) -> Request {
        kept
    }
}

impl<F: Fn(Request) -> Request, Request: TryClone> Map<Request> for F {
    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn can_send(&self, kept: &Request) -> bool {
        kept.take_over()
    }

    fn map(&self, kept: Request) -> Request {
        self(kept)
    }
}

impl<Request: Clone> Map<Request> for Cloned<Same> {
    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn map(&self, kept: Request) -> Request {
        kept
    }
}

impl<F: Fn(Request) -> Request, Request: Clone> Map<Request> for Cloned<F> {
    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn map(&self, kept: Request) -> Request {
        self.0(kept)
    }
}
