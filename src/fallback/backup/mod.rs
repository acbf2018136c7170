//! What responds if the primary fails: a service, a value, or a closure.

mod request;
pub(super) mod service;
mod value;

use std::{any::type_name, fmt, future::Future};

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

macro_rules! debug_as_type_name {
    ($($Type:ident<$($param:ident),+>),+ $(,)?) => {$(
        impl<$($param),+> fmt::Debug for $Type<$($param),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(type_name::<Self>())
            }
        }
    )+};
}

debug_as_type_name!(BackupService<B, M>, CloneRequest<M>, FromFn<F>, Value<V>);
