use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Backup, CloneRequest, MapRequest, SameRequest};
use crate::error::BoxError;

/// Sends the request to another service.
///
/// `M` makes the request for that service: [`SameRequest`], or a closure.
#[derive(Clone)]
pub struct BackupService<B, M = SameRequest> {
    // In a mutex because it need not be `Sync`. Only a failure of the primary locks it.
    service: Arc<Mutex<B>>,
    map: M,
}

pin_project! {
    /// The response future of a [`BackupService`]: waits until the service is ready, and calls it.
    pub struct BackupFuture<B, F, Request> {
        #[pin]
        state: State<B, F, Request>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, F, Request> {
        Readying { service: B, request: Option<Request> },
        Calling { #[pin] future: F },
    }
}

// ===== impl BackupService =====

impl<B> BackupService<B> {
    pub(crate) fn new(service: B) -> Self {
        Self {
            service: Arc::new(Mutex::new(service)),
            map: SameRequest,
        }
    }

    pub(crate) fn map_request<M>(self, map: M) -> BackupService<B, M> {
        let service = self.service;
        BackupService { service, map }
    }
}

impl<B, M> BackupService<B, M> {
    pub(crate) fn clone_request(self) -> BackupService<B, CloneRequest<M>> {
        BackupService {
            service: self.service,
            map: CloneRequest(self.map),
        }
    }
}

impl<B, M, Request, Response> Backup<Request, Response> for BackupService<B, M>
where
    B: Service<Request, Response = Response> + Clone,
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
        failed: Result<Response, BoxError>,
    ) -> Result<Self::Future, Result<Response, BoxError>> {
        let Some(request) = kept.and_then(|copy| self.map.map(copy)) else {
            return Err(failed);
        };
        // Its body may hold the connection or permit that the backup needs.
        drop(failed);
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let service = service.clone();
        let request = Some(request);
        Ok(BackupFuture {
            state: State::Readying { service, request },
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
        loop {
            match this.state.as_mut().project() {
                // ## Readying => (Calling | done)
                StateProj::Readying { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    let Some(request) = request.take() else {
                        unreachable!("polled after completion")
                    };
                    let future = service.call(request);
                    this.state.set(State::Calling { future });
                }
                // ## Calling => done
                StateProj::Calling { future } => return future.poll(cx).map_err(Into::into),
            }
        }
    }
}

impl<B, F, Request> fmt::Debug for BackupFuture<B, F, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
        };
        f.debug_tuple("BackupFuture").field(&state).finish()
    }
}
