//! A provider on loopback that speaks OpenAI's chat completions and Anthropic's messages, and keeps its limits to the
//! letter.
//!
//! It counts a request when the whole of it has arrived. It accepts no more than its limits say, and every request
//! that fits: a client that sees a 429 here was too fast. What counts, and what is told of it, is a matter of
//! [`Style`].
//!
//! `limits.rs` and `style.rs` say what the provider is told to be; `allowance/` keeps one limit, and `ledger/` all of
//! them; `headers/` and `answer/` are what clients see; `in_flight.rs` is who waits for the rest of an answer, and
//! `tokens.rs` says how long that is.
#![allow(
    dead_code,
    reason = "each of the example and the tests uses what it needs"
)]

mod allowance;
mod answer;
mod headers;
mod in_flight;
mod ledger;
mod limits;
mod style;
mod tokens;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, routing};
use tokio::{net::TcpListener, sync::oneshot, time::Instant};

use self::in_flight::InFlight;
#[allow(unused_imports, reason = "the same")]
pub(crate) use self::{
    ledger::{Admission, Counters, Dimension, Ledger, Refusal, Standing},
    limits::{Kind, Limits, Outage},
    style::{Counting, RateHeaders, Style},
    tokens::{Tokens, UsageShare},
};

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

/// What becomes of a request that has just arrived.
#[derive(Debug)]
struct Arrival {
    /// What is left of the limits now.
    standing: Standing,
    /// The request, and what it will have used at the end of its answer.
    result: Result<(InFlight, Tokens), Refusal>,
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
            .route("/v1/chat/completions", routing::post(answer::chat))
            .route("/v1/messages", routing::post(answer::messages))
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

    /// Makes all limits but that of requests in flight so many thousandths of what they were at the start, at once.
    ///
    /// What was taken stays taken, and a bucket that grows is not fuller for it.
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

    /// Asks the ledger for a request that has just arrived, and may use so many tokens.
    fn arrive(self: &Arc<Self>, reserved: Tokens) -> Arrival {
        let mut ledger = self.ledger();
        // Read under the lock, so that the log is in order.
        let now = Instant::now();
        let result = ledger.arrive(now, reserved);
        let standing = ledger.standing(now);
        let number = ledger.counters().accepted;
        let result = result.map(|admission| {
            let real = self.limits.usage.draw(number, reserved);
            (InFlight::new(self.clone(), admission, real.input), real)
        });
        Arrival { standing, result }
    }
}
