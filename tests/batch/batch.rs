//! The batch example, run as its users run it: as a process, against a simulated provider in this one.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
};
use futures::StreamExt;
use serde_json::Value;

use crate::{
    simulator::provider::{Answered, Chaos, Limits, Mishap, Outage, Simulator, Style},
    support::ms,
};

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-throttle-batch-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The example, without what the environment might tell it.
pub(crate) fn batch() -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().unwrap().parent().unwrap();
    let name = format!("batch{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --example batch` in the same profile",
        path.display()
    );
    let mut command = Command::new(path);
    for name in ["OPENAI_API_KEY", "FALLBACK_API_KEY"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn against(simulator: &Simulator) -> Command {
    let mut command = batch();
    command.args(["--base-url", &simulator.url(), "--json"]);
    command
}

/// Runs it beside the simulator, which needs this thread.
pub(crate) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// The last line of stdout, which must be the only one.
pub(crate) fn report(output: &Output) -> Value {
    let stdout = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(stdout).unwrap()
}

/// How often each request is answered in a file.
fn answers(path: &Path) -> HashMap<String, usize> {
    let mut answers = HashMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["response"]["status_code"], 200);
        assert!(line["response"]["body"]["choices"].is_array());
        assert!(line["response"]["request_id"].is_string() && line["id"].is_string());
        assert!(line["error"].is_null());
        let id = line["custom_id"].as_str().unwrap().to_owned();
        *answers.entry(id).or_insert(0) += 1;
    }
    answers
}

pub(crate) fn assert_each_answered_once(path: &Path, count: usize) {
    let answers = answers(path);
    for n in 1..=count {
        assert_eq!(
            answers.get(&format!("request-{n}")),
            Some(&1),
            "request-{n}"
        );
    }
    assert_eq!(answers.len(), count);
}

/// Waits until a file has so many lines.
async fn lines(path: &Path, count: usize) {
    while fs::read_to_string(path).is_ok_and(|text| text.lines().count() < count) || !path.exists()
    {
        tokio::time::sleep(ms(5)).await;
    }
}

pub(crate) async fn simulator(limits: Limits) -> Simulator {
    Simulator::start(limits).await.unwrap()
}

// ===== limits =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_answered_and_none_is_lost_to_a_limit() {
    let simulator = simulator(Limits {
        requests: Some(20),
        concurrent: Some(8),
        window: ms(1_000),
        latency: ms(20),
        ..Limits::default()
    })
    .await;
    let mut command = against(&simulator);
    command.args(["--requests", "50", "--workers", "16", "--rpm", "20"]);
    command.args(["--concurrent", "8", "--window", "1"]);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["requests"], 50);
    assert_eq!(report["succeeded"], 50);
    assert_eq!(report["failed"], 0);
    assert!(report["ideal_s"].as_f64().unwrap() >= 2.0);
    assert!(report["elapsed_s"].as_f64() >= report["ideal_s"].as_f64());
    assert!(report["p99_ms"].as_f64() >= report["p50_ms"].as_f64());
    assert!(report["tokens"].as_u64().unwrap() > 50);
    let counters = simulator.counters();
    assert_eq!(report["attempts"], counters.accepted + counters.refused);
    assert_eq!(report["http_429"], counters.refused);
    assert!(counters.max_in_flight <= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_alone_lose_none() {
    let simulator = simulator(Limits {
        requests: Some(20),
        window: ms(500),
        ..Limits::default()
    })
    .await;
    let mut command = against(&simulator);
    command.args(["--requests", "60"]);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["succeeded"], 60);
    assert!(report["http_429"].as_u64().unwrap() > 0);
    assert_eq!(simulator.counters().accepted, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_that_is_down_fails_to_answer_the_fallback_does() {
    let down = simulator(Limits {
        outage: Some(Outage {
            from: Duration::ZERO,
            lasts: Duration::from_secs(3_600),
        }),
        key: Some("first".into()),
        ..Limits::default()
    })
    .await;
    let up = simulator(Limits {
        key: Some("second".into()),
        ..Limits::default()
    })
    .await;
    let mut command = against(&down);
    command.args(["--requests", "20", "--api-key", "first"]);
    command.args(["--fallback-url", &up.url(), "--fallback-api-key", "second"]);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["succeeded"], 20);
    assert_eq!(report["fallbacks"], 20);
    assert_eq!(up.counters().accepted, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_fallbacks_each_answers_what_those_before_it_fail_to() {
    let of = |key: &str, outage| Limits {
        outage,
        key: Some(key.into()),
        ..Limits::default()
    };
    let down = Outage {
        from: Duration::ZERO,
        lasts: Duration::from_secs(3_600),
    };
    let first = simulator(of("first", Some(down))).await;
    let second = simulator(of("second", Some(down))).await;
    let third = simulator(of("", None)).await;
    let fourth = simulator(of("fourth", None)).await;
    let mut command = against(&first);
    command.args(["--requests", "20", "--api-key", "first"]);
    for (provider, key, model) in [
        (&second, "second", "m2"),
        (&third, "", ""),
        (&fourth, "fourth", "m4"),
    ] {
        command.args(["--fallback-url", &provider.url(), "--fallback-api-key", key]);
        command.args(["--fallback-model", model]);
    }
    let refused = output(command).await;

    // The third wants a key, and is given none: it answers that, which is no reason to ask the fourth.
    assert_eq!(refused.status.code(), Some(1));
    assert!(first.counters().unavailable > 0 && second.counters().unavailable > 0);
    assert_eq!(third.counters().accepted + fourth.counters().accepted, 0);

    let third = simulator(Limits::default()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = against(&first);
    command
        .args(["--requests", "20", "--api-key", "first", "--out"])
        .arg(&out);
    for (provider, key, model) in [(&second, "second", "m2"), (&third, "", "m3")] {
        command.args(["--fallback-url", &provider.url(), "--fallback-api-key", key]);
        command.args(["--fallback-model", model]);
    }
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report(&output)["fallbacks"], 20);
    assert_eq!(third.counters().accepted, 20);
    assert_eq!(
        fs::read_to_string(&out)
            .unwrap()
            .matches(r#""model":"m3""#)
            .count(),
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_kept_within_their_limit() {
    let simulator = simulator(Limits {
        tokens: Some(300),
        window: ms(1_000),
        ..Limits::default()
    })
    .await;
    let mut command = against(&simulator);
    command.args(["--requests", "25", "--tpm", "300", "--window", "1"]);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["succeeded"], 25);
    assert!(report["ideal_s"].as_f64().unwrap() >= 2.0);
    assert!(report["elapsed_s"].as_f64() >= report["ideal_s"].as_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_out_where_nobody_else_can_answer() {
    let simulator = simulator(Limits {
        outage: Some(Outage {
            from: Duration::ZERO,
            lasts: ms(1_500),
        }),
        ..Limits::default()
    })
    .await;
    let mut command = against(&simulator);
    command.args(["--requests", "30"]);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report(&output)["succeeded"], 30);
    assert!(simulator.counters().unavailable > 0);
}

// ===== providers =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_of_the_table_can_be_kept_and_simulated() {
    let runs = [
        ("openai-tier-1", "bucket"),
        ("openai-tier-4", "bucket"),
        ("anthropic-build", "bucket"),
        ("deepseek", "window"),
        ("aipower", "window"),
    ];
    let runs = runs.map(|(name, kind)| async move {
        let mut command = batch();
        command.args(["--json", "--provider", name, "--rpm", "10", "--window", "1"]);
        command.args([
            "--requests",
            "25",
            "--max-tokens",
            "100",
            "--latency-ms",
            "20",
        ]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0), "{name}");
        let report = report(&output);
        assert_eq!(report["provider"], name);
        assert_eq!(report["kind"], kind, "{name}");
        assert_eq!(report["succeeded"], 25, "{name}");
        // Of 25 windows have one too many for two, and buckets refill with 15.
        let least = if kind == "window" { 2.0 } else { 1.5 };
        assert!(report["ideal_s"].as_f64().unwrap() >= least, "{report}");
        assert!(
            report["elapsed_s"].as_f64() >= report["ideal_s"].as_f64(),
            "{report}"
        );
        // Each prompt has 14 tokens, and its answer is allowed 100. Some use less.
        assert_eq!(report["reserved_tokens"], 25 * 114);
        let tokens = report["tokens"].as_u64().unwrap();
        assert!(
            (25 * 114 * 3 / 10 - 50..25 * 114).contains(&tokens),
            "{report}"
        );
    });
    futures::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shape_of_the_limits_can_be_chosen_for_both_sides() {
    for (provider, kind, ideal) in [
        ("deepseek", "bucket", 0.5),
        ("anthropic-build", "window", 1.0),
    ] {
        let mut command = batch();
        command.args(["--json", "--provider", provider, "--kind", kind]);
        command.args(["--rpm", "20", "--window", "1", "--requests", "30"]);
        command.args(["--latency-ms", "20"]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0));
        let report = report(&output);
        assert_eq!(report["kind"], kind);
        assert_eq!(report["succeeded"], 30);
        let (elapsed, told) = (report["elapsed_s"].as_f64(), report["ideal_s"].as_f64());
        assert!(told.unwrap() >= ideal && elapsed >= told, "{report}");
    }
}

#[test]
fn the_matrix_has_a_line_for_each_number_of_workers() {
    let settings = "aipower,refill=sliding,others=10";
    let output = batch().args(["--matrix", settings]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines().filter(|line| line.contains(settings));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    for (line, workers) in lines.iter().zip(["| 1 × 64 |", "| 1 × 100 |"]) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert!(line.contains(workers), "{line}");
        // What failed, with the row and without.
        assert_eq!((cells[4], cells[7]), ("0", "0"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_gives_back_does_not_count_for_the_ideal() {
    // 14 and 86 tokens are reserved for each of 30, and half of that is used.
    for (provider, least) in [("openai-tier-1", 2.0), ("deepseek", 1.0)] {
        let mut command = batch();
        command.args([
            "--json",
            "--provider",
            provider,
            "--tpm",
            "1000",
            "--window",
            "1",
        ]);
        command.args([
            "--requests",
            "30",
            "--max-tokens",
            "86",
            "--latency-ms",
            "20",
        ]);
        command.args(["--real-usage", "50-50"]);
        let report = report(&output(command).await);
        assert_eq!(report["succeeded"], 30);
        assert_eq!(report["reserved_tokens"], 3_000);
        let ideal = report["ideal_s"].as_f64().unwrap();
        assert!((least..least + 0.9).contains(&ideal), "{report}");
        assert!(report["elapsed_s"].as_f64().unwrap() >= ideal, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_nothing_learns_the_limits_from_the_headers() {
    for style in [Style::OPENAI, Style::ANTHROPIC] {
        let simulator = simulator(Limits {
            requests: Some(40),
            tokens: Some(100_000),
            window: ms(1_000),
            latency: ms(5),
            style,
            ..Limits::default()
        })
        .await;
        let mut command = against(&simulator);
        command.args(["--learn", "--requests", "100", "--window", "1"]);
        let output = output(command).await;

        assert_eq!(output.status.code(), Some(0));
        assert_eq!(report(&output)["succeeded"], 100);
        let counters = simulator.counters();
        assert_eq!(counters.accepted, 100);
        // Whoever learns nothing is refused in every window.
        assert!(counters.refused < 10, "{counters:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("/40, tokens "), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_no_limits_of_the_simulated_provider_has_none() {
    for (learns, is_refused) in [(true, false), (false, true)] {
        let mut command = batch();
        command.args(["--json", "--simulate", "openai-tier-1", "--window", "1"]);
        // Each reserves 20,000 of 200,000 tokens.
        command.args([
            "--requests",
            "20",
            "--max-tokens",
            "19985",
            "--latency-ms",
            "50",
        ]);
        command.args(learns.then_some("--learn"));
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0));
        let report = report(&output);
        assert_eq!(report["succeeded"], 20);
        assert_eq!(report["provider"], "openai-tier-1");
        assert!(report["ideal_s"].as_f64().unwrap() >= 1.0);
        assert_eq!(
            report["http_429"].as_u64() > Some(0),
            is_refused,
            "{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_that_repeat_are_asked_once_with_a_cache() {
    for (args, answers, most) in [
        (&[][..], 25, 3),
        (&["--cache"], 10, 1),
        (&["--cache", "--stream"], 10, 1),
    ] {
        let simulator = simulator(Limits {
            latency: ms(30),
            ..Limits::default()
        })
        .await;
        let folder = Folder::new();
        let out = folder.path("out.jsonl");
        let mut command = against(&simulator);
        command
            .args(args)
            .args(["--requests", "25", "--distinct", "10"]);
        // Some ask while the first is being answered.
        command.args(["--workers", "16", "--out"]).arg(&out);
        let report = report(&output(command).await);
        assert_eq!(report["succeeded"], 25);
        assert_eq!(report["hits"], 25 - answers);
        assert_eq!(report["attempts"], answers);
        // 15 or 16 of each prompt, and 12 of its answer.
        let used = simulator.counters().used_tokens;
        assert_eq!(report["tokens"], used);
        assert!((26 * answers..=28 * answers).contains(&used), "{used}");
        let answered = Answered {
            prompts: 10,
            answers,
            most,
        };
        assert_eq!(simulator.answered(), answered);
        assert_each_answered_once(&out, 25);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_of_json_has_all_its_fields() {
    let mut command = batch();
    command.args([
        "--json",
        "--requests",
        "2",
        "--latency-ms",
        "1",
        "--input",
        "1000",
    ]);
    let report = report(&output(command).await);
    let fields: Vec<_> = report.as_object().unwrap().keys().collect();
    let expected = "attempts elapsed_s failed fallbacks hits http_429 ideal_s kind p50_ms p99_ms provider requests \
                    reserved_tokens retries succeeded tokens";
    assert_eq!(fields, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(report["provider"], "yours");
    assert_eq!(report["reserved_tokens"], 2 * 1_016);
    assert_eq!(report["tokens"], 2 * 1_012);
}

// ===== streams =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_answer_is_the_one_that_comes_whole() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let message = r#"{"url":"/v1/messages","body":{"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}}"#;
    let prompts = folder.write("prompts.jsonl", &format!("say something\n{message}\n"));
    let answers = [&[][..], &["--stream"]].map(async |args| {
        let out = folder.path(&format!("out{}", args.len()));
        let mut command = against(&simulator);
        command
            .args(args)
            .arg("--prompts")
            .arg(&prompts)
            .arg("--out")
            .arg(&out);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0));
        // OpenAI's only: Anthropic gives no sum.
        assert_eq!(report(&output)["tokens"], 4 + 12);
        let text = fs::read_to_string(out).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let bodies = lines.map(|mut line| {
            (
                line["custom_id"].to_string(),
                line["response"]["body"].take(),
            )
        });
        bodies.collect::<HashMap<_, _>>()
    });
    let [whole, streamed] = answers;
    assert_eq!(whole.await, streamed.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_is_asked_for_again_and_is_no_answer_if_all_do() {
    for (per_mille, code, failed) in [(100, 0, 0), (1_000, 1, 40)] {
        let simulator = simulator(Limits {
            chaos: Some(Chaos::calm(1).with(Mishap::CutStream, per_mille)),
            ..Limits::default()
        })
        .await;
        let mut command = against(&simulator);
        command.args(["--stream", "--requests", "40", "--workers", "1"]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(code));
        let (report, counters) = (report(&output), simulator.counters());
        assert_eq!(report["failed"], failed);
        assert_eq!(report["attempts"], counters.accepted);
        assert_eq!(report["retries"], counters.accepted - 40);
        assert!(counters.met(Mishap::CutStream) > 0);
        let answered = Answered {
            prompts: 40 - failed,
            answers: 40 - failed as u64,
            most: u64::from(failed == 0),
        };
        assert_eq!(simulator.answered(), answered);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            stderr.contains("the answer broke off"),
            failed > 0,
            "{stderr}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_says_that_it_failed_is_no_answer() {
    let type_of = [(CONTENT_TYPE, "text/event-stream")];
    let error = r#"data: {"error":{"type":"invalid_request_error","message":"I can't"}}"#;
    let begun = r#"data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}"#;
    for (stream, attempts, says) in [
        (format!("{error}\n\n"), 1, "400 Bad Request I can't"),
        // It is too late to be told from one that had bad luck.
        (
            format!("{begun}\n\n{error}\n\n"),
            5,
            "502 Bad Gateway I can't",
        ),
    ] {
        let url = always((type_of.clone(), stream)).await;
        let mut command = batch();
        command.args(["--json", "--stream", "--requests", "1", "--base-url", &url]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(report(&output)["attempts"], attempts);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(says), "{stderr}");
    }
}

// ===== failures =====

/// On loopback, for as long as the test runs.
async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

/// Answers everything in the same way, on loopback.
async fn always(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> String {
    let app = axum::Router::new().fallback(move || {
        let answer = answer.clone();
        async move { answer }
    });
    serve(app).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_prompt_will_fare_better_no_more_are_sent() {
    let money =
        r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#;
    let key = r#"{"error":{"message":"Incorrect API key provided"}}"#;
    for (status, body, says, why) in [
        (
            429,
            money,
            "You exceeded your current quota",
            "the money is spent",
        ),
        (
            402,
            money,
            "You exceeded your current quota",
            "the money is spent",
        ),
        (401, key, "Incorrect API key", "does not know the API key"),
        (403, key, "Incorrect API key", "forbids this"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let url = always((status, body)).await;
        let mut command = batch();
        command.args(["--json", "--requests", "200", "--workers", "1"]);
        command.args(["--base-url", &url]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(1), "{status}");
        let report = report(&output);
        // Three in a row, none of them repeated.
        assert_eq!(report["failed"], 3, "{status}");
        assert_eq!(report["attempts"], 3, "{status}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.matches(says).count(), 3, "{stderr}");
        let stopped = stderr.lines().filter(|line| line.starts_with("stopped: "));
        let stopped: Vec<_> = stopped.collect();
        assert!(stopped.len() == 1 && stopped[0].contains(why), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_failures_stop_nothing() {
    let url = always((StatusCode::BAD_REQUEST, r#"{"error":{"message":"no"}}"#)).await;
    let mut command = batch();
    command.args(["--json", "--requests", "30", "--base-url", &url]);
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report(&output)["failed"], 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_by_chance_is_sent_again_and_is_the_same_in_every_run() {
    let mut attempts = Vec::new();
    for (seed, latency) in [("1", "1"), ("1", "5"), ("2", "1")] {
        let mut command = batch();
        command.args([
            "--json",
            "--requests",
            "150",
            "--chaos",
            "--chaos-seed",
            seed,
        ]);
        command.args(["--rpm", "100000", "--timeout", "1", "--latency-ms", latency]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0));
        let report = report(&output);
        assert_eq!(
            (&report["succeeded"], &report["http_429"]),
            (&150.into(), &0.into())
        );
        attempts.push(report["attempts"].as_u64().unwrap());
    }
    assert!(
        attempts[0] == attempts[1] && attempts[0] != attempts[2],
        "{attempts:?}"
    );
    assert!(
        attempts.iter().all(|n| (155..200).contains(n)),
        "{attempts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_an_answer_broke_off_is_told() {
    let simulator = simulator(Limits {
        chaos: Some(Chaos::calm(1).with(Mishap::StallAfterHead, 1_000)),
        ..Limits::default()
    })
    .await;
    let mut command = against(&simulator);
    command.args(["--requests", "1", "--timeout", "0.3"]);
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("the response body stalled for 300ms"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_fails() {
    let url = always(Bytes::from(vec![b' '; 65 << 20])).await;
    let mut command = batch();
    command.args(["--json", "--requests", "1", "--base-url", &url]);
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(
        (&report["failed"], &report["attempts"]),
        (&1.into(), &1.into())
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("request-1 failed: the answer is longer than 64 MiB"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_providers_one_is_enough() {
    const NOBODY: &str = "http://127.0.0.1:1/v1";
    let up = simulator(Limits::default()).await;
    for (first, second) in [(NOBODY, &*up.url()), (&*up.url(), NOBODY)] {
        let mut command = batch();
        command.args(["--json", "--requests", "5", "--base-url", first]);
        command.args(["--fallback-url", second]);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(report(&output)["succeeded"], 5);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let warning = format!("warning: cannot connect to {NOBODY}");
        assert_eq!(stderr.matches(&warning).count(), 1, "{stderr}");
    }
    let mut command = batch();
    command.args(["--base-url", NOBODY, "--fallback-url", NOBODY]);
    assert_refuses(
        &output(command).await,
        "neither provider answers: cannot connect to",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_where_nobody_reads_what_it_says() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = against(&simulator);
    command.args(["--requests", "5", "--out"]).arg(&out);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(ended.await.unwrap().code(), Some(0));
    assert_each_answered_once(&out, 5);
}

// ===== the file of answers =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_goes_on_where_it_ended() {
    let simulator = simulator(Limits {
        latency: ms(50),
        ..Limits::default()
    })
    .await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let command = || {
        let mut command = against(&simulator);
        command.args(["--requests", "60", "--workers", "4", "--out"]);
        command.arg(&out);
        command
    };
    let mut child = quiet(command());
    lines(&out, 10).await;
    // SIGKILL, where there is one.
    child.kill().unwrap();
    child.wait().unwrap();
    let before = answers(&out).len();
    assert!((10..60).contains(&before), "{before}");
    // What a kill in the middle of a write would leave.
    let mut file = fs::OpenOptions::new().append(true).open(&out).unwrap();
    file.write_all(br#"{"custom_id":"request-60","resp"#)
        .unwrap();

    let output = output(command()).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report(&output)["requests"], 60 - before);
    assert_each_answered_once(&out, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_has_one_writer() {
    let simulator = simulator(Limits {
        latency: Duration::from_secs(3_600),
        ..Limits::default()
    })
    .await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let command = || {
        let mut command = against(&simulator);
        command.args(["--requests", "3", "--out"]);
        command.arg(&out);
        command
    };
    let mut child = quiet(command());
    while simulator.counters().accepted == 0 {
        tokio::time::sleep(ms(5)).await;
    }
    assert_refuses(&output(command()).await, "another process writes to");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_is_reported_also_where_the_answers_find_no_place() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut inner = against(&simulator);
    inner.args(["--requests", "50", "--workers", "1", "--out"]);
    inner.arg(&out);
    // A file that can have a few answers only, and no signal where it would have more.
    let mut command = Command::new("sh");
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    command
        .args(["-c", limited])
        .arg(inner.get_program())
        .args(inner.get_args());
    for name in ["OPENAI_API_KEY", "FALLBACK_API_KEY"] {
        command.env_remove(name);
    }
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(2));
    let succeeded = report(&output)["succeeded"].as_u64().unwrap();
    assert!((1..50).contains(&succeeded), "{succeeded}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: cannot write to --out"), "{stderr}");
    assert_eq!(answers(&out).len() as u64, succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_for_good_is_reported_and_tried_again_the_next_time() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let good = r#"{"custom_id":"good","body":{"messages":[{"role":"user","content":"hi"}]}}"#;
    let bad = r#"{"custom_id":"bad","body":{"messages":[]}}"#;
    let prompts = folder.write("prompts.jsonl", &format!("{good}\n{bad}\n"));
    let out = folder.path("out.jsonl");
    for requests in [2, 1] {
        let mut command = against(&simulator);
        command
            .arg("--prompts")
            .arg(&prompts)
            .arg("--out")
            .arg(&out);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(1));
        let report = report(&output);
        assert_eq!(report["requests"], requests);
        assert_eq!(report["failed"], 1);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("bad failed: 400 Bad Request Missing required parameter: 'messages'"),
            "{stderr}"
        );
    }
    assert_eq!(answers(&out), HashMap::from([("good".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_line_that_lacks_only_its_end_is_kept() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let command = || {
        let mut command = against(&simulator);
        command.args(["--requests", "3", "--out"]).arg(&out);
        command
    };
    output(command()).await;
    let text = fs::read_to_string(&out).unwrap();
    fs::write(&out, text.trim_end()).unwrap();

    assert_eq!(report(&output(command()).await)["attempts"], 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), text);
}

// ===== prompts =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_of_every_form_can_stand_in_one_file() {
    let simulator = simulator(Limits::default()).await;
    let folder = Folder::new();
    let batch = r#"{"custom_id":"mine","method":"POST","url":"/v1/chat/completions","body":{"model":"x","messages":[{"role":"user","content":"hi"}]}}"#;
    let text = format!(
        "\u{feff}a plain one\r\n\r\n   \r\n{{\"prompt\":\"a short one\",\"max_tokens\":7}}\r\n{batch}"
    );
    let prompts = folder.write("prompts.txt", &text);
    let out = folder.path("out.jsonl");
    let mut command = against(&simulator);
    command
        .arg("--prompts")
        .arg(&prompts)
        .arg("--out")
        .arg(&out);
    let output = output(command).await;

    assert_eq!(output.status.code(), Some(0));
    let expected = ["request-1", "request-2", "mine"].map(|id| (id.to_owned(), 1));
    assert_eq!(answers(&out), HashMap::from(expected));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let folder = Folder::new();
    for (text, says) in [
        (
            "{\"custom_id\":\"a\",\"prompt\":\"x\"}\n\n{\"custom_id\":\"a\",\"prompt\":\"y\"}\n",
            "line 3: custom_id \"a\" is also on line 1: make it unique",
        ),
        (
            "fine\n{\"custom_id\":\"a\"",
            "line 2: a line that begins with {",
        ),
        ("{\"custom_id\":\"a\"}", "line 1: needs either"),
        ("{\"method\":\"GET\",\"body\":{}}", "line 1: method \"GET\""),
        ("{\"body\":[]}", "line 1: \"body\" must be an object"),
        ("{\"body\":{\"stream\":true}}", "take \"stream\" out"),
        ("\n\n", "has no prompts"),
    ] {
        let prompts = folder.write("prompts", text);
        let output = batch().arg("--prompts").arg(&prompts).output().unwrap();
        assert_refuses(&output, says);
    }
}

#[test]
fn a_device_is_not_taken_for_a_file_of_answers() {
    let output = batch()
        .args(["--out", "/dev/null", "--requests", "1"])
        .output()
        .unwrap();
    assert_refuses(&output, "--out /dev/null is not a regular file");
}

#[test]
fn a_file_of_another_kind_is_left_alone_whatever_it_ends_with() {
    let folder = Folder::new();
    for text in [
        "{\"name\":\"my-app\",\"version\":\"1.0.0\"}",
        "{\"prompt\":\"my only prompt\"}",
        "{\"name\":\"torn",
        "{\\rtf1 a letter",
    ] {
        let out = folder.write("other", text);
        let mut command = batch();
        command.args(["--requests", "1", "--out"]).arg(&out);
        assert_refuses(&command.output().unwrap(), "is it another kind of file?");
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
    }
}

// ===== flags =====

#[test]
fn what_is_wrong_with_a_flag_is_said_in_one_line() {
    let folder = Folder::new();
    let prompts = folder.write("prompts.txt", "not an answer\n");
    let prompts = prompts.to_str().unwrap();
    for (args, says) in [
        (&["--rpm", "0"][..], "give at least 1"),
        (&["--rpm", "-5"], "give a whole number"),
        (&["--window", "0"], "give a number of seconds"),
        (&["--window", "NaN"], "give a number of seconds"),
        (&["--workers", "many"], "give a whole number"),
        (&["--provider", "openai"], "use one of openai-tier-1, "),
        (&["--simulate", ""], "use one of openai-tier-1, "),
        (&["--simulate", "x=1"], "x: no such setting: use one of "),
        (&["--simulate", "refund=1"], "refund: give yes or no"),
        (&["--matrix", "openai"], "use one of openai-tier-1, "),
        (&["--kind", "circle"], "[possible values: window, bucket]"),
        (&["--learn", "--no-limits"], "cannot be used with"),
        (&["--real-usage", "50"], "give two shares in per cent"),
        (&["--input", "0"], "give a whole number from 1"),
        (&["--distinct", "0"], "give at least 1"),
        (&["--fallback-model", "m"], "not provided: --fallback-url"),
        (
            &[
                "--fallback-api-key",
                "a",
                "--fallback-api-key",
                "b",
                "--fallback-url",
                "http://x",
            ],
            "--fallback-api-key is given 2 times, and --fallback-url 1",
        ),
        (&["--chaos-seed", "2"], "not provided: --chaos"),
        (
            &["--chaos", "--base-url", "http://x"],
            "cannot be used with",
        ),
        (&["--max-tokens", "0"], "give at least 1"),
        (&["--no-such-flag"], "see --help"),
        (&["--base-url"], "see --help"),
        (&["--base-url", "localhost:1"], "give one like https://"),
        (
            &["--base-url", "https://api.openai.com/v1"],
            "OPENAI_API_KEY",
        ),
        (&["--base-url", "http://127.0.0.1:1"], "cannot connect to"),
        (&["--prompts", "/no/such/file"], "cannot read --prompts"),
        (&["--out", "/no/such/folder/out"], "cannot write --out"),
        (&["--out", prompts], "line 1 is not an answer"),
    ] {
        assert_refuses(&batch().args(args).output().unwrap(), says);
    }
    assert_eq!(fs::read_to_string(prompts).unwrap(), "not an answer\n");
}

#[tokio::test]
async fn the_longest_prompts_that_can_be_asked_for_are_answered() {
    let mut command = batch();
    command.args(["--requests", "2", "--input", "1000000", "--json"]);
    let output = output(command).await;
    let report = report(&output);
    assert_eq!(report["succeeded"], 2, "{report}");
    assert!(report["reserved_tokens"].as_u64() > Some(2_000_000));
}

#[test]
fn there_is_an_end_of_fallbacks() {
    for (count, says) in [
        (63, "none of the providers answers"),
        (300, "--fallback-url is given 300 times: 63 are enough"),
    ] {
        let mut command = batch();
        for url in ["--base-url"].iter().chain(&vec!["--fallback-url"; count]) {
            command.args([url, "http://127.0.0.1:1"]);
        }
        assert_refuses(&command.output().unwrap(), says);
    }
}

#[test]
fn an_address_with_a_password_is_refused_and_not_shown() {
    for flag in ["--base-url", "--fallback-url"] {
        for url in [
            "http://me:secret@127.0.0.1:1/v1",
            "http://secret@127.0.0.1:1",
            "ftp://me:secret@example.com",
            "http://me:secret@[/v1",
        ] {
            let output = batch().args([flag, url]).output().unwrap();
            assert_refuses(&output, "has a user name or a password in it");
            assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_told_in_a_line() {
    let shared = |url| {
        let mut command = batch();
        command.args(["--shared", url, "--shared-name", "job"]);
        command.output().unwrap()
    };
    for (url, fix) in [
        ("http://localhost", "use `redis://`"),
        ("localhost:6379", "use `redis://` before the host"),
        ("redis://:secret@127.0.0.1:1", "cannot use Redis at"),
    ] {
        let output = shared(url);
        assert_refuses(&output, "--shared: ");
        assert_refuses(&output, fix);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    }
    let output = batch().args(["--shared", "redis://x"]).output().unwrap();
    assert_refuses(&output, "--shared-name <NAME>");
}

pub(crate) fn assert_refuses(output: &Output, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
    assert!(output.stdout.is_empty());
}

pub(crate) fn quiet(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

// ===== signals =====

/// Sends a signal as a shell would; the standard library can only kill.
#[cfg(unix)]
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let status = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_waits_for_what_was_sent_and_reports() {
    let simulator = simulator(Limits {
        latency: ms(500),
        ..Limits::default()
    })
    .await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = against(&simulator);
    command.args(["--requests", "100", "--workers", "8", "--rpm", "4", "--out"]);
    command
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    while simulator.counters().accepted < 4 {
        tokio::time::sleep(ms(5)).await;
    }
    interrupt(&child);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = output.await.unwrap();

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["requests"], 100);
    assert_eq!(report["succeeded"], 4);
    assert_eq!(report["failed"], 0);
    // Whichever of the eight workers were the first four.
    let answers = answers(&out);
    assert!(answers.len() == 4 && answers.values().all(|times| *times == 1));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_waits_for_a_stream_that_has_not_said_anything_yet() {
    let has_begun = Arc::new(tokio::sync::Notify::new());
    let begins = has_begun.clone();
    let app = axum::Router::new().fallback(move || {
        begins.notify_one();
        let parts = [
            (ms(0), ": hello\n\n"),
            (
                ms(1_500),
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yes\"}}]}\n\ndata: [DONE]\n\n",
            ),
        ];
        let parts = futures::stream::iter(parts).then(async |(wait, text)| {
            tokio::time::sleep(wait).await;
            Ok::<_, std::io::Error>(text)
        });
        let body = axum::body::Body::from_stream(parts);
        async { ([("content-type", "text/event-stream")], body) }
    });
    let url = serve(app).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = batch();
    command.args(["--base-url", &url, "--json", "--stream"]);
    command.args(["--requests", "9", "--workers", "1", "--out"]);
    let command = command.arg(&out);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    has_begun.notified().await;
    // Its head has arrived by then.
    tokio::time::sleep(ms(500)).await;
    interrupt(&child);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report(&output)["succeeded"], 1);
    assert_eq!(answers(&out), HashMap::from([("request-1".to_owned(), 1)]));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ctrl_c_does_not_wait() {
    let simulator = simulator(Limits {
        latency: Duration::from_secs(3_600),
        ..Limits::default()
    })
    .await;
    let mut child = quiet(against(&simulator));
    while simulator.counters().accepted == 0 {
        tokio::time::sleep(ms(5)).await;
    }
    // Two that come too close together are one to the system, so this asks until it is heard.
    let code = loop {
        interrupt(&child);
        tokio::time::sleep(ms(20)).await;
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
    };
    assert_eq!(code, Some(130));
}
