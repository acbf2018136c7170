//! A service that is not ready while its target is left alone.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::Circuit;

/// While somebody else finds out whether all is well again, it is looked at so often.
const LOOKS: Duration = Duration::from_millis(100);

/// A service, and the circuit that is asked before it.
///
/// One whose turn it is keeps it until the circuit lets somebody through: those behind it would have to wait as well.
pub(super) struct Guarded<S> {
    service: S,
    circuit: Option<Circuit>,
    sleep: Option<Pin<Box<Sleep>>>,
}

// ===== impl Guarded =====

impl<S> Guarded<S> {
    /// Asks no circuit where there is none.
    pub(super) const fn new(service: S, circuit: Option<Circuit>) -> Self {
        Self {
            service,
            circuit,
            sleep: None,
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.service
    }

    fn poll_circuit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(circuit) = &self.circuit else {
            return Poll::Ready(());
        };
        while circuit.is_open() {
            let wait = || circuit.retry_after().unwrap_or_default().max(LOOKS);
            let timer = self.sleep.get_or_insert_with(|| Box::pin(sleep(wait())));
            ready!(timer.as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }
}

impl<S: Service<Request>, Request> Service<Request> for Guarded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.poll_circuit(cx));
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.service.call(request)
    }
}

impl<S: Clone> Clone for Guarded<S> {
    fn clone(&self) -> Self {
        Self::new(self.service.clone(), self.circuit.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("service", &self.service)
            .field("circuit", &self.circuit)
            .finish_non_exhaustive()
    }
}
