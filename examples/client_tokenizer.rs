//! An estimate with a real tokenizer: `cargo run --example client_tokenizer`.
//!
//! By default a prompt is estimated by its length, which needs no tokenizer and is right for
//! English. A tokenizer is right for all languages, at the cost of reading the text.

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use tiktoken_rs::{CoreBPE, o200k_base_singleton};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_throttle::{
    BoxError, Tokens,
    provider::{ByLength, Estimate, Provider, ProviderLayer},
};

/// What a message has beside its text, according to OpenAI's cookbook.
const TOKENS_PER_MESSAGE: u64 = 3;

/// If a request does not say how long the response may be.
const DEFAULT_OUTPUT: u64 = 1_024;

const PROMPTS: [&str; 3] = [
    "Why is the sky blue? Answer in one sentence.",
    "Warum ist der Himmel blau? Antworte in einem Satz.",
    "fn main() { println!(\"{}\", (1..=10).map(|n| n * n).sum::<u32>()); }",
];

/// Counts with the tokenizer of OpenAI's models since GPT-4o.
#[derive(Clone, Copy)]
struct Tokenizer(&'static CoreBPE);

impl Estimate<reqwest::Request> for Tokenizer {
    fn estimate(&self, request: &reqwest::Request) -> Tokens {
        let body = request.body().and_then(reqwest::Body::as_bytes);
        let body: Value = serde_json::from_slice(body.unwrap_or_default()).unwrap_or_default();
        let messages = body["messages"].as_array().into_iter().flatten();
        let texts = messages.filter_map(|message| message["content"].as_str());
        let input = texts
            .map(|text| self.0.count_ordinary(text) as u64 + TOKENS_PER_MESSAGE)
            .sum();
        let output = body["max_completion_tokens"].as_u64();
        Tokens::new(input, output.unwrap_or(DEFAULT_OUTPUT))
    }
}

/// Stands for a provider: responds with the usage, as all of them do.
async fn complete(Json(request): Json<Value>) -> Json<Value> {
    let prompt = request["messages"][0]["content"].as_str().unwrap_or("");
    let input = o200k_base_singleton().count_ordinary(prompt) as u64 + TOKENS_PER_MESSAGE;
    Json(json!({
        "choices": [{"message": {"role": "assistant", "content": "an answer"}}],
        "usage": {"prompt_tokens": input, "completion_tokens": 2, "total_tokens": input + 2},
    }))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = Router::new().route("/v1/chat/completions", post(complete));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1/chat/completions", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let tokenizer = Tokenizer(o200k_base_singleton());
    let layer = ProviderLayer::new(Provider::OPENAI_TIER_1).estimate(tokenizer);
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .service(http.clone());

    println!("by length  by tokenizer  used");
    for prompt in PROMPTS {
        let body = json!({
            "model": "gpt-4o-mini",
            "max_completion_tokens": 100,
            "messages": [{"role": "user", "content": prompt}],
        });
        let request = http
            .post(&url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .build()?;
        let by_length = ByLength::new().estimate(&request).input;
        let counted = tokenizer.estimate(&request).input;
        let response = client.clone().oneshot(request).await?;
        let response: Value = serde_json::from_slice(&response.bytes().await?)?;
        let used = response["usage"]["prompt_tokens"].as_u64();
        println!(
            "{by_length:>9}  {counted:>12}  {:>4}  {prompt}",
            used.unwrap_or(0)
        );
        assert_eq!(used, Some(counted));
    }
    for limit in layer.limiter().usage().limits() {
        println!("{:?}: {} of {}", limit.dimension, limit.used, limit.limit);
    }
    Ok(())
}
