//! A provider on loopback that speaks OpenAI's chat completions and keeps its limits to the letter.
//!
//! It counts a request when the whole of it has arrived. In no window of the limits' length, at whatever offset, does
//! it accept more than they say, and it accepts every request that fits: a client that sees a 429 here was too fast.

mod answer;
mod headers;
mod ledger;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, routing};
use tokio::{net::TcpListener, sync::oneshot, time::Instant};

pub(crate) use self::ledger::{Counters, Dimension, Ledger, Refusal, Standing};

/// What the provider allows, and how it behaves.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Requests in each window.
    pub(crate) requests: Option<u64>,
    /// Tokens in each window: those of the prompt and those that the answer may have.
    pub(crate) tokens: Option<u64>,
    /// Requests in flight, from their arrival to the end of their answers.
    pub(crate) concurrent: Option<usize>,
    /// The length of a window.
    pub(crate) window: Duration,
    /// How long an answer takes.
    pub(crate) latency: Duration,
    /// When the provider is down.
    pub(crate) outage: Option<Outage>,
    /// The key that every request must bear.
    pub(crate) key: Option<String>,
}

/// A time in which every request is answered with a 503 that doesn't say how long it will last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// Counted from the arrival of the first request.
    pub(crate) from: Duration,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

/// A provider that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    /// Dropped with the rest, which tells the server to stop.
    _stop: oneshot::Sender<()>,
}

/// What the handlers of one provider share.
#[derive(Debug)]
struct State {
    limits: Limits,
    ledger: Mutex<Ledger>,
}

// ===== impl Limits =====

impl Default for Limits {
    /// No limits at all, over a minute, and answers at once.
    fn default() -> Self {
        Self {
            requests: None,
            tokens: None,
            concurrent: None,
            window: Duration::from_secs(60),
            latency: Duration::ZERO,
            outage: None,
            key: None,
        }
    }
}

// ===== impl Outage =====

impl Outage {
    /// Whether the provider is down at this age.
    pub(crate) fn covers(&self, age: Duration) -> bool {
        age >= self.from && age - self.from < self.lasts
    }
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
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            ledger: Mutex::new(Ledger::new(&limits)),
            limits,
        });
        let app = Router::new()
            .route("/v1/chat/completions", routing::post(answer::complete))
            .fallback(answer::no_such_url)
            .with_state(state.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        // Idle connections are closed and answers that have begun are ended, also where nobody waits for it.
        tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(async { drop(stopped.await) })
                .await
        });
        Ok(Self {
            address,
            state,
            _stop: stop,
        })
    }

    /// The base URL, as clients of OpenAI want it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What has been seen so far.
    pub(crate) fn counters(&self) -> Counters {
        self.state.ledger().counters()
    }
}

// ===== impl State =====

impl State {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the ledger for a request that has just arrived.
    fn arrive(self: &Arc<Self>, tokens: u64) -> Result<(InFlight, Standing), (Refusal, Standing)> {
        let mut ledger = self.ledger();
        // Read under the lock, so that the log is in order.
        let now = Instant::now();
        let result = ledger.arrive(now, tokens);
        let standing = ledger.standing(now);
        match result {
            Ok(()) => Ok((InFlight(self.clone()), standing)),
            Err(refusal) => Err((refusal, standing)),
        }
    }
}

/// A request that counts as in flight until this is dropped.
#[derive(Debug)]
struct InFlight(Arc<State>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ledger().leave();
    }
}
