use std::{
    any::type_name,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Backup, Cloned, Map, Outcome, Same, chain_of_one};
use crate::BoxError;

/// Answers by sending the request to another service.
///
/// `M` is what makes the request one for that service: [`Same`], or a closure.
#[derive(Clone)]
pub struct To<B, M = Same> {
    service: Shared<B>,
    map: M,
    name: Option<Arc<str>>,
}

/// A service to clone, by whoever comes.
///
/// Behind a lock, so that a service that is not `Sync` will do. It is only taken when the primary has failed.
struct Shared<B>(Mutex<B>);

pin_project! {
    /// The response future of a [`To`]: readies its service, and calls it.
    pub struct ToFuture<B, Request>
    where
        B: Service<Request>,
    {
        #[pin]
        state: State<B, Request, B::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, Request, F> {
        Readying { service: B, request: Option<Request> },
        Calling { #[pin] future: F },
    }
}

// ===== impl To =====

impl<B> To<B> {
    pub(crate) const fn new(service: B) -> Self {
        Self {
            service: Shared(Mutex::new(service)),
            map: Same,
            name: None,
        }
    }

    pub(crate) fn map<M>(self, map: M) -> To<B, M> {
        self.change(|Same| map)
    }
}

impl<B, M> To<B, M> {
    pub(crate) fn cloned(self) -> To<B, Cloned<M>> {
        self.change(Cloned)
    }

    fn change<M2>(self, f: impl FnOnce(M) -> M2) -> To<B, M2> {
        To {
            service: self.service,
            map: f(self.map),
            name: self.name,
        }
    }
}

chain_of_one!(To<B, M>);

impl<B, M, Request, Response> Backup<Request, Response> for To<B, M>
where
    B: Service<Request, Response = Response> + Clone,
    B::Error: Into<BoxError>,
    M: Map<Request>,
{
    type Future = ToFuture<B, Request>;

    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        self.map.keep(request)
    }

    fn answer(
        &self,
        _: usize,
        request: &mut Option<Request>,
        failed: Outcome<Response>,
    ) -> Result<Self::Future, Outcome<Response>> {
        let Some(request) = request.take_if(|it| self.map.can_send(it)) else {
            return Err(failed);
        };
        // Its body may hold the very connection or permit that this one needs.
        drop(failed);
        Ok(ToFuture {
            state: State::Readying {
                service: self.service.get(),
                request: Some(self.map.map(request)),
            },
        })
    }
}

impl<B, M> fmt::Debug for To<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("To")
            .field("service", &type_name::<B>())
            .field("map", &type_name::<M>())
            .field("name", &self.name)
            .finish()
    }
}

// ===== impl Shared =====

impl<B: Clone> Shared<B> {
    fn get(&self) -> B {
        // A clone that panicked has not changed what it was made from.
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        service.clone()
    }
}

impl<B: Clone> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.get()))
    }
}

// ===== impl ToFuture =====

impl<B, Request> Future for ToFuture<B, Request>
where
    B: Service<Request>,
    B::Error: Into<BoxError>,
{
    type Output = Outcome<B::Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // ## Readying => (Calling | done)
                StateProj::Readying { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    let Some(request) = request.take() else {
                        unreachable!("polled after it was done")
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

impl<B: Service<Request>, Request> fmt::Debug for ToFuture<B, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
        };
        f.debug_tuple("ToFuture").field(&state).finish()
    }
}
