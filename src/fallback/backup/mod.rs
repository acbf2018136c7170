//! What responds if the primary fails: a service, a value, or a closure.

mod request;
pub(super) mod service;
mod value;

pub use self::{
    request::{CloneRequest, MapRequest, SameRequest},
    service::BackupService,
    value::{FromFn, Value},
};
use crate::error::BoxError;

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
        failed: Result<Response, BoxError>,
    ) -> Result<Self::Future, Result<Response, BoxError>>;
}

crate::macros::debug!(impl<B, M> Debug for BackupService<B, M> |self| { .. });
crate::macros::debug!(impl<M> Debug for CloneRequest<M> |self| { .. });
crate::macros::debug!(impl<F> Debug for FromFn<F> |self| { .. });
crate::macros::debug!(impl<V> Debug for Value<V> |self| { .. });
