//! What responds if the primary fails: a service, a value, or a closure.

pub(super) mod service;

use std::future::{Ready, ready};

pub use self::service::BackupService;
use crate::{error::BoxError, http::TryClone};

/// What the primary returned, in place of which a backup responds.
type Primary<R> = Result<R, BoxError>;

/// Responds if the primary fails: [`BackupService`], [`Value`] and [`FromFn`].
pub trait Backup<Request, Response> {
    /// The response future.
    type Future: Future<Output = Result<Response, BoxError>>;

    /// Returns a copy of the request, if the backup needs one and the request can be cloned.
    fn keep(&self, request: &Request) -> Option<Request> {
        let _ = request;
        None
    }

    /// Responds in place of `failed`, which is dropped before the backup is called.
    ///
    /// # Errors
    ///
    /// Returns `failed` if the backup needs a request, and there is none that can be sent.
    fn respond(
        &self,
        kept: Option<Request>,
        failed: Primary<Response>,
    ) -> Result<Self::Future, Primary<Response>>;
}

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

/// Responds with a clone of a value.
#[derive(Clone)]
pub struct Value<V>(pub(in crate::fallback) V);

/// Responds with what a closure makes of the failure.
#[derive(Clone)]
pub struct FromFn<F>(pub(in crate::fallback) F);

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

// ===== impl Backup =====

impl<V: Clone, Request> Backup<Request, V> for Value<V> {
    type Future = Ready<Result<V, BoxError>>;

    fn respond(&self, _: Option<Request>, failed: Primary<V>) -> Result<Self::Future, Primary<V>> {
        drop(failed);
        Ok(ready(Ok(self.0.clone())))
    }
}

impl<F: Fn(Primary<R>) -> R, Request, R> Backup<Request, R> for FromFn<F> {
    type Future = Ready<Result<R, BoxError>>;

    fn respond(&self, _: Option<Request>, failed: Primary<R>) -> Result<Self::Future, Primary<R>> {
        Ok(ready(Ok(self.0(failed))))
    }
}

crate::macros::debug!(impl<B, M> Debug for BackupService<B, M> |self| { .. });
crate::macros::debug!(impl<M> Debug for CloneRequest<M> |self| { .. });
crate::macros::debug!(impl<F> Debug for FromFn<F> |self| { .. });
crate::macros::debug!(impl<V> Debug for Value<V> |self| { .. });
