//! Several targets at once: their quotas, who is chosen, what is sent, and what is given back.

mod choosing;
mod clients;
mod handing_over;
mod left_alone;
mod quotas;
mod waiting;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower_throttle::{
    Tokens,
    provider::{Accounting, Provider, ProviderLimiter},
    router::{RouterLayer, Target},
};

type Body = Full<&'static [u8]>;
type Req = Request<String>;

/// What a provider allows in any minute, wherever it begins, and what it has seen.
#[derive(Debug)]
struct Ledger {
    rpm: u64,
    tpm: u64,
    /// Predicate, and how many tokens.
    log: VecDeque<(Instant, u64)>,
    let_in: u64,
    /// Of those that were let in.
    tokens: u64,
    refused: u64,
}

/// A provider that counts exactly, and refuses whatever is over its limits.
#[derive(Debug, Clone)]
struct Server {
    name: &'static str,
    ledger: Arc<Mutex<Ledger>>,
    latency: Duration,
    /// Lets requests in, and answers none.
    is_dead: bool,
}

impl Server {
    fn new(name: &'static str, rpm: u64, tpm: u64) -> Self {
        let ledger = Ledger {
            rpm,
            tpm,
            log: VecDeque::new(),
            let_in: 0,
            tokens: 0,
            refused: 0,
        };
        Self {
            name,
            ledger: Arc::new(Mutex::new(ledger)),
            latency: Duration::from_millis(300),
            is_dead: false,
        }
    }

    /// Its limits as they are, to be kept.
    fn limiter(&self) -> ProviderLimiter {
        let ledger = self.ledger.lock().unwrap();
        let provider = Provider::new(self.name).rpm(ledger.rpm).tpm(ledger.tpm);
        ProviderLimiter::new(provider.counting(Accounting::OPENAI))
    }

    fn let_in(&self) -> u64 {
        self.ledger.lock().unwrap().let_in
    }

    fn refused(&self) -> u64 {
        self.ledger.lock().unwrap().refused
    }

    /// One request of so many tokens.
    async fn answer(&self, tokens: u64) -> Result<Response<Body>, Infallible> {
        let is_let_in = self.ledger.lock().unwrap().count(tokens);
        sleep(self.latency).await;
        let mut response = Response::new(Full::new(&b"{}"[..]));
        if !is_let_in {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        } else if self.is_dead {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }
}

impl Ledger {
    fn count(&mut self, tokens: u64) -> bool {
        let now = Instant::now();
        let is_old = |at: &Instant| now.duration_since(*at) >= Duration::from_secs(60);
        while self.log.front().is_some_and(|(at, _)| is_old(at)) {
            self.log.pop_front();
        }
        let used: u64 = self.log.iter().map(|(_, tokens)| tokens).sum();
        if self.log.len() as u64 >= self.rpm || used + tokens > self.tpm {
            self.refused += 1;
            return false;
        }
        self.log.push_back((now, tokens));
        self.let_in += 1;
        self.tokens += tokens;
        true
    }
}

fn post(body: &str) -> Req {
    Request::post("/v1").body(body.to_owned()).unwrap()
}

fn rpm(requests: u64) -> ProviderLimiter {
    ProviderLimiter::new(Provider::new("test").rpm(requests))
}

fn at_a_time(requests: u64) -> ProviderLimiter {
    ProviderLimiter::new(Provider::new("test").concurrent(requests))
}

/// A limiter that never makes anybody wait.
fn plenty() -> ProviderLimiter {
    rpm(1_000_000)
}

/// A request of so many tokens.
fn ask(tokens: u64) -> Req {
    Request::post("/v1/chat/completions")
        .header("tokens", tokens)
        .body(r#"{"model":"auto"}"#.into())
        .unwrap()
}

fn tokens(request: &Req) -> u64 {
    request.headers()["tokens"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn estimate(request: &Req) -> Tokens {
    Tokens::new(tokens(request), 0)
}

/// A target for each server, with its limits.
fn targets(layer: RouterLayer<Req>, servers: &[Server]) -> RouterLayer<Req, fn(&Req) -> Tokens> {
    let add = |layer: RouterLayer<Req>, server: &Server| {
        layer.target(Target::new(server.name, server.limiter()))
    };
    servers.iter().fold(layer, add).estimate(estimate)
}

/// The targets, each with its server.
macro_rules! over {
    ($layer:expr, $servers:expr) => {{
        let servers = $servers.clone();
        $layer.services(move |name: &str| {
            let server = servers
                .iter()
                .find(|server| server.name == name)
                .unwrap()
                .clone();
            tower::service_fn(move |request: $crate::router::Req| {
                let server = server.clone();
                async move { server.answer($crate::router::tokens(&request)).await }
            })
        })
    }};
}
use over;
