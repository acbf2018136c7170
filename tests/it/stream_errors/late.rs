//! Streams that fail before they have content.

use std::{future::poll_fn, pin::pin, time::Duration};

use futures::stream;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio::time::Instant;
use tower_throttle::{Outcome, StreamErrorLayer, TimedOut};

use super::{EVENTS, OVERLOADED, TOLD, body, broken, diagnose, piece, response, stalled, text};

const NDJSON: &str = "application/x-ndjson";

/// What comes before any content.
const SILENT: &[&str] = &[
    "",
    "\u{feff}",
    ": OPENROUTER PROCESSING\n\n",
    "retry: 3000\nid: 1\n\n",
    "data:\n\n",
    // Anthropic.
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "data: {\"type\":\"keepalive\",\"sequence_number\":3}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\n\n",
    // OpenAI, Azure, Groq.
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false}}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[],\"function_call\":null},\"finish_reason\":null}],\"x_groq\":{\"id\":\"r\"}}\n\n",
    "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":null}]}\n\n",
    // OpenAI's responses.
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"instructions\":\"Be brief.\",\"output\":[]}}\n\n",
    "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"status\":\"in_progress\",\"error\":null}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"m\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],\"role\":\"assistant\"}}\n\n",
    "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"item_id\":\"m\",\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}}\n\n",
    // Gemini.
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 4},\"modelVersion\": \"m\"}\r\n\r\n",
];

/// Errors, what they are, and of what kind.
const LATE: &[(&str, u16, Option<Outcome>)] = &[
    // Anthropic.
    (OVERLOADED, 529, Some(Outcome::Overloaded)),
    (
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"rate_limit_error\",\"message\":\"This request would exceed your account's rate limit.\"},\"request_id\":\"req_1\"}\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"\"}}\n\n",
        504,
        Some(Outcome::Timeout),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"}}\n\n",
        401,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\"}}\n\n",
        403,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"not_found_error\"}}\n\n",
        404,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"request_too_large\"}}\n\n",
        413,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"billing_error\"}}\n\n",
        402,
        Some(Outcome::QuotaExhausted),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"messages: roles must alternate\"}}\n\n",
        400,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 215000 tokens > 200000 maximum\"}}\n\n",
        400,
        Some(Outcome::ContextTooLong),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"who_knows\",\"message\":\"m\"}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    // OpenAI.
    (
        "data: {\"error\":{\"message\":\"The server had an error while processing your request.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"error\":{\"message\":\"Rate limit reached for m on tokens per min (TPM). Please try again in 1.5s.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\ndata: [DONE]\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"error\":{\"message\":\"You exceeded your current quota.\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}\n\n",
        429,
        Some(Outcome::QuotaExhausted),
    ),
    (
        "event: error\ndata: {\"type\":\"error\",\"code\":\"context_length_exceeded\",\"message\":\"Your input exceeds the context window of this model.\",\"param\":null,\"sequence_number\":2}\n\n",
        400,
        Some(Outcome::ContextTooLong),
    ),
    (
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":3,\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"},\"output\":[]}}\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":null,\"output\":[]}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "event: error\ndata: {\"code\":\"server_error\",\"message\":\"m\"}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "event: error\ndata: {\"status\":\"failed\",\"message\":\"m\"}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "event: error\r\ndata: {\"code\":503}\r\n\r\n",
        503,
        Some(Outcome::Overloaded),
    ),
    (
        "event: error\ndata: {\"error\":{\"message\":\"m\",\"type\":\"tokens\",\"status_code\":413}}\n\n",
        413,
        Some(Outcome::ClientError),
    ),
    // Azure.
    (
        "data: {\"error\":{\"message\":\"The response was filtered\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}\n\n",
        400,
        Some(Outcome::ContentPolicy),
    ),
    // Gemini.
    (
        "data: {\"error\": {\"code\": 503,\"message\": \"The model is overloaded. Please try again later.\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n",
        503,
        Some(Outcome::Overloaded),
    ),
    (
        "data: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"m\"}}\r\r",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"error\":{\"status\":\"DEADLINE_EXCEEDED\"}}\n\n",
        504,
        Some(Outcome::Timeout),
    ),
    // OpenRouter.
    (
        "data: {\"id\":\"g\",\"object\":\"chat.completion.chunk\",\"provider\":\"p\",\"error\":{\"code\":\"server_error\",\"message\":\"Provider disconnected unexpectedly\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"id\":\"g\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"error\",\"native_finish_reason\":\"error\",\"error\":{\"code\":502,\"message\":\"Upstream\",\"metadata\":{\"provider_name\":\"p\"}}}]}\n\n",
        502,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"error\":{\"code\":402,\"message\":\"Insufficient credits\"},\"choices\":[]}\n\n",
        402,
        Some(Outcome::QuotaExhausted),
    ),
    (
        "data: {\"error\":{\"code\":408,\"message\":\"m\"}}\n\n",
        408,
        Some(Outcome::Timeout),
    ),
    // Mistral.
    (
        "event: conversation.response.error\ndata: {\"type\":\"conversation.response.error\",\"message\":\"m\",\"code\":503}\n\n",
        503,
        Some(Outcome::Overloaded),
    ),
    // Cohere.
    (
        "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    // Of servers that imitate these.
    (
        "data: {\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}\n\n",
        400,
        Some(Outcome::ClientError),
    ),
    (
        "data: {\"error\":\"Request failed\",\"error_type\":\"overloaded\"}\n\n",
        503,
        Some(Outcome::Overloaded),
    ),
    (
        "data: {\"error\":{\"message\":\"slow\",\"code\":\"429\"}}\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"error\":{\"message\":\"Too many requests\",\"code\":\"1302\"}}\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"error\":{\"code\":200,\"type\":\"overloaded_error\"}}\n\n",
        529,
        Some(Outcome::Overloaded),
    ),
    (
        "data: {\"error\":{\"code\":600}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"error\":{\"code\":-429}}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "event:error\ndata:Internal Server Error\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "event: error\ndata: {\"error\":\ndata: {\"code\": 503}}\n\n",
        503,
        Some(Outcome::Overloaded),
    ),
    // Whose JSON is malformed.
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"cut \\ud83d\"}}\n\n",
        529,
        Some(Outcome::Overloaded),
    ),
    (
        "data: {\"error\":{\"score\":NaN,\"type\":\"rate_limit_error\"}} [END]\n\n",
        429,
        Some(Outcome::RateLimited),
    ),
    (
        "data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"cut\n\n",
        529,
        Some(Outcome::Overloaded),
    ),
    // That say so in their own way.
    (
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"network_error\"}]}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    (
        "data: {\"choices\":null,\"base_resp\":{\"status_code\":1008,\"status_msg\":\"insufficient balance\"}}\n\n",
        429,
        Some(Outcome::QuotaExhausted),
    ),
    (
        "data: {\"success\":false,\"code\":500,\"msg\":\"m\"}\n\n",
        500,
        Some(Outcome::ServerError),
    ),
    // That forgot the empty line, and that never made a stream.
    (
        "data: {\"error\":{\"type\":\"overloaded_error\"}}\n",
        529,
        Some(Outcome::Overloaded),
    ),
    (
        "data: {\"error\":{\"type\":\"overloaded_error\"}}",
        529,
        Some(Outcome::Overloaded),
    ),
    (
        " {\"error\":{\"type\":\"overloaded_error\"}}\n",
        529,
        Some(Outcome::Overloaded),
    ),
];

/// What a stream is passed on at.
const CONTENT: &[&str] = &[
    TOLD,
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"reasoning\":\"Hm\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n",
    "data: {\"choices\":[{\"text\":\"Hi\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"error\"}],\"error\":{\"code\":502}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n",
    "data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"\"}}\n\n",
    "data: {\"type\":\"response.incomplete\",\"response\":{\"error\":null}}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}],\"role\":\"model\"}}]}\n\n",
    "data: {\"candidates\":[{\"finishReason\":\"SAFETY\"}]}\n\n",
    "data: {\"candidates\":[],\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
    "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
    "data: {\"type\":\"unheard_of\"}\n\n",
    // These tell of something else that failed.
    "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n\n",
    "data: {\"custom_id\":\"r-1\",\"error\":{\"code\":\"server_error\"}}\n\n",
    "data: {\"id\":\"p\",\"status\":\"failed\",\"error\":\"out of memory\"}\n\n",
    "data: {\"error\":{}}\n\n",
    "data: {\"error\":\"\"}\n\n",
    "data: [DONE]\n\n",
    "data: Hi\n\n",
    "data: 1\n\n",
    "event: ping\ndata: now\n\n",
    "event: errors\ndata: {}\n\n",
];

/// One that brings `before` and `after` in one piece or byte by byte.
async fn check(media_type: &str, stream: &str, size: usize) -> (u16, Option<Outcome>) {
    let pieces = stream.as_bytes().chunks(size).map(piece);
    let answer = diagnose(
        StreamErrorLayer::new(),
        response(200, media_type, body(pieces)),
    )
    .await;
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "7");
    assert_eq!(answer.headers()["content-type"], media_type);
    let said = (answer.status().as_u16(), answer.extensions().get().copied());
    assert_eq!(text(answer.into_body()).await, stream, "by {size}");
    said
}

#[tokio::test(start_paused = true)]
async fn errors_of_providers_become_their_status() {
    for (error, status, kind) in LATE {
        for before in SILENT {
            let stream = format!("{before}{error}");
            // Bytes alone are not a stream.
            if !before.is_empty() && error.starts_with(" {") {
                continue;
            }
            for size in [1_000_000, 60] {
                let said = check(EVENTS, &stream, size).await;
                assert_eq!(said, (*status, *kind), "{stream} by {size}");
            }
        }
        assert_eq!(
            check(EVENTS, error, 1).await,
            (*status, *kind),
            "{error} by 1"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn after_content_nothing_is_changed() {
    for content in CONTENT {
        for (error, ..) in LATE {
            let stream = format!("{}{content}{error}", SILENT[5]);
            for size in [1_000_000, 40] {
                assert_eq!(check(EVENTS, &stream, size).await, (200, None), "{stream}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_passed_on_as_soon_as_it_has_content() {
    for content in CONTENT {
        let start = Instant::now();
        let pieces = [piece(SILENT[10]), piece(content)];
        let answer = response(200, EVENTS, stalled(pieces));
        let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "{content}");
        // The frames are as they came.
        let mut body = answer.into_body();
        for expected in [SILENT[10], content] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), *expected);
        }
        let more = tokio::time::timeout(Duration::from_secs(1), body.frame());
        assert!(more.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_content_is_held_back_until_the_patience_is_over() {
    for silent in SILENT {
        for (layer, patience) in [
            (StreamErrorLayer::new(), 30),
            (StreamErrorLayer::new().patience(Duration::from_secs(3)), 3),
            (StreamErrorLayer::new().patience(Duration::ZERO), 0),
        ] {
            let start = Instant::now();
            let answer = response(200, EVENTS, stalled([piece(silent)]));
            let answer = diagnose(layer, answer).await.unwrap();
            assert_eq!(start.elapsed(), Duration::from_secs(patience), "{silent}");
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.extensions().get::<Outcome>(), None);
            let frame = answer.into_body().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), *silent);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn patience_counts_from_the_first_wait_and_keep_alives_do_not_renew_it() {
    let start = Instant::now();
    let alive = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        Some((piece(": keep-alive\n\n"), ()))
    });
    let alive = BodyExt::boxed_unsync(StreamBody::new(alive));
    let layer = StreamErrorLayer::new().patience(Duration::from_secs(10));
    let answer = diagnose(layer, response(200, EVENTS, alive)).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
    let mut body = answer.into_body();
    for second in [10, 10, 12, 16] {
        body.frame().await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), second);
    }
}

#[tokio::test(start_paused = true)]
async fn endless_patience_is_no_error() {
    let layer = StreamErrorLayer::new().patience(Duration::MAX);
    let late = stream::once(async {
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        piece(OVERLOADED)
    });
    let late = BodyExt::boxed_unsync(StreamBody::new(Box::pin(late)));
    let answer = diagnose(layer, response(200, EVENTS, late)).await.unwrap();
    assert_eq!(answer.status(), 529);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_held_back_than_the_bounds_say() {
    const MOST: usize = 64 * 1024;
    let start = Instant::now();
    for (size, held) in [(1, 256), (1_000, 66), (MOST, 1), (10 * MOST, 1)] {
        let comment = format!(":{}\n", "x".repeat(size.max(2) - 2));
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = count.clone();
        let endless = stream::repeat_with(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            piece(&comment[..size.max(1)])
        });
        let endless = BodyExt::boxed_unsync(StreamBody::new(endless));
        let answer = diagnose(StreamErrorLayer::new(), response(200, EVENTS, endless)).await;
        assert_eq!(answer.unwrap().status(), 200);
        let read = count.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(read, held, "of {size}");
    }
    // An error is seen up to the last byte within, and not past it.
    for (past, status) in [(0, 529), (1, 200)] {
        let filling = MOST - OVERLOADED.len() + past - 2;
        let stream = format!(":{}\n{OVERLOADED}: more\n", "x".repeat(filling));
        for size in [1_000_000, 1_000] {
            assert_eq!(
                check(EVENTS, &stream, size).await.0,
                status,
                "{past} by {size}"
            );
        }
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_before_content_is_a_broken_attempt() {
    for before in SILENT {
        let answer = response(200, EVENTS, body([piece(before), broken()]));
        let error = diagnose(StreamErrorLayer::new(), answer).await.unwrap_err();
        assert_eq!(Outcome::of_error(&error), Some(Outcome::Interrupted));
    }
    // A timeout further in says so still, and what no attempt mends is not taken for a broken one.
    for (error, kind) in [
        (TimedOut::FirstByte(Duration::ZERO), Some(Outcome::Timeout)),
        (TimedOut::Call(Duration::ZERO), Some(Outcome::Timeout)),
    ] {
        let answer = response(200, EVENTS, body([Err(std::io::Error::other(error))]));
        let failed = diagnose(StreamErrorLayer::new(), answer).await.unwrap_err();
        assert_eq!(TimedOut::of(&failed), Some(error));
        assert_eq!(Outcome::of_error(&failed), kind);
    }
    // After content it is the body that fails, where it failed.
    let answer = response(200, EVENTS, body([piece(TOLD), broken()]));
    let mut body = diagnose(StreamErrorLayer::new(), answer)
        .await
        .unwrap()
        .into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_content_is_what_it_was() {
    for stream in SILENT {
        assert_eq!(check(EVENTS, stream, 7).await, (200, None), "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_that_comes_with_its_error_is_content() {
    let failed = |output: &str| {
        format!(
            "data: {{\"type\":\"response.failed\",\"response\":{{\"error\":{{\"code\":\"server_error\"}},\"output\":[{output}]}}}}\n\n"
        )
    };
    let half = failed("{\"type\":\"message\",\"content\":[{\"text\":\"Once\"}]}");
    assert_eq!(check(EVENTS, &half, 1_000).await, (200, None));
    let none = failed("{\"type\":\"message\",\"content\":[]}");
    let expected = (500, Some(Outcome::ServerError));
    assert_eq!(check(EVENTS, &none, 1_000).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_last_name_of_an_event_counts() {
    for (names, status) in [
        ("event: message\nevent: error", 500),
        ("event: error\nevent: message", 200),
        ("event: err\nevent: or", 200),
        ("event: error\n\nevent: error", 500),
    ] {
        let stream = format!("{names}\ndata: it broke\n\n");
        for size in [1_000, 1] {
            assert_eq!(check(EVENTS, &stream, size).await.0, status, "{names}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_pass() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    for (stream, status) in [(OVERLOADED, 529), (TOLD, 200), ("", 200)] {
        let pieces = [piece(stream), Ok(Frame::trailers(trailers.clone()))];
        let answer = response(200, EVENTS, body(pieces));
        let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
        assert_eq!(answer.status(), status);
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), stream);
    }
}

#[tokio::test(start_paused = true)]
async fn lines_of_json_are_streams_too() {
    let begun = "{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n";
    let error = "{\"error\":\"model runner has unexpectedly stopped\"}\n";
    for (stream, expected) in [
        (error.to_owned(), (500, Some(Outcome::ServerError))),
        (format!("\n\n{error}"), (500, Some(Outcome::ServerError))),
        (
            error.trim_end().to_owned(),
            (500, Some(Outcome::ServerError)),
        ),
        (
            format!("\u{1e}{{\"choices\":[]}}\n\u{1e}{error}"),
            (500, Some(Outcome::ServerError)),
        ),
        (format!("{begun}{error}"), (200, None)),
        (String::new(), (200, None)),
    ] {
        for size in [1_000, 1] {
            assert_eq!(check(NDJSON, &stream, size).await, expected, "{stream}");
            assert_eq!(check("application/json-seq", &stream, size).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_responses_are_not_touched() {
    for (status, media_type, encoding) in [
        (200, "text/plain", None),
        (200, "application/json", None),
        (200, EVENTS, Some("gzip")),
        (302, EVENTS, None),
        (404, EVENTS, None),
        (401, "application/json", None),
    ] {
        let mut answer = response(status, media_type, stalled([piece(OVERLOADED)]));
        if let Some(encoding) = encoding {
            let headers = answer.headers_mut();
            headers.insert("content-encoding", encoding.parse().unwrap());
        }
        let start = Instant::now();
        let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "{media_type}");
        assert_eq!(answer.status(), status);
        assert_eq!(answer.extensions().get::<Outcome>(), None);
    }
    let mut untyped = response(200, EVENTS, stalled([piece(OVERLOADED)]));
    untyped.headers_mut().clear();
    let untyped = diagnose(StreamErrorLayer::new(), untyped).await.unwrap();
    assert_eq!(untyped.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_size_that_is_told_is_that_of_what_is_to_come() {
    let answer = response(200, EVENTS, body([piece(TOLD), piece("more")]));
    let body = diagnose(StreamErrorLayer::new(), answer)
        .await
        .unwrap()
        .into_body();
    assert_eq!(body.size_hint().lower(), TOLD.len() as u64);
    assert!(!body.is_end_stream());

    let full = http_body_util::Full::new(bytes::Bytes::from_static(OVERLOADED.as_bytes()));
    let full = full.map_err(|never| match never {}).boxed_unsync();
    let answer = diagnose(StreamErrorLayer::new(), response(200, EVENTS, full))
        .await
        .unwrap();
    assert_eq!(answer.status(), 529);
    let mut body = answer.into_body();
    assert_eq!(body.size_hint().exact(), Some(OVERLOADED.len() as u64));
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
    // And once more: the one inside is not asked.
    let mut body = pin!(body);
    assert!(poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_none());
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_it_is_the_same(
        before in prop::collection::vec(prop::sample::select(SILENT), 0..3),
        events in prop::collection::vec(
            prop_oneof![
                prop::sample::select(LATE).prop_map(|(error, ..)| error),
                prop::sample::select(CONTENT),
                prop::sample::select(&["data: \u{e9}\u{1f600}\n\n", "\r\n\r", "data", "event: error\r\n", "data: {\"error\"", "\u{feff}"][..]),
            ],
            0..4,
        ),
        cuts in prop::collection::vec(0_usize..2_000, 0..40),
        lines in any::<bool>(),
    ) {
        let stream = before.into_iter().chain(events).collect::<String>();
        let media_type = if lines { NDJSON } else { EVENTS };
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| piece(&stream.as_bytes()[cut[0]..cut[1]])).collect();
        futures::executor::block_on(async {
            let whole = check(media_type, &stream, stream.len().max(1)).await;
            let answer = response(200, media_type, body(pieces));
            let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
            let said = (answer.status().as_u16(), answer.extensions().get().copied());
            prop_assert_eq!(said, whole);
            prop_assert_eq!(text(answer.into_body()).await, stream);
            Ok(())
        })?;
    }

    #[test]
    fn nothing_panics_and_no_byte_is_lost(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        size in 1_usize..20,
        media_type in prop::sample::select(&[EVENTS, NDJSON, "application/json"][..]),
    ) {
        futures::executor::block_on(async {
            let pieces = bytes.chunks(size).map(piece);
            let layer = StreamErrorLayer::new().json(true);
            let answer = diagnose(layer, response(200, media_type, body(pieces))).await.unwrap();
            let collected = answer.into_body().collect().await.unwrap().to_bytes();
            prop_assert_eq!(&collected[..], &bytes[..]);
            Ok(())
        })?;
    }
}
