//! A provider on loopback that speaks OpenAI's chat completions and embeddings and Anthropic's
//! messages, and keeps its limits to the letter.
//!
//! It counts a request when the whole of it has arrived. It admits no more than its limits say, and
//! every request that fits: a client that gets a 429 here was too fast. [`Style`] says what counts,
//! and what the headers say.
//!
//! `limits.rs` and `style.rs` configure the provider, and `least_time.rs` says how fast a client can
//! be; `allowance/` keeps one limit, and `ledger/` all of them; `headers/` and `answer/` are what
//! clients see; `in_flight.rs` is a request whose response has not ended, and `tokens.rs` its
//! length; `chaos/` says what goes wrong, and `line.rs` resets connections; `answers.rs` counts full
//! responses.
#![allow(
    dead_code,
    reason = "each of the example and the tests uses what it needs"
)]

mod allowance;
mod answer;
mod answers;
mod chaos;
mod headers;
mod in_flight;
mod least_time;
mod ledger;
mod limits;
mod line;
mod style;
mod tokens;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, connect_info::MockConnectInfo},
    routing,
};
use reqwest::{Request, Response};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tower::{Service, ServiceExt, service_fn};
use tower_throttle::BoxError;

use self::{
    answer::Ask,
    answers::Answers,
    in_flight::InFlight,
    line::{Line, Lines},
};
#[allow(unused_imports, reason = "the same")]
pub(crate) use self::{
    answers::Answered,
    chaos::{Chaos, Mishap},
    least_time::least_time,
    ledger::{Admission, Counters, Dimension, Ledger, Rejection, Standing},
    limits::{Kind, Limits, Outage},
    style::{Counting, RateHeaders, Style},
    tokens::{Tokens, UsageShare},
};

/// The longest request that is read. Prompts of a million tokens are far below it.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// A provider that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Simulator {
    /// Where it listens, unless it is in memory.
    address: Option<SocketAddr>,
    state: Arc<State>,
    /// Dropped with the rest, which tells the server to stop.
    _stop: watch::Sender<()>,
}

/// What the handlers of one provider share.
#[derive(Debug)]
struct State {
    limits: Limits,
    ledger: Mutex<Ledger>,
    answers: Answers,
    /// Closed when the provider is dropped.
    open: watch::Receiver<()>,
}

// ===== impl Simulator =====

impl Simulator {
    /// Starts a provider on a port that the system chooses.
    pub(crate) async fn start(limits: Limits) -> io::Result<Self> {
        Self::start_on(0, limits).await
    }

    /// Starts a provider on `port`.
    pub(crate) async fn start_on(port: u16, limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (mut simulator, app) = Self::new(limits);
        simulator.address = Some(listener.local_addr()?);
        let app = app.into_make_service_with_connect_info::<Line>();
        let stopped = simulator.state.clone();
        // Idle connections are closed and responses that have begun are ended, even if nothing
        // awaits the task.
        tokio::spawn(async move {
            axum::serve(Lines(listener), app)
                .with_graceful_shutdown(async move { stopped.gone().await })
                .await
        });
        Ok(simulator)
    }

    /// A provider without a network, and the service that responds to its requests. Nothing but the
    /// clock of the runtime tells it the time.
    pub(crate) fn in_memory(limits: Limits) -> (Self, Router) {
        let (simulator, app) = Self::new(limits);
        (simulator, app.layer(MockConnectInfo(Line::default())))
    }

    /// A client of a provider in memory.
    pub(crate) fn client(
        app: Router,
    ) -> impl Service<Request, Response = Response, Error = BoxError, Future: Send> + Clone + Send
    {
        service_fn(move |request: Request| {
            let app = app.clone();
            async move {
                let request = http::Request::<reqwest::Body>::try_from(request)?;
                let Ok(response) = app.oneshot(request.map(Body::new)).await;
                let body = |body: Body| reqwest::Body::wrap_stream(body.into_data_stream());
                Ok(response.map(body).into())
            }
        })
    }

    fn new(limits: Limits) -> (Self, Router) {
        let (stop, open) = watch::channel(());
        let state = Arc::new(State {
            ledger: Mutex::new(Ledger::new(&limits)),
            limits,
            answers: Answers::default(),
            open,
        });
        let app = Router::new()
            .route("/v1/chat/completions", routing::post(answer::handle))
            .route("/v1/messages", routing::post(answer::handle))
            .route("/v1/embeddings", routing::post(answer::handle))
            .fallback(answer::handle)
            .layer(DefaultBodyLimit::max(MOST_BYTES))
            .with_state(state.clone());
        let simulator = Self {
            address: None,
            state,
            _stop: stop,
        };
        (simulator, app)
    }

    /// The base URL, as clients of OpenAI want it.
    pub(crate) fn url(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        let host = address.as_deref().unwrap_or("simulator");
        format!("http://{host}/v1")
    }

    /// What has been seen so far.
    pub(crate) fn counters(&self) -> Counters {
        self.state.ledger().counters()
    }

    /// What is left of the limits.
    pub(crate) fn standing(&self) -> Standing {
        self.state.ledger().standing(Instant::now())
    }

    /// How many prompts have a full response so far.
    pub(crate) fn answered(&self) -> Answered {
        self.state.answers.sum()
    }

    /// Sets all limits, except for requests in flight, to this many thousandths of their initial
    /// values, at once.
    ///
    /// What was taken stays taken, and a bucket that grows gains no units.
    pub(crate) fn scale(&self, per_mille: u64) {
        let mut ledger = self.state.ledger();
        ledger.scale(Instant::now(), per_mille);
    }
}

// ===== impl State =====

impl State {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the provider is dropped.
    async fn gone(&self) {
        let mut open = self.open.clone();
        // Nothing is ever sent: this is the end.
        while open.changed().await.is_ok() {}
    }

    /// Asks the ledger for a request that has just arrived. Also returns what is left of the limits.
    fn arrive(self: &Arc<Self>, ask: &Ask) -> (Standing, Result<InFlight, Rejection>) {
        let mut ledger = self.ledger();
        // Read under the lock, so that the log is in order.
        let now = Instant::now();
        let result = ledger.arrive(now, ask.reserved);
        let standing = ledger.report(now);
        let number = ledger.counters().accepted;
        let result = result.map(|admission| {
            let chaos = self.limits.chaos;
            let mishap = chaos.and_then(|chaos| chaos.draw(number, ask.stream));
            if let Some(mishap) = mishap {
                ledger.count(mishap);
            }
            InFlight {
                state: self.clone(),
                admission,
                prompt: ask.prompt,
                total: self.limits.usage.draw(number, ask.reserved),
                latency: self.limits.latency_of(number),
                written: 0,
                mishap,
            }
        });
        (standing, result)
    }
}
