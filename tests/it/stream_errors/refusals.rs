//! What error responses mean.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;
use tower_throttle::{
    Outcome,
    Outcome::{
        ClientError, ContentPolicy, ContextTooLong, Overloaded, QuotaExhausted, RateLimited,
        ServerError, Timeout,
    },
    StreamErrorLayer,
};

use super::{body, broken, diagnose, piece, response, stalled, text};

const JSON: &str = "application/json";

const REFUSALS: &[(u16, &str, Option<Outcome>)] = &[
    // Too long.
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 215000 tokens > 200000 maximum"}}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 188240 + 20000 > 200000"}}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"message":"Input is too long for requested model."}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#,
        Some(ContextTooLong),
    ),
    (
        422,
        r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097.","error_type":"validation"}"#,
        Some(ContextTooLong),
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
        Some(ContextTooLong),
    ),
    (
        500,
        r#"{"error":{"message":"litellm.ContextWindowExceededError: m","code":"context_window_exceeded"}}"#,
        Some(ContextTooLong),
    ),
    // Not allowed.
    (
        400,
        r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"error":{"code":null,"message":"m","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"error":{"code":"content_policy_violation","message":"Your request was rejected as a result of our safety system.","type":"image_generation_user_error"}}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","code":"invalid_prompt"}}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
        Some(ContentPolicy),
    ),
    (
        403,
        r#"{"error":{"code":403,"message":"m requires moderation on Provider. Your input was flagged for \"violence\".","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#,
        Some(ContentPolicy),
    ),
    (
        403,
        r#"{"code":"The caller does not have permission","error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_CSAM"}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
        Some(ContentPolicy),
    ),
    (
        400,
        r#"{"code":"DataInspectionFailed","message":"Output data may contain inappropriate content."}"#,
        Some(ContentPolicy),
    ),
    // No money.
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        Some(QuotaExhausted),
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        Some(QuotaExhausted),
    ),
    (
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
        Some(QuotaExhausted),
    ),
    (
        403,
        r#"{"type":"error","error":{"type":"billing_error","message":"m"}}"#,
        Some(QuotaExhausted),
    ),
    (
        403,
        r#"{"code":"m","error":"Your team has either used all available credits or reached its monthly spending limit."}"#,
        Some(QuotaExhausted),
    ),
    (402, "", Some(QuotaExhausted)),
    (
        429,
        r#"{"error":{"message":"Rate limit reached for m on requests per day (RPD): Limit 200.","code":"rate_limit_exceeded"}}"#,
        Some(QuotaExhausted),
    ),
    // Too much, too fast.
    (
        429,
        r#"{"error":{"message":"Rate limit reached for m on tokens per min (TPM). Maximum context length is not the matter.","code":"rate_limit_exceeded"}}"#,
        Some(RateLimited),
    ),
    (
        429,
        r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]}]}}"#,
        Some(RateLimited),
    ),
    (
        403,
        r#"{"message":"You have exceeded a secondary rate limit."}"#,
        Some(RateLimited),
    ),
    (
        500,
        r#"{"error":{"type":"rate_limit_error"}}"#,
        Some(RateLimited),
    ),
    (
        429,
        r#"{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 30000, Requested 40000.","code":"rate_limit_exceeded"}}"#,
        Some(ClientError),
    ),
    (
        413,
        r#"{"error":{"message":"Request too large for model m","type":"tokens","code":"rate_limit_exceeded"}}"#,
        Some(ClientError),
    ),
    (
        413,
        r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        Some(ClientError),
    ),
    (
        413,
        "<html>413 Request Entity Too Large</html>",
        Some(ClientError),
    ),
    // Theirs.
    (
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        Some(Overloaded),
    ),
    (
        500,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        Some(Overloaded),
    ),
    (
        503,
        r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
        Some(Overloaded),
    ),
    (
        429,
        r#"{"error":{"message":"Resource Unavailable","code":"resource_unavailable"}}"#,
        Some(Overloaded),
    ),
    (
        504,
        r#"{"error":{"status":"DEADLINE_EXCEEDED"}}"#,
        Some(Timeout),
    ),
    (500, r#"{"error":{"type":"timeout_error"}}"#, Some(Timeout)),
    (
        500,
        r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
        Some(ServerError),
    ),
    (502, "<html>Bad Gateway</html>", Some(ServerError)),
    (500, "", Some(ServerError)),
    // The caller's own.
    (
        400,
        r#"{"error":{"message":"Invalid value for temperature","type":"invalid_request_error"}}"#,
        Some(ClientError),
    ),
    (
        400,
        r#"{"error":{"message":"m","type":"api_error"}}"#,
        Some(ClientError),
    ),
    (
        403,
        r#"{"type":"error","error":{"type":"permission_error","message":"Your key may not use this model."}}"#,
        Some(ClientError),
    ),
    (422, "", Some(ClientError)),
];

#[tokio::test(start_paused = true)]
async fn errors_of_providers_tell_their_kind() {
    for (status, error, kind) in REFUSALS {
        for size in [1_000_000, 100] {
            let pieces = error.as_bytes().chunks(size).map(piece);
            let answer = response(*status, JSON, body(pieces));
            let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
            assert_eq!(answer.status().as_u16(), *status);
            assert_eq!(answer.extensions().get(), kind.as_ref(), "{status} {error}");
            assert_eq!(Outcome::of(Ok(&answer)), *kind);
            assert_eq!(text(answer.into_body()).await, *error);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_read_no_longer_than_the_bounds_say() {
    let start = Instant::now();
    let error = r#"{"error":{"code":"content_filter","message":"#;
    let answer = response(400, JSON, stalled([piece(error)]));
    // The patience for streams has no say here.
    let layer = StreamErrorLayer::new().patience(Duration::MAX);
    let answer = diagnose(layer, answer).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(
        answer.extensions().get(),
        Some(&ContentPolicy),
        "of what was there"
    );
    let frame = answer.into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), error);

    for (before, kind) in [(15_000, Some(&ContentPolicy)), (17_000, Some(&ClientError))] {
        let far = format!("{}{error}", " ".repeat(before));
        for size in [500, 1_000_000] {
            let pieces = far.as_bytes().chunks(size).map(piece);
            let answer = response(400, JSON, body(pieces));
            let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
            assert_eq!(answer.extensions().get(), kind, "{before}");
            assert_eq!(text(answer.into_body()).await, far);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_body_fails_is_still_one() {
    let answer = response(503, JSON, body([piece("{"), broken()]));
    let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&Overloaded));
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_compressed_or_was_found_out_further_in_is_left_alone() {
    let error = r#"{"error":{"code":"content_filter"}}"#;
    let mut packed = response(400, JSON, body([piece(error)]));
    packed
        .headers_mut()
        .insert("content-encoding", "br".parse().unwrap());
    let packed = diagnose(StreamErrorLayer::new(), packed).await.unwrap();
    assert_eq!(packed.extensions().get::<Outcome>(), None);

    let mut known = response(400, JSON, stalled([piece(error)]));
    known.extensions_mut().insert(QuotaExhausted);
    let start = Instant::now();
    let known = diagnose(StreamErrorLayer::new(), known).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(known.extensions().get(), Some(&QuotaExhausted));
}

#[tokio::test(start_paused = true)]
async fn the_head_of_an_error_without_a_body_tells_too() {
    let empty = http_body_util::Empty::new();
    let empty = empty.map_err(|never| match never {}).boxed_unsync();
    let mut answer = response(429, JSON, empty);
    let headers = answer.headers_mut();
    headers.insert("x-ratelimit-limit-requests-day", "100".parse().unwrap());
    headers.insert("x-ratelimit-remaining-requests-day", "0".parse().unwrap());
    headers.insert("x-ratelimit-reset-requests-day", "33011.4".parse().unwrap());
    let answer = diagnose(StreamErrorLayer::new(), answer).await.unwrap();
    assert_eq!(
        answer.extensions().get(),
        Some(&QuotaExhausted),
        "a day's quota"
    );
}
