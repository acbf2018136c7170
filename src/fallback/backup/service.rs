use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Backup, MapRequest, Primary, SameRequest};
use crate::{error::BoxError, sync::unpoisoned};

/// Sends the request to another service.
///
/// `M` makes the request for that service: [`SameRequest`], or a closure.
#[derive(Clone)]
pub struct BackupService<B, M = SameRequest> {
    // In a mutex because it need not be `Sync`. Only a failure of the primary locks it.
    pub(in crate::fallback) service: Arc<Mutex<B>>,
    pub(in crate::fallback) map: M,
}

pin_project! {
    /// The response future of a [`BackupService`]: waits until the service is ready, and calls it.
    pub struct BackupFuture<B, F, Request> {
        // Until the service is called. The instance is dropped then.
        pending: Option<(B, Request)>,
        #[pin]
        future: Option<F>,
    }
}

// ===== impl BackupService =====

impl<B, M, Request, R> Backup<Request, R> for BackupService<B, M>
where
    B: Service<Request, Response = R> + Clone,
    B::Error: Into<BoxError>,
    M: MapRequest<Request>,
{
    type Future = BackupFuture<B, B::Future, Request>;

    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        self.map.copy(request)
    }

    fn respond(
        &self,
        kept: Option<Request>,
        failed: Primary<R>,
    ) -> Result<Self::Future, Primary<R>> {
        let Some(request) = kept.and_then(|copy| self.map.map(copy)) else {
            return Err(failed);
        };
        // Its body may hold the connection or permit that the backup needs.
        drop(failed);
        let service = unpoisoned(self.service.lock());
        Ok(BackupFuture {
            pending: Some((service.clone(), request)),
            future: None,
        })
    }
}

// ===== impl BackupFuture =====

impl<B, Request> Future for BackupFuture<B, B::Future, Request>
where
    B: Service<Request>,
    B::Error: Into<BoxError>,
{
    type Output = Result<B::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some((service, _)) = this.pending {
            ready!(service.poll_ready(cx)).map_err(Into::into)?;
        }
        if let Some((mut service, request)) = this.pending.take() {
            this.future.set(Some(service.call(request)));
        }
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx).map_err(Into::into),
            None => unreachable!("polled after completion"),
        }
    }
}

crate::macros::debug!(impl<B, F, Request> Debug for BackupFuture<B, F, Request> |self| {
    is_called: self.future.is_some(),
    ..
});
