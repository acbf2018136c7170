use std::{
    any::type_name,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    Classify,
    future::{Kept, ResponseFuture},
    settings::{Progress, Settings},
};
use crate::{BoxError, TryClone};

/// A service whose failed requests are repeated. Made by a
/// [`RetryAfterBackoffLayer`](crate::RetryAfterBackoffLayer).
///
/// A clone shares the settings and the budget.
#[derive(Clone)]
pub struct RetryAfterBackoff<S, C = super::ByStatus> {
    inner: S,
    settings: Arc<Settings>,
    classifier: C,
}

// ===== impl RetryAfterBackoff =====

impl<S, C> RetryAfterBackoff<S, C> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>, classifier: C) -> Self {
        Self {
            inner,
            settings,
            classifier,
        }
    }

    crate::accessors::inner!(inner);
}

impl<S, C, Request> Service<Request> for RetryAfterBackoff<S, C>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<Request, S::Response> + Clone,
    Request: TryClone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, C, Request>;

    /// Passes through.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let again = match self.settings.attempts {
            ..=1 => None,
            _ => request.try_clone(),
        };
        let kept = Kept {
            request: again,
            budget: None,
            // A fresh clone, which holds nothing: the ready instance is called right now.
            service: self.inner.clone(),
            classifier: self.classifier.clone(),
            settings: self.settings.clone(),
            progress: Progress::starting(),
        };
        ResponseFuture::called(self.inner.call(request), kept)
    }
}

impl<S: fmt::Debug, C> fmt::Debug for RetryAfterBackoff<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfterBackoff")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .field("classifier", &type_name::<C>())
            .finish()
    }
}
