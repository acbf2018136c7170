//! Two gateways, of the example of that name, that share their limits. One of them crashes under
//! load, and is started again.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, routing::post};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    fleet::{Fleet, Log, fullest, laps, units},
    server::{Server, free_port},
};

/// Of the provider, by all callers.
const LIMIT: u64 = 100;
const PERIOD: Duration = Duration::from_secs(2);
/// What a request may take from the gateway to the provider on a busy machine, beyond the margin
/// that a provider's period has anyway.
const LATE: Duration = Duration::from_millis(100);
/// Of one caller, in the minute in which all this happens.
const OF_BOB: u64 = 30;
/// Requests that each caller has under way at each gateway.
const WORKERS: usize = 16;

/// How long a gateway runs until it crashes, and how long it is away.
const CRASHES: [(Duration, Duration); 3] = [
    (Duration::from_millis(4_000), Duration::from_millis(100)),
    (Duration::from_millis(4_700), Duration::from_millis(1_000)),
    (Duration::from_millis(5_300), Duration::from_millis(2_500)),
];
/// Within this, a gateway that has started has served a request.
const BACK: Duration = Duration::from_secs(5);

/// The requests of each caller that reached the provider.
#[derive(Clone)]
struct Arrivals {
    all: Log,
    of_bob: Log,
}

/// A gateway, which is killed as it is dropped.
struct Gateway {
    process: Child,
    port: u16,
    config: PathBuf,
    /// The requests that it has served.
    served: Arc<AtomicU64>,
}

// ===== impl Gateway =====

impl Gateway {
    fn start(config: &Path) -> Self {
        let port = free_port();
        Self {
            process: start(config, port),
            port,
            config: config.to_owned(),
            served: Arc::default(),
        }
    }

    /// Kills it as `kill -9` does.
    fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = start(&self.config, self.port);
    }

    /// Sends requests of a caller, one after the other, whatever comes of them.
    fn load(&self, fleet: &Fleet, client: &Client, caller: &'static str, workers: usize) {
        let url = format!("http://127.0.0.1:{}/v1/chat/completions", self.port);
        for _ in 0..workers {
            let (client, url, served) = (client.clone(), url.clone(), self.served.clone());
            fleet.runtime.spawn(async move {
                let messages = json!([{ "role": "user", "content": caller }]);
                let body = json!({ "model": "auto", "messages": messages });
                loop {
                    let request = client.post(&url).bearer_auth(caller).json(&body);
                    match request.send().await.map(|response| response.status()) {
                        Ok(status) if status == 200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                        _ => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            });
        }
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program, which cargo has put beside this one.
fn start(config: &Path, port: u16) -> Child {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/gateway");
    let mut child = Command::new(&program)
        .args(["--port", &port.to_string(), "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}: cargo build --example gateway"));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, first) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let _ = sender.send((read, line, stdout.into_inner()));
    });
    let (read, line, stdout) = first.recv_timeout(Duration::from_secs(30)).unwrap();
    read.unwrap();
    assert!(line.starts_with("listening on"), "{line:?}");
    // It prints more, which fails if nobody can read it.
    child.stdout = Some(stdout);
    child
}

async fn respond(State(arrivals): State<Arrivals>, Json(request): Json<Value>) -> Json<Value> {
    arrivals.all.add(1);
    if request["messages"][0]["content"] == "bob" {
        arrivals.of_bob.add(1);
    }
    let message = json!({ "role": "assistant", "content": "hello" });
    let usage = json!({ "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3 });
    Json(json!({ "choices": [{ "index": 0, "message": message }], "usage": usage }))
}

/// Starts the provider, which counts what arrives, and returns its URL.
fn provider(fleet: &Fleet, arrivals: &Arrivals) -> String {
    let app = Router::new()
        .route("/v1/chat/completions", post(respond))
        .with_state(arrivals.clone());
    let listen = TcpListener::bind("127.0.0.1:0");
    let listener = fleet.runtime.block_on(listen).unwrap();
    let address = listener.local_addr().unwrap();
    fleet
        .runtime
        .spawn(async { axum::serve(listener, app).await });
    format!("http://{address}/v1")
}

#[test]
fn limits_hold_if_a_gateway_crashes_under_load() {
    let (server, fleet) = (Server::start(), Fleet::new());
    let arrivals = Arrivals {
        all: fleet.log(),
        of_bob: fleet.log(),
    };
    let config = format!(
        "redis = \"{}\"\n[[provider]]\nname = \"one\"\nbase_url = \"{}\"\nrpm = {LIMIT}\n\
         window = {}\nlearn = false\n[[caller]]\nname = \"ann\"\nkey = \"ann\"\n\
         [[caller]]\nname = \"bob\"\nkey = \"bob\"\nrpm = {OF_BOB}\n",
        server.url(),
        provider(&fleet, &arrivals),
        PERIOD.as_secs(),
    );
    let name = format!("throttle-gateway-{}.toml", std::process::id());
    let path = env::temp_dir().join(name);
    fs::write(&path, config).unwrap();

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = Client::builder().no_proxy().build().unwrap();
    let mut gateways = [Gateway::start(&path), Gateway::start(&path)];
    for gateway in &gateways {
        gateway.load(&fleet, &client, "ann", WORKERS);
        gateway.load(&fleet, &client, "bob", 1);
    }
    let begun = Instant::now();
    for (runs, is_away) in CRASHES {
        thread::sleep(runs);
        let before = gateways[0].served();
        gateways[1].crash();
        thread::sleep(is_away);
        gateways[1].start_again();
        let (start, served) = (Instant::now(), gateways[1].served());
        while gateways[1].served() == served {
            assert!(start.elapsed() < BACK, "the gateway does not serve again");
            thread::sleep(Duration::from_millis(5));
        }
        let meanwhile = gateways[0].served() - before;
        println!("served again after {:?}", start.elapsed());
        println!("the other one has served {meanwhile} meanwhile");
    }
    thread::sleep(CRASHES[0].0);
    let time = begun.elapsed();
    let (all, of_bob) = (arrivals.all.starts(), arrivals.of_bob.starts());
    fs::remove_file(&path).unwrap();

    let limit = usize::try_from(LIMIT).unwrap();
    let (least, mean) = laps(&all, limit, PERIOD);
    let most = fullest(&all, PERIOD - LATE);
    println!(
        "{} requests in {time:?}, least lap {least:.4}, mean lap {mean:.4}; {} of bob",
        units(&all),
        units(&of_bob)
    );
    assert!(most <= LIMIT, "{most} of {LIMIT}, least lap {least}");
    assert!(mean <= 1.25, "{mean}");
    assert!(time < Duration::from_secs(60));
    // A gateway that crashes takes with it what it had not spent.
    assert!((OF_BOB / 2..=OF_BOB).contains(&units(&of_bob)));
    for gateway in gateways {
        assert!(gateway.served() > LIMIT, "{}", gateway.served());
    }
}
