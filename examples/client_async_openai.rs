//! async-openai's client with a provider's limits and retries as its HTTP service, against a server
//! that refuses the first request: `cargo run --example client_async_openai`.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    middleware::HttpRequestFactory,
    types::chat::{CreateChatCompletionRequest, CreateChatCompletionRequestArgs},
};
use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tower::ServiceBuilder;
use tower_throttle::{
    Dimension, Reason, Rejected, StackLayer,
    provider::{self, Provider, ProviderLayer, ProviderLimiter},
};

/// Requests that the server has received.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// Refuses the first request, and then responds as the API does.
async fn complete(Json(request): Json<Value>) -> Response {
    if REQUESTS.fetch_add(1, Ordering::Relaxed) == 0 {
        let error = json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}});
        let wait = [("retry-after", "1")];
        return (StatusCode::TOO_MANY_REQUESTS, wait, Json(error)).into_response();
    }
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29});
    if request["stream"] != true {
        let message = json!({"role": "assistant", "content": "Light scatters."});
        let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
        return Json(chunk("chat.completion", &choices, &usage)).into_response();
    }
    let choice = |text| json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]);
    let mut chunks = ["Light ", "scatters."]
        .map(|text| chunk("chat.completion.chunk", &choice(text), &Value::Null))
        .to_vec();
    if request["stream_options"]["include_usage"] == true {
        chunks.push(chunk("chat.completion.chunk", &json!([]), &usage));
    }
    let events = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    let events = events.collect::<String>() + "data: [DONE]\n\n";
    ([("content-type", "text/event-stream")], events).into_response()
}

fn chunk(object: &str, choices: &Value, usage: &Value) -> Value {
    json!({
        "id": "1", "object": object, "created": 0, "model": "deepseek-chat",
        "choices": choices, "usage": usage
    })
}

/// Prints the tokens that count against the limit, and returns those used and those reserved.
fn tokens(limiter: &ProviderLimiter) -> (u64, u64) {
    let usage = limiter.usage();
    let tokens = usage.get(Dimension::Tokens);
    let tokens = tokens.map_or((0, 0), |limit| (limit.used, limit.reserved));
    let in_flight = usage.in_flight;
    println!(
        "{} tokens used, {} reserved, {in_flight} in flight",
        tokens.0, tokens.1
    );
    tokens
}

fn question() -> Result<CreateChatCompletionRequest, OpenAIError> {
    use async_openai::types::chat::ChatCompletionRequestUserMessage as Message;
    CreateChatCompletionRequestArgs::default()
        .model("deepseek-chat")
        .max_completion_tokens(100_u32)
        .messages([Message::from("Why is the sky blue?").into()])
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/chat/completions", post(complete));
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let limits = ProviderLayer::new(Provider::DEEPSEEK);
    let limiter = limits.limiter().clone();
    let service = ServiceBuilder::new()
        // async-openai's requests are factories. This makes one request of each, outside of the
        // retry, which sends it again.
        .filter_async(async |factory: HttpRequestFactory| factory.build().await)
        .map_request(provider::include_usage::<reqwest::Request>)
        .layer(StackLayer::new(limits))
        .service(http.clone());
    let config = OpenAIConfig::new().with_api_base(url).with_api_key("key");
    // This replaces the retries of async-openai's own.
    let client = Client::build(http, config).with_http_service(service);

    let start = Instant::now();
    let response = client.chat().create(question()?).await?;
    let answer = response.choices[0].message.content.as_deref();
    let elapsed = start.elapsed().as_secs_f32();
    println!("{elapsed:.1} s: {}", answer.unwrap_or_default());
    assert_eq!(answer, Some("Light scatters."));
    assert!(elapsed >= 1.0, "as the first response said");
    assert_eq!(REQUESTS.load(Ordering::Relaxed), 2);
    assert_eq!(tokens(&limiter), (29, 0), "settled to the usage");

    let mut stream = client.chat().create_stream(question()?).await?;
    let mut answer = String::new();
    while let Some(chunk) = stream.next().await {
        for choice in chunk?.choices {
            answer += &choice.delta.content.unwrap_or_default();
        }
    }
    println!("streamed: {answer}");
    assert_eq!(answer, "Light scatters.");
    assert_eq!(tokens(&limiter), (58, 0), "of both");
    assert_eq!(limiter.usage().in_flight, 0);

    // The errors of the layers arrive as they are.
    limiter.close();
    let Err(OpenAIError::Boxed(error)) = client.chat().create(question()?).await else {
        return Err("it was closed".into());
    };
    println!("closed: {error}");
    let reason = Rejected::of(&error).map(Rejected::reason);
    assert_eq!(reason, Some(Reason::Closed));
    assert_eq!(REQUESTS.load(Ordering::Relaxed), 3);
    Ok(())
}
