//! How the request for a backup service is made.

use crate::http::TryClone;

/// Sends the backup the same request as the primary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SameRequest;

/// Copies requests by [`Clone`] instead of [`TryClone`].
#[derive(Clone, Copy)]
pub struct CloneRequest<M>(pub(in crate::fallback) M);

/// Makes the request for a backup service. Implemented for closures, which change it.
pub trait MapRequest<Request> {
    /// Copies a request before it is sent to the primary, if it can be cloned.
    fn copy(&self, request: &Request) -> Option<Request>;

    /// Returns the request for the backup, if the copy can still be sent.
    ///
    /// It can't if its body was recorded while the primary read it, and is incomplete.
    fn map(&self, copy: Request) -> Option<Request>;
}

// ===== impl MapRequest =====

impl<Request: TryClone> MapRequest<Request> for SameRequest {
    #[inline]
    fn copy(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn map(&self, copy: Request) -> Option<Request> {
        copy.claim().then_some(copy)
    }
}

impl<F: Fn(Request) -> Request, Request: TryClone> MapRequest<Request> for F {
    #[inline]
    fn copy(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn map(&self, copy: Request) -> Option<Request> {
        copy.claim().then(|| self(copy))
    }
}

impl<Request: Clone> MapRequest<Request> for CloneRequest<SameRequest> {
    #[inline]
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn map(&self, copy: Request) -> Option<Request> {
        Some(copy)
    }
}

impl<F: Fn(Request) -> Request, Request: Clone> MapRequest<Request> for CloneRequest<F> {
    #[inline]
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn map(&self, copy: Request) -> Option<Request> {
        Some(self.0(copy))
    }
}
