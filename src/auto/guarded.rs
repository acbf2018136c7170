//! A service that is not called while its target is left alone.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::Circuit;

/// While somebody else finds out whether all is well again, it is looked at so often at first, and then less and less.
const LOOKS: Duration = Duration::from_millis(100);
const LONGEST_LOOKS: Duration = Duration::from_secs(1);

/// A service, and the circuit that is asked before it.
pub(super) struct Guarded<S> {
    service: S,
    circuit: Option<Circuit>,
}

/// Why a guarded service is not to be called.
#[derive(Debug)]
pub(super) enum NotReady<E> {
    /// Its target is left alone.
    LeftAlone(Circuit),
    Failed(E),
}

pin_project! {
    /// What becomes of a call.
    pub(super) struct Called<F> {
        #[pin]
        future: F,
    }
}

/// Until a target is no longer left alone.
///
/// It is waited for outside of the limiter's queue, which may serve others: another target, or somebody who has no circuit.
pub(super) struct Aside {
    circuit: Circuit,
    sleep: Pin<Box<Sleep>>,
    looks: Duration,
}

// ===== impl Guarded =====

impl<S> Guarded<S> {
    /// Asks no circuit where there is none.
    pub(super) const fn new(service: S, circuit: Option<Circuit>) -> Self {
        Self { service, circuit }
    }

    pub(super) fn into_inner(self) -> S {
        self.service
    }

    /// Asks no circuit any more.
    pub(super) fn ask_always(&mut self) {
        self.circuit = None;
    }
}

impl<S: Service<Request>, Request> Service<Request> for Guarded<S> {
    type Response = S::Response;
    type Error = NotReady<S::Error>;
    type Future = Called<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Some(open) = self.circuit.as_ref().filter(|circuit| circuit.is_open()) {
            return Poll::Ready(Err(NotReady::LeftAlone(open.clone())));
        }
        self.service.poll_ready(cx).map_err(NotReady::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let future = self.service.call(request);
        Called { future }
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
            .finish()
    }
}

// ===== impl Called =====

impl<F: Future<Output = Result<T, E>>, T, E> Future for Called<F> {
    type Output = Result<T, NotReady<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(NotReady::Failed)
    }
}

// ===== impl Aside =====

impl Aside {
    pub(super) fn new(circuit: Circuit) -> Self {
        let sleep = Box::pin(sleep(until_next_look(&circuit, LOOKS)));
        Self {
            circuit,
            sleep,
            looks: LOOKS,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if !self.circuit.is_open() {
                return Poll::Ready(());
            }
            self.looks = (self.looks * 2).min(LONGEST_LOOKS);
            let wait = until_next_look(&self.circuit, self.looks);
            self.sleep.as_mut().set(sleep(wait));
        }
    }
}

fn until_next_look(circuit: &Circuit, at_least: Duration) -> Duration {
    circuit.retry_after().unwrap_or_default().max(at_least)
}
