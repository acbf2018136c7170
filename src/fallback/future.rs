//! The response future.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

pub use super::backup::service::BackupFuture;
use super::{FallbackLayer, ServedBy, backup::Backup, condition::Decide, layer::FallbackSettings};
use crate::error::{BoxError, CircuitOpen, find_source};

pin_project! {
    /// The response future of a [`Fallback`](super::Fallback).
    ///
    /// `F` is the primary's future, `G` the backup's, and `L` the [`FallbackLayer`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and drops the call it waits for. That one may have acted on
    /// the request.
    pub struct ResponseFuture<F, G, Request, L> {
        #[pin]
        pub(super) state: State<F, G, Request>,
        pub(super) layer: L,
        pub(super) is_circuit_open: bool,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<F, G, Request> {
        Primary { #[pin] future: F, kept: Option<Request> },
        // Boxed, so that the future is small if no backup is needed.
        Backup { future: Pin<Box<G>> },
    }
}

// ===== impl ResponseFuture =====

impl<F, Request, Response, Error, B, W> Future
    for ResponseFuture<F, B::Future, Request, FallbackLayer<B, W>>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
    B: Backup<Request, Response>,
    W: Decide<Response>,
{
    type Output = Result<Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let settings = &*this.layer.settings;
        loop {
            match this.state.as_mut().project() {
                // ## Primary => (Backup | done)
                StateProj::Primary { future, kept } => {
                    let outcome = ready!(future.poll(cx)).map_err(Into::into);
                    if !settings.when.matches(outcome.as_ref()) {
                        return Poll::Ready(outcome);
                    }
                    *this.is_circuit_open = is_circuit_open(&outcome);
                    match fall_back(settings, kept.take(), outcome) {
                        // Drops the primary's future, and what it may hold, before the backup is
                        // polled.
                        Ok(future) => this.state.set(State::Backup { future }),
                        Err(outcome) => return Poll::Ready(outcome),
                    }
                }
                // ## Backup => done
                StateProj::Backup { future } => {
                    let mut outcome = ready!(future.as_mut().poll(cx));
                    if let Ok(response) = &mut outcome {
                        let served_by = ServedBy {
                            is_backup: true,
                            name: settings.name.clone(),
                            is_circuit_open: *this.is_circuit_open,
                        };
                        settings.when.note(response, served_by);
                    }
                    return Poll::Ready(outcome);
                }
            }
        }
    }
}

fn is_circuit_open<Response>(outcome: &Result<Response, BoxError>) -> bool {
    let is_open = |error| find_source::<CircuitOpen>(error).is_some();
    outcome.as_ref().is_err_and(is_open)
}

#[cold]
fn fall_back<B, W, Request, Response>(
    settings: &FallbackSettings<B, W>,
    kept: Option<Request>,
    failed: Result<Response, BoxError>,
) -> Result<Pin<Box<B::Future>>, Result<Response, BoxError>>
where
    B: Backup<Request, Response>,
{
    // Not the error itself: a client's error may show a URL with a key in it.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    let failure = match &failed {
        Ok(_) => "response",
        Err(_) if is_circuit_open(&failed) => "circuit open",
        Err(_) => "error",
    };
    let future = settings.backup.respond(kept, failed)?;
    crate::telemetry::count!(
        FALLBACKS,
        "target" => settings.name.as_deref().unwrap_or(crate::telemetry::DEFAULT_NAME).to_owned(),
        "cause" => failure.replace(' ', "_")
    );
    crate::macros::event!(
        target: "tower_throttle::fallback",
        name = settings.name.as_deref(),
        failed = failure,
        "falling back"
    );
    Ok(Box::pin(future))
}

crate::macros::debug!(impl<F, G, Request, L> Debug for ResponseFuture<F, G, Request, L> |self| {
    ..
});
