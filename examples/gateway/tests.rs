//! What needs no other process, over loopback with the simulated providers.

use std::{net::Ipv4Addr, time::Duration};

use axum::http::StatusCode;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::{
    simulator::{Limits, Simulator, Style},
    tokens::TokenReader,
};

/// A gateway that runs until it is dropped.
struct Running {
    url: String,
    client: Client,
    gateway: Arc<Gateway>,
    server: JoinHandle<std::io::Result<()>>,
    simulators: Vec<Simulator>,
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const EMBEDDINGS: &str = "/v1/embeddings";

/// With these providers in the places of `$0`, `$1` and so on.
async fn running(file: &str, limits: impl IntoIterator<Item = Limits>) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut file, mut simulators) = (file.to_owned(), Vec::new());
    for (n, limits) in limits.into_iter().enumerate() {
        let simulator = Simulator::start(limits).await.unwrap();
        file = file.replace(&format!("${n}"), &simulator.url());
        simulators.push(simulator);
    }
    let settings = Settings::parse("file", &file).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (gateway, app) = routes::app(settings).unwrap();
    let stops = gateway.clone();
    let server =
        axum::serve(listener, app).with_graceful_shutdown(async move { stops.closed().await });
    Running {
        url,
        client: Client::builder().no_proxy().build().unwrap(),
        gateway,
        server: tokio::spawn(server.into_future()),
        simulators,
    }
}

fn provider(n: usize, more: &str) -> String {
    format!("[[provider]]\nname = \"p{n}\"\nbase_url = \"${n}\"\n{more}\n")
}

fn prompt(model: &str) -> Value {
    let messages = json!([{ "role": "user", "content": "hello" }]);
    json!({ "model": model, "messages": messages, "max_tokens": 6 })
}

async fn json(response: Response) -> Value {
    response.json().await.unwrap()
}

impl Running {
    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).json(body)
    }

    async fn send(&self, path: &str, body: &Value) -> Response {
        self.post(path, body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
    }
}

// ===== the file =====

#[test]
fn wrong_files_say_where_and_what_to_do() {
    let url = "base_url = \"http://127.0.0.1:1\"";
    let a = format!("[[provider]]\nname = \"a\"\n{url}\n");
    for (file, says) in [
        (String::new(), "has 0 providers: give 1 to 64"),
        (
            format!("fallback = [\n  \"b\"]\n{a}"),
            "file, line 2: no provider has the name \"b\"",
        ),
        (
            format!("{a}{a}"),
            "two providers of the name \"a\": change one",
        ),
        (format!("{a}rpm = 0\n"), "file, line 4: "),
        (
            format!("redis = \"http://:secret@a\"\n{a}"),
            "file, line 1: `http://` is not a URL of Redis: use `redis://`",
        ),
        (
            format!("colour = 1\n{a}"),
            "file, line 1: unknown field `colour`",
        ),
        (
            format!("{a}[[caller]]\nname = \"c\"\n"),
            "\"c\" needs a name and a key of its own: give key or key_env",
        ),
        (
            format!("{a}[[caller]]\nname = \"c\"\nkey_env = \"GATEWAY_NO_SUCH\"\n"),
            "file, line 6: the environment variable \"GATEWAY_NO_SUCH\" is not set: set it",
        ),
        (
            format!(
                "{a}[[caller]]\nname = \"c\"\nkey = \"k\"\n[[caller]]\nname = \"d\"\nkey = \"k\"\n"
            ),
            "\"d\" needs a name and a key of its own: give key or key_env",
        ),
    ] {
        let error = Settings::parse("file", &file).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_file_of_the_example_can_be_read() {
    let text = include_str!("config.toml");
    let names = |line: &str| line.split_once("_env = ").map(|(_, name)| name.to_owned());
    let unset = text
        .lines()
        .filter_map(names)
        .fold(text.to_owned(), |text, name| {
            text.replace(&format!("_env = {name}"), "_env = \"PATH\"")
        });
    let settings = Settings::parse("config.toml", &unset).unwrap();
    assert!(!settings.caller.is_empty() && settings.cache.is_some());
}

// ===== routes =====

#[tokio::test]
async fn each_api_has_its_providers() {
    let file = "[[provider]]\nname = \"chat\"\nbase_url = \"$0\"\nmodel = \"c-1\"\n\
                [[embeddings]]\nname = \"vectors\"\nbase_url = \"$1\"\n\
                [[messages]]\nname = \"talk\"\nbase_url = \"$2\"\nmodel = \"t-1\"\n";
    let styles = [Style::OPENAI, Style::OPENAI, Style::ANTHROPIC];
    let limits = styles.map(|style| Limits {
        style,
        ..Limits::default()
    });
    let running = running(file, limits).await;
    for (path, body, by) in [
        (CHAT, prompt("auto"), "chat"),
        (CHAT, prompt("c-1"), "chat"),
        (MESSAGES, prompt("auto"), "talk"),
        (
            EMBEDDINGS,
            json!({ "model": "any", "input": "hello" }),
            "vectors",
        ),
    ] {
        let response = running.send(path, &body).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["x-provider"], by);
        let body = json(response).await;
        if path == CHAT {
            assert_eq!(body["model"], "c-1");
        }
    }
    for (path, kind) in [(CHAT, "code"), (MESSAGES, "type")] {
        let response = running.send(path, &prompt("none")).await;
        assert_eq!(response.status(), 404);
        let error = json(response).await["error"][kind].clone();
        assert!(
            error == "model_not_found" || error == "not_found_error",
            "{error}"
        );
    }
    let models = json(running.get("/v1/models").await).await;
    assert_eq!(models["data"].as_array().unwrap().len(), 4);
    assert_eq!(running.get("/healthz").await.status(), 200);
    assert!(
        running
            .get("/")
            .await
            .text()
            .await
            .unwrap()
            .contains("<title>Gateway</title>")
    );
    let metrics = running.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains("gateway_providers_counts_attempts{providers=\"chat\",} 2\n"),
        "{metrics}"
    );
    assert_eq!(running.get("/v2").await.status(), 404);
}

#[tokio::test]
async fn callers_have_limits_and_see_what_is_left() {
    let callers = "[[caller]]\nname = \"ann\"\nkey = \"a\"\nrpm = 2\ntpm = 1000\n\
                   [[caller]]\nname = \"bob\"\nkey = \"b\"\n";
    let running = running(&(provider(0, "") + callers), [Limits::default()]).await;
    let by = |key: &str| running.post(CHAT, &prompt("auto")).bearer_auth(key).send();
    assert_eq!(by("wrong").await.unwrap().status(), 401);
    assert_eq!(running.send(CHAT, &prompt("auto")).await.status(), 401);

    let first = by("a").await.unwrap();
    let headers = first.headers();
    assert_eq!(headers["x-ratelimit-limit"], "2");
    assert_eq!(headers["x-ratelimit-remaining"], "1");
    let left: Vec<_> = headers
        .get_all("ratelimit")
        .iter()
        .map(|it| it.to_str().unwrap())
        .collect();
    let left = left.join(", ");
    // Two tokens of the prompt and six of the response were used.
    assert!(
        left.contains("\"requests\";r=1;t=") && left.contains("\"tokens\";r=992"),
        "{left}"
    );
    assert_eq!(by("a").await.unwrap().status(), 200);
    let third = by("a").await.unwrap();
    assert_eq!(third.status(), 429);
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(json(third).await["error"]["code"], "rate_limit_exceeded");
    let large = json!({ "model": "auto", "messages": [], "max_tokens": 2_000 });
    let large = running
        .post(MESSAGES, &large)
        .header("x-api-key", "a")
        .send()
        .await
        .unwrap();
    assert_eq!(json(large).await["error"]["type"], "rate_limit_error");
    assert_eq!(by("b").await.unwrap().status(), 200);
    assert!(
        !by("b")
            .await
            .unwrap()
            .headers()
            .contains_key("x-ratelimit-limit")
    );

    let all = running.gateway.snapshot();
    assert_eq!(all["callers"][0]["name"], "ann");
    assert_eq!(all["rejected"], 2);
    assert_eq!(all["tokens"], 32);
}

#[tokio::test]
async fn a_provider_that_fails_is_replaced_and_shown() {
    let down = Limits {
        outage: Some(simulator::Outage {
            from: Duration::ZERO,
            lasts: Duration::from_secs(60),
        }),
        ..Limits::default()
    };
    let file = "fallback = [\"p1\"]\n".to_owned() + &provider(0, "") + &provider(1, "");
    let running = running(&file, [down, Limits::default()]).await;
    for _ in 0..4 {
        let response = running.send(CHAT, &prompt("p0")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-provider"], "p1");
    }
    let all = running.gateway.snapshot();
    assert_eq!(all["providers"][0]["health"], "down");
    assert_eq!(all["providers"][1]["health"], "up");
    assert_eq!(all["counts"]["fallbacks"], 4);
}

#[tokio::test]
async fn nobody_at_the_other_end_is_a_502() {
    let file = "[[provider]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1\"\n";
    let running = running(file, []).await;
    let response = running.send(CHAT, &prompt("auto")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = json(response).await;
    assert_eq!(error["error"]["code"], "provider_failed");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn callers_share_no_cached_response() {
    let file = "cache = 60\n".to_owned()
        + &provider(0, "")
        + "[[caller]]\nname = \"ann\"\nkey = \"a\"\ntpm = 100\n\
           [[caller]]\nname = \"bob\"\nkey = \"b\"\n";
    let running = running(&file, [Limits::default()]).await;
    let mut left = Vec::new();
    for key in ["a", "a", "b"] {
        let request = running.post(CHAT, &prompt("auto")).bearer_auth(key);
        let response = request.send().await.unwrap();
        let name = "x-ratelimit-remaining";
        left.push(
            response
                .headers()
                .get(name)
                .map(|left| left.to_str().unwrap().to_owned()),
        );
        drop(response.bytes().await);
    }
    assert_eq!(left, [Some("92".to_owned()), Some("92".to_owned()), None]);
    assert_eq!(running.simulators[0].counters().accepted, 2);
    assert_eq!(running.gateway.snapshot()["counts"]["hits"], 1);
}

#[tokio::test]
async fn when_it_stops_streams_end_and_queues_are_rejected() {
    let limits = Limits {
        latency: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = running(&provider(0, "rpm = 1\nlearn = false"), [limits]).await;
    let mut body = prompt("auto");
    body["stream"] = true.into();
    let stream = running.send(CHAT, &body).await;
    let queued = tokio::spawn(running.post(CHAT, &prompt("auto")).send());
    while running.gateway.providers.all[0].limiter.usage().waiting == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.gateway.close();
    let queued = queued.await.unwrap().unwrap();
    assert_eq!(queued.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(queued.headers()["retry-after"], "1");
    assert!(stream.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    running.server.await.unwrap().unwrap();
}

// ===== tokens =====

#[test]
fn usage_is_read_as_openai_and_anthropic_report_it() {
    let openai = r#"{"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}"#;
    let anthropic =
        r#"{"usage": {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 4}}"#;
    for (body, tokens) in [
        (openai, Some(7)),
        (anthropic, Some(12)),
        (r#"{"usage": null}"#, None),
        ("text", None),
    ] {
        let mut reader = TokenReader::default();
        reader.read(body.as_bytes());
        assert_eq!(reader.used(), tokens);
    }
    let start =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}"#;
    let delta = r#"{"type":"message_delta","usage":{"output_tokens":4}}"#;
    let stream = format!("event: a\r\ndata: {start}\r\n\r\ndata: {delta}\n\ndata: [DONE]\n\n");
    for size in [1, 7, 1_000] {
        let mut usage = TokenReader::default();
        stream
            .as_bytes()
            .chunks(size)
            .for_each(|bytes| usage.feed(bytes));
        assert_eq!(usage.used(), Some(7));
    }
    assert_eq!(TokenReader::default().used(), None);
}
