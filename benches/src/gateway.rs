//! The example `gateway` beside a proxy without limits: what it adds to a request, and whether its
//! memory stays flat.
//!
//! Three processes over loopback. This one sends the requests and is the provider; each of the
//! proxies has one thread. They take turns of a second, so that both meet the same machine.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::measure::IS_TRIAL;

pub(crate) const NAME: &str = "gateway";
/// The first argument of the process that is the other proxy; the second is the provider.
pub(crate) const BARE: &str = "bare-proxy";

const PATH: &str = "/v1/chat/completions";
/// Requests under way, and turns of each proxy.
const LOADS: [(usize, u32); 2] = if IS_TRIAL {
    [(1, 1), (16, 1)]
} else {
    [(1, 20), (16, 60)]
};
const TURN: Duration = Duration::from_millis(if IS_TRIAL { 100 } else { 1_000 });
/// Turns until connections are open and memory has been used.
const WARM_UP: u32 = if IS_TRIAL { 1 } else { 5 };

const REQUEST: &str = r#"{"model": "auto", "max_tokens": 100, "messages": [
    {"role": "user", "content": "Say hello to everybody in the room, one after the other."}]}"#;
const RESPONSE: &str = r#"{"object": "chat.completion", "choices": [{"index": 0, "finish_reason":
    "stop", "message": {"role": "assistant", "content": "Hello, hello, hello and hello."}}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22}}"#;

/// One of the two.
struct Proxy {
    name: &'static str,
    process: Child,
    url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    /// How long each request took.
    times: Vec<Duration>,
    errors: u64,
}

// ===== impl Proxy =====

impl Proxy {
    /// Starts a program that prints its address in its first line.
    fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut process = child.unwrap_or_else(|error| {
            panic!("{command:?}: {error}: cargo build --release --example gateway")
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let read = stdout.read_line(&mut line);
        // It prints more, which fails if nobody can read it.
        process.stdout = Some(stdout.into_inner());
        let address = line.trim().rsplit("http://").next().unwrap_or_default();
        let url = format!("http://{address}{PATH}").parse();
        Self {
            name,
            process,
            url: url.unwrap_or_else(|error| panic!("{line:?}: {error}, {read:?}")),
            client: Client::builder(TokioExecutor::new()).build_http(),
            times: Vec::new(),
            errors: 0,
        }
    }

    /// Sends requests for a turn, so many at a time.
    async fn turn(&mut self, tasks: usize) {
        let end = Instant::now() + TURN;
        let proxy = &*self;
        let task = async || {
            let (mut times, mut errors) = (Vec::new(), 0);
            while Instant::now() < end {
                let start = Instant::now();
                errors += u64::from(!proxy.request().await);
                times.push(start.elapsed());
            }
            (times, errors)
        };
        let all = join_all((0..tasks).map(|_| task())).await;
        for (times, errors) in all {
            self.times.extend(times);
            self.errors += errors;
        }
    }

    /// Sends a request, and returns whether the response is the provider's.
    async fn request(&self) -> bool {
        let request = Request::post(self.url.clone())
            .header("content-type", "application/json")
            .body(Full::from(REQUEST))
            .expect("a request");
        let Ok(response) = self.client.request(request).await else {
            return false;
        };
        let status = response.status();
        let body = response.into_body().collect().await;
        status == 200 && body.is_ok_and(|body| body.to_bytes() == RESPONSE)
    }

    /// Returns the time that a part of the requests is below, in microseconds.
    fn below(&mut self, part: f64) -> f64 {
        self.times.sort_unstable();
        let place = (self.times.len() as f64 * part) as usize;
        self.times[place.min(self.times.len() - 1)].as_secs_f64() * 1e6
    }

    fn of_proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns the memory in use, in MB.
    fn memory(&self) -> f64 {
        let status = self.of_proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kilobytes.expect("a size") / 1_024.0
    }

    /// Returns the time on a processor so far, which Linux counts in hundredths of a second.
    fn cpu(&self) -> f64 {
        let stat = self.of_proc("stat");
        // The name, which may have spaces, is in parentheses.
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let ticks = rest.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum::<f64>()
            / 100.0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn run(runtime: &Runtime) {
    println!("{NAME}: beside a proxy without limits");
    println!(
        "{:<36} {:>12} {:>9} {:>9}",
        "", "requests/s", "p50, µs", "p99, µs"
    );
    runtime.block_on(async {
        let provider = serve(Router::new().route(PATH, post(async || RESPONSE))).await;
        let config = config(&provider);
        let mut proxies = [
            Proxy::start("bare proxy", Command::new(this()).args([BARE, &provider])),
            Proxy::start(
                "gateway",
                Command::new(program())
                    .args(["--port", "0", "--config"])
                    .arg(&config)
                    .env("TOKIO_WORKER_THREADS", "1"),
            ),
        ];
        for (tasks, turns) in LOADS {
            compare(&mut proxies, tasks, turns).await;
        }
        let _ = fs::remove_file(config);
    });
}

/// Lets each send requests in turn, and prints what they took.
async fn compare(proxies: &mut [Proxy; 2], tasks: usize, turns: u32) {
    for _ in 0..WARM_UP {
        for proxy in &mut *proxies {
            proxy.turn(tasks).await;
            proxy.times.clear();
        }
    }
    let gateway = &proxies[1];
    let (memory, cpu) = (gateway.memory(), gateway.cpu());
    for _ in 0..turns {
        for proxy in &mut *proxies {
            proxy.turn(tasks).await;
        }
    }
    let time = TURN.as_secs_f64() * f64::from(turns);
    let rows = proxies.each_mut().map(|proxy| {
        let rate = proxy.times.len() as f64 / time;
        let (p50, p99) = (proxy.below(0.5), proxy.below(0.99));
        let name = format!("{}, {tasks} at a time", proxy.name);
        println!("  {name:<34} {rate:>12.0} {p50:>9.0} {p99:>9.0}");
        (p50, p99)
    });
    let (p50, p99) = (rows[1].0 - rows[0].0, rows[1].1 - rows[0].1);
    println!(
        "  {:<34} {:>12} {p50:>9.0} {p99:>9.0}",
        "added by the gateway", ""
    );
    let gateway = &mut proxies[1];
    println!(
        "  gateway, {time:.0} s: {} requests, {} errors, {:.0} % of a core, {memory:.1} MB at the \
         beginning, {:.1} MB at the end",
        gateway.times.len(),
        gateway.errors,
        (gateway.cpu() - cpu) / time * 100.0,
        gateway.memory()
    );
    for proxy in proxies {
        proxy.times.clear();
    }
}

/// Serves on a free port, and returns the address.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// Passes each request on to a provider, and its response back.
pub(crate) fn bare_proxy(runtime: &Runtime, provider: &str) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let url: Uri = format!("http://{provider}{PATH}")
        .parse()
        .expect("an address");
    let pass_on = async move |mut request: Request<Body>| {
        *request.uri_mut() = url.clone();
        let response = client.request(request).await;
        response.map_err(|_| StatusCode::BAD_GATEWAY)
    };
    runtime.block_on(async {
        println!("http://{}", serve(Router::new().fallback(pass_on)).await);
        std::future::pending::<()>().await;
    });
}

/// Writes a file of a provider and a caller whose limits let all requests pass.
fn config(provider: &str) -> PathBuf {
    let text = format!(
        "[[provider]]\nname = \"one\"\nbase_url = \"http://{provider}/v1\"\n\
         rpm = 1_000_000_000\ntpm = 4_000_000_000\nconcurrent = 1_000\n"
    );
    let path = env::temp_dir().join(format!("throttle-bench-{}.toml", std::process::id()));
    fs::write(&path, text).expect("a file");
    path
}

fn this() -> PathBuf {
    env::current_exe().expect("a path")
}

/// Returns the example, which has to be built before.
fn program() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let profile = if IS_TRIAL { "debug" } else { "release" };
    target.join(profile).join("examples/gateway")
}
