//! Services and helpers that several tests need.

use std::{
    convert::Infallible,
    future::{Future, Ready, poll_fn, ready},
    marker::PhantomData,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Service, ServiceExt};

/// A service that must be polled ready before each call, and whose clones start unready, as tower's own are.
#[derive(Debug)]
pub(crate) struct Probe<Request = ()> {
    ready: bool,
    calls: Arc<AtomicUsize>,
    request: PhantomData<fn(Request)>,
}

/// A probe that is called with nothing.
pub(crate) fn probe() -> Probe {
    probe_of()
}

/// A probe that is called with requests of a type.
pub(crate) fn probe_of<Request>() -> Probe<Request> {
    Probe {
        ready: false,
        calls: Arc::default(),
        request: PhantomData,
    }
}

impl<Request> Probe<Request> {
    pub(crate) fn calls(&self) -> Arc<AtomicUsize> {
        self.calls.clone()
    }
}

impl<Request> Clone for Probe<Request> {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            calls: self.calls.clone(),
            request: PhantomData,
        }
    }
}

impl<Request> Service<Request> for Probe<Request> {
    type Response = Instant;
    type Error = Infallible;
    type Future = Ready<Result<Instant, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    /// Answers with the instant of the call.
    fn call(&mut self, _: Request) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without having been polled ready"
        );
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Instant::now()))
    }
}

/// Readies `service` and calls it.
pub(crate) async fn call<S, Request>(
    service: &mut S,
    request: Request,
) -> Result<S::Response, S::Error>
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    service.ready().await.unwrap().call(request).await
}

/// Readies `service`, calls it, and polls the future once, so that it stands in its queue if it has to.
pub(crate) async fn start<S, Request>(service: &mut S, request: Request) -> Started<S::Future>
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    let mut future = Box::pin(service.ready().await.unwrap().call(request));
    match poll_once(future.as_mut()).await {
        Some(output) => Started::Done(output),
        None => Started::Waits(future),
    }
}

pub(crate) enum Started<F: Future> {
    Done(F::Output),
    Waits(std::pin::Pin<Box<F>>),
}

impl<F: Future> Started<F> {
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Waits(_))
    }

    pub(crate) async fn end(self) -> F::Output {
        match self {
            Self::Done(output) => output,
            Self::Waits(future) => future.await,
        }
    }
}

pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// ===== events =====

/// What `tracing` was told, as lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<u8>>>);

/// Listens until it is dropped, on this thread alone.
#[derive(Debug)]
pub(crate) struct Listening {
    events: Events,
    _on: Subscribed,
}

impl std::io::Write for Events {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The subscriber of this thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscribed {
    _on: tracing::subscriber::DefaultGuard,
    _second: tracing::Dispatch,
}

/// Sets the subscriber of this thread.
pub(crate) fn subscribe(subscriber: impl Into<tracing::Dispatch>) -> Subscribed {
    // While there is only one subscriber, whether an event is wanted is asked of the thread that first meets it, which
    // may be that of another test.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    Subscribed {
        _on: tracing::dispatcher::set_default(&subscriber.into()),
        _second: second,
    }
}

impl Listening {
    pub(crate) fn start() -> Self {
        let events = Events::default();
        let writer = events.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        Self {
            events,
            _on: subscribe(subscriber),
        }
    }

    /// This crate's lines since the last time, without what stands before the message.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.events.0.lock().unwrap());
        let text = String::from_utf8(text).unwrap();
        let ours = text
            .lines()
            .filter(|line| line.contains("tower_throttle::"));
        ours.map(|line| line.split_once(": ").unwrap().1.to_owned())
            .collect()
    }
}
