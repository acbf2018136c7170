use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::error::Outcome;
use ThrottleReason::{Capacity, Concurrency, Day, QuotaExhausted, Ramp, Rate, TooLarge};

type Fields = &'static [(&'static str, &'static str)];
/// Class, milliseconds to wait, code.
type Row = (ThrottleReason, Option<u64>, Option<&'static str>);

#[allow(clippy::unwrap_used, reason = "a test")]
fn told(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Option<LimitError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    LimitError::read(StatusCode::from_u16(status).unwrap(), &headers, body)
}

fn check(table: &[(u16, Fields, &str, Option<Row>)]) {
    for (status, fields, body, expected) in table {
        let told = told(*status, fields, body.as_bytes());
        let row = told.as_ref().map(|told| {
            let wait = told.retry_after.map(|wait| wait.as_millis() as u64);
            (told.class, wait, told.code.as_deref())
        });
        assert_eq!(row, *expected, "{status}, {fields:?}, {body}");
    }
}

const NONE: Fields = &[];

#[test]
fn by_status_alone() {
    check(&[
        (429, NONE, "", Some((Rate, None, None))),
        (402, NONE, "", Some((QuotaExhausted, None, None))),
        (503, NONE, "", Some((Capacity, None, None))),
        (529, NONE, "", Some((Capacity, None, None))),
        (403, NONE, "", None),
        (200, &[("retry-after", "1")], "insufficient_quota", None),
        (
            400,
            NONE,
            r#"{"error":{"code":"insufficient_quota"}}"#,
            Some((QuotaExhausted, None, Some("insufficient_quota"))),
        ),
        (401, NONE, "", None),
        (413, NONE, "", None),
        (500, &[("retry-after", "1")], "", None),
    ]);
}

#[test]
fn bodies_of_providers() {
    check(&[
        // OpenAI.
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"message":"Rate limit reached for m in organization o on tokens "#,
                r#"per min (TPM): Limit 30000, Used 29000, "#,
                r#"Requested 2000. Please try again in 1.5s.","type":"tokens","param":null,"#,
                r#""code":"rate_limit_exceeded"}}"#,
            ),
            Some((Rate, Some(1_500), Some("rate_limit_exceeded"))),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"message":"Request too large for m in organization o on tokens "#,
                r#"per min (TPM): Limit 30000, Requested 40000.","type":"tokens","param":null,"#,
                r#""code":"rate_limit_exceeded"}}"#,
            ),
            Some((TooLarge, None, Some("rate_limit_exceeded"))),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"message":"Rate limit reached for m on requests per day (RPD): "#,
                r#"Limit 200. Please try again in 7m12s.","type":"requests","#,
                r#""code":"rate_limit_exceeded"}}"#,
            ),
            Some((Day, Some(432_000), Some("rate_limit_exceeded"))),
        ),
        (
            429,
            &[("x-should-retry", "false")],
            concat!(
                r#"{"error":{"message":"You exceeded your current quota, "#,
                r#"please check your plan and billing details.","type":"insufficient_quota","#,
                r#""param":null,"code":"insufficient_quota"}}"#,
            ),
            Some((QuotaExhausted, None, Some("insufficient_quota"))),
        ),
        (
            429,
            NONE,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":null}}"#,
            Some((QuotaExhausted, None, Some("insufficient_quota"))),
        ),
        (
            429,
            NONE,
            r#"{"error":{"type":"tokens","code":"slow_down"}}"#,
            Some((Ramp, None, Some("slow_down"))),
        ),
        (
            503,
            NONE,
            r#"{"error":{"code":"slow_down"}}"#,
            Some((Ramp, None, Some("slow_down"))),
        ),
        (
            429,
            NONE,
            r#"{"error":{"message":"Resource Unavailable","code":null}}"#,
            Some((Capacity, None, None)),
        ),
        (
            429,
            &[("x-should-retry", "false"), ("retry-after", "3")],
            r#"{"error":{"code":"rate_limit_exceeded"}}"#,
            Some((Rate, Some(3_000), Some("rate_limit_exceeded"))),
        ),
        // Azure.
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"code":"429","message":"Requests have exceeded the token rate "#,
                r#"limit. Please retry after 5 seconds."}}"#,
            ),
            Some((Rate, Some(5_000), Some("429"))),
        ),
        // Anthropic.
        (
            429,
            &[("retry-after", "12")],
            concat!(
                r#"{"type":"error","error":{"type":"rate_limit_error","#,
                r#""message":"This request would exceed 50,000 input tokens per minute."},"#,
                r#""request_id":"r"}"#,
            ),
            Some((Rate, Some(12_000), Some("rate_limit_error"))),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"type":"error","error":{"type":"rate_limit_error","#,
                r#""message":"Over the acceleration limit: scale up gradually."}}"#,
            ),
            Some((Ramp, None, Some("rate_limit_error"))),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"type":"error","error":{"type":"rate_limit_error","#,
                r#""message":"Number of concurrent connections has exceeded your rate limit."}}"#,
            ),
            Some((Concurrency, None, Some("rate_limit_error"))),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"type":"error","error":{"type":"rate_limit_error","#,
                r#""details":{"error_code":"enforced_spend_limit_reached"}}}"#,
            ),
            Some((QuotaExhausted, None, Some("enforced_spend_limit_reached"))),
        ),
        (
            529,
            NONE,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Some((Capacity, None, Some("overloaded_error"))),
        ),
        (
            429,
            NONE,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            Some((Capacity, None, Some("overloaded_error"))),
        ),
        // DeepSeek.
        (
            402,
            NONE,
            concat!(
                r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","#,
                r#""code":"invalid_request_error"}}"#,
            ),
            Some((QuotaExhausted, None, Some("invalid_request_error"))),
        ),
        (
            429,
            NONE,
            r#"{"error":{"message":"You have reached your Concurrency limit"}}"#,
            Some((Concurrency, None, None)),
        ),
        // OpenRouter.
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"code":429,"message":"Provider returned error","#,
                r#""metadata":{"raw":"max concurrent calls","provider_code":"too_many"}}}"#,
            ),
            Some((Concurrency, None, Some("too_many"))),
        ),
        (
            429,
            &[("date", "Tue, 24 Nov 2026 05:09:30 GMT")],
            concat!(
                r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","#,
                r#""metadata":{"headers":{"X-RateLimit-Limit":50,"X-RateLimit-Remaining":"0","#,
                r#""X-RateLimit-Reset":"1795497000000","bad name":"1","bad":"\u0000","#,
                r#""worse":[]}}}}"#,
            ),
            Some((Rate, Some(30_000), Some("429"))),
        ),
        // Mistral.
        (
            429,
            NONE,
            concat!(
                r#"{"object":"error","message":"Service tier capacity exceeded for this "#,
                r#"model.","type":"invalid_request_error","param":null,"code":null}"#,
            ),
            Some((Capacity, None, Some("invalid_request_error"))),
        ),
        // Gemini.
        (
            429,
            NONE,
            concat!(
                r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","#,
                r#""message":"No capacity available for model on the server","#,
                r#""details":[{"reason":"MODEL_CAPACITY_EXHAUSTED"}]}}"#,
            ),
            Some((Capacity, None, Some("RESOURCE_EXHAUSTED"))),
        ),
        // The credits come before the month.
        (
            429,
            NONE,
            concat!(
                r#"{"code":"resource-exhausted","error":"Your team has used all available "#,
                r#"credits or reached its monthly spending limit."}"#,
            ),
            Some((QuotaExhausted, None, Some("resource-exhausted"))),
        ),
        // A month is longer than a day.
        (
            429,
            NONE,
            r#"{"message":"You have reached your monthly limit of requests"}"#,
            Some((Day, None, None)),
        ),
        (
            429,
            NONE,
            concat!(
                r#"{"message":"Rate limit exceeded. Ten times as much for $9 per month, "#,
                r#"or a monthly plan"}"#,
            ),
            Some((Rate, None, None)),
        ),
        // Others.
        (
            429,
            NONE,
            r#"{"message":"Requests rate limit exceeded","type":"rate","code":"1300"}"#,
            Some((Rate, None, Some("rate"))),
        ),
        (
            429,
            NONE,
            r#"{"__type":"ThrottlingException"}"#,
            Some((Rate, None, Some("ThrottlingException"))),
        ),
        (429, NONE, r#"{"error":"per day"}"#, Some((Day, None, None))),
        (
            429,
            NONE,
            r#"{"errors":[{"code":"slow_down"}]}"#,
            Some((Ramp, None, Some("slow_down"))),
        ),
        (
            429,
            NONE,
            r#"{"detail":"try again in 2s"}"#,
            Some((Rate, Some(2_000), None)),
        ),
        (
            429,
            NONE,
            r#""try again in 2s""#,
            Some((Rate, Some(2_000), None)),
        ),
        (
            429,
            NONE,
            r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","title":"t"}"#,
            Some((
                Capacity,
                None,
                Some("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"),
            )),
        ),
    ]);
}

#[test]
fn quota_exhausted_codes() {
    for code in [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
    ] {
        for body in [
            format!(r#"{{"error":{{"code":"{code}"}}}}"#),
            format!(r#"{{"error":{{"code":null,"type":"{code}"}}}}"#),
            format!(r#"{{"error":{{"message":"m","type":"x","code":"{code}","par"#),
        ] {
            for status in [429, 403, 503] {
                let told = told(status, NONE, body.as_bytes()).unwrap();
                assert_eq!(told.class, QuotaExhausted, "{status} {body}");
            }
        }
    }
    // Not if the prompt is quoted.
    let echo =
        r#"{"error":{"message":"bad: \"insufficient_quota\"","code":"rate_limit_exceeded"}}"#;
    for end in [echo.len(), echo.len() - 1] {
        let told = told(429, NONE, &echo.as_bytes()[..end]).unwrap();
        assert_eq!(told.class, Rate, "{}", &echo[..end]);
    }
}

const PER_DAY: &str = concat!(
    r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","#,
    r#""message":"You exceeded your current quota. Please retry in 37s.","details":[
 {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[
  {"quotaMetric":"m","quotaId":"GenerateContentInputTokensPerModelPerMinute-FreeTier"},
"#,
    r#"  {"quotaMetric":"m","quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","#,
    r#""quotaValue":"20"}]},
 {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#,
);

#[test]
fn daily_quota_ignores_short_waits() {
    let exhausted = Some("RESOURCE_EXHAUSTED");
    let per_minute = PER_DAY.replace("RequestsPerDay", "RequestsPerMinute");
    let fraction = per_minute.replace(r#""37s""#, r#""4.217s""#);
    let daily_words =
        per_minute.replace("You exceeded", "Other plans have 99 per day. You exceeded");
    let in_words = per_minute.replace("retryDelay", "delay");
    let day_first = PER_DAY
        .replace("RequestsPerDay", "RequestsPerMinute")
        .replace("TokensPerModelPerMinute", "TokensPerModelPerDay");
    let hint: Fields = &[("retry-after", "9")];
    for (fields, body, expected) in [
        (NONE, PER_DAY.to_owned(), (Day, None)),
        (NONE, format!("\n\n[{PER_DAY}\n]"), (Day, None)),
        (NONE, day_first, (Day, None)),
        (hint, PER_DAY.to_owned(), (Day, Some(9_000))),
        (NONE, per_minute.clone(), (Rate, Some(37_000))),
        (NONE, format!("[{per_minute}]"), (Rate, Some(37_000))),
        (NONE, fraction, (Rate, Some(4_217))),
        (hint, per_minute.clone(), (Rate, Some(9_000))),
        (NONE, daily_words, (Rate, Some(37_000))),
        (NONE, in_words, (Rate, Some(37_000))),
        // Truncated.
        (NONE, PER_DAY[..PER_DAY.len() - 2].to_owned(), (Day, None)),
        (
            NONE,
            per_minute[..per_minute.len() - 2].to_owned(),
            (Rate, Some(37_000)),
        ),
    ] {
        let told = told(429, fields, body.as_bytes()).unwrap();
        let wait = told.retry_after.map(|wait| wait.as_millis() as u64);
        assert_eq!((told.class, wait), expected, "{body}");
        assert_eq!(told.code.as_deref(), exhausted, "{body}");
    }
}

#[test]
fn exhausted_limit_sets_wait_and_day() {
    const FIVE_HOURS: u64 = 18_000_000;
    check(&[
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "8s"),
                ("x-ratelimit-remaining-tokens", "100"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            "",
            Some((Rate, Some(8_000), None)),
        ),
        // Of two the longer, since both are needed.
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "8s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "5h"),
            ],
            "try again in 1s",
            Some((Rate, Some(FIVE_HOURS), None)),
        ),
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "5h0.001s"),
            ],
            "",
            Some((Day, Some(FIVE_HOURS + 1), None)),
        ),
        (
            429,
            &[
                ("x-ratelimit-remaining-requests-day", "0"),
                ("retry-after", "5"),
            ],
            "",
            // A daily quota that refills continuously.
            Some((Rate, Some(5_000), None)),
        ),
        (
            429,
            &[("x-ratelimit-remaining-requests-day", "1")],
            "",
            Some((Rate, None, None)),
        ),
        (
            429,
            &[("x-ratelimit-remaining-month", "0")],
            "",
            Some((Day, None, None)),
        ),
        (
            429,
            &[("x-ratelimit-remaining-hour", "0")],
            "",
            Some((Rate, None, None)),
        ),
        (
            429,
            &[
                ("ratelimit", "\"calls\";r=0"),
                (
                    "ratelimit-policy",
                    "\"calls\";q=5;qu=\"concurrent-requests\"",
                ),
            ],
            "",
            Some((Concurrency, None, None)),
        ),
        // A dedicated header comes first, then the field in the body.
        (
            429,
            &[
                ("retry-after-ms", "1500"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "8s"),
            ],
            r#"{"error":{"details":[{"retryDelay":"4s"}]}}"#,
            Some((Rate, Some(1_500), None)),
        ),
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "8s"),
            ],
            r#"{"error":{"details":[{"retryDelay":"4s"}]}}"#,
            Some((Rate, Some(4_000), None)),
        ),
    ]);
}

#[test]
fn status_403_needs_a_limit_word() {
    check(&[
        (
            403,
            &[("retry-after", "60")],
            "",
            Some((Rate, Some(60_000), None)),
        ),
        (
            403,
            &[("x-ratelimit-remaining", "0")],
            "",
            Some((Rate, None, None)),
        ),
        (403, &[("x-ratelimit-remaining", "7")], "", None),
        (
            403,
            NONE,
            r#"{"message":"You have exceeded a secondary rate limit."}"#,
            Some((Rate, None, None)),
        ),
        (
            403,
            NONE,
            "Out of call volume quota.",
            Some((Rate, None, None)),
        ),
        (
            403,
            NONE,
            r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#,
            Some((Rate, None, Some("RESOURCE_EXHAUSTED"))),
        ),
        (
            403,
            NONE,
            r#"{"error":{"code":"forbidden","message":"no"}}"#,
            None,
        ),
        (403, &[("x-should-retry", "false")], "{", None),
        // Google's term for the billing project.
        (
            403,
            NONE,
            concat!(
                r#"{"error":{"code":403,"status":"PERMISSION_DENIED","#,
                r#""message":"This API requires a quota project, "#,
                r#"which is not set by default."}}"#,
            ),
            None,
        ),
        (
            403,
            NONE,
            r#"{"error":{"code":403,"message":"Quota exceeded for the quota project p."}}"#,
            Some((Rate, None, Some("403"))),
        ),
    ]);
}

#[test]
fn malformed_bodies() {
    let deep = "[".repeat(100_000);
    let huge = format!(
        r#"{{"error":{{"code":"insufficient_quota","message":"{}"#,
        "x".repeat(200_000)
    );
    let far = format!("{}\"insufficient_quota\"", " ".repeat(100_000));
    for (body, expected) in [
        (&b"null"[..], Rate),
        (b"[]", Rate),
        (b"{}", Rate),
        (b"429", Rate),
        (b"{\"error\":null}", Rate),
        (b"{\"error\":[]}", Rate),
        (
            b"{\"error\":{\"code\":{},\"message\":[],\"details\":{\"violations\":1}}}",
            Rate,
        ),
        (
            b"{\"error\":{\"details\":[1,{\"violations\":[2,{\"quotaId\":3}],\"retryDelay\":-1}]}}",
            Rate,
        ),
        (b"\xff\xfe\"slow_down\"", Ramp),
        (b"data: {\"error\":{\"code\":\"slow_down\"}}\n\n", Ramp),
        (b"<html>Too many concurrent requests</html>", Concurrency),
        (b"You may send 5 requests per day.", Day),
        (deep.as_bytes(), Rate),
        (huge.as_bytes(), QuotaExhausted),
        // No error is that long.
        (far.as_bytes(), Rate),
    ] {
        let told = told(429, NONE, body).unwrap();
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(told.class, expected, "{start}");
        assert_eq!(told.retry_after, None, "{start}");
    }
}

#[test]
fn truncates_between_characters() {
    let long = "\u{e9}".repeat(201);
    let body = format!(r#"{{"error":{{"code":"{long}","message":"  {long}"}}}}"#);
    let cut = "\u{e9}".repeat(200);
    for end in [body.len(), body.len() - 1] {
        let told = told(429, NONE, &body.as_bytes()[..end]).unwrap();
        assert_eq!(told.message.as_deref(), Some(&*cut));
    }
    let whole = told(429, NONE, body.as_bytes()).unwrap();
    assert_eq!(whole.code.as_deref(), Some(&*cut));
    let prose = told(429, NONE, b" slow \n").unwrap();
    assert_eq!(prose.message.as_deref(), Some("slow"));
    let blank = told(429, NONE, br#"{"error":{"code":"","message":" "}}"#).unwrap();
    assert_eq!((blank.code, blank.message), (None, None));
    let markup = told(429, NONE, b"<html>").unwrap();
    assert_eq!(markup.message, None);
}

#[test]
fn compressed_bodies_are_ignored() {
    let body = b"\x1f\x8b \"slow_down\" try again in 2s";
    for (encoding, expected) in [
        ("gzip", (Rate, None, None)),
        ("identity, br", (Rate, None, None)),
        (" Identity", (Ramp, Some(2_000), Some("slow_down"))),
    ] {
        let told = told(429, &[("content-encoding", encoding)], body).unwrap();
        let wait = told.retry_after.map(|wait| wait.as_millis() as u64);
        assert_eq!(
            (told.class, wait, told.code.as_deref()),
            expected,
            "{encoding}"
        );
        assert_eq!(told.message.is_none(), expected.2.is_none(), "{encoding}");
    }
}

/// Status, message, outcome, reason, seconds to wait.
type Wording = (
    u16,
    &'static str,
    Outcome,
    Option<ThrottleReason>,
    Option<f64>,
);

const fn long(status: u16, message: &'static str) -> Wording {
    (status, message, Outcome::ContextTooLong, None, None)
}

const fn money(status: u16, message: &'static str) -> Wording {
    let reason = Some(QuotaExhausted);
    (status, message, Outcome::QuotaExhausted, reason, None)
}

const fn day(message: &'static str, wait: Option<f64>) -> Wording {
    (429, message, Outcome::QuotaExhausted, Some(Day), wait)
}

const fn rate(message: &'static str, wait: Option<f64>) -> Wording {
    (429, message, Outcome::RateLimited, Some(Rate), wait)
}

const WORDINGS: &[Wording] = &[
    // Anthropic, OpenAI, SGLang.
    long(400, "prompt is too long: 213462 tokens > 200000 maximum"),
    long(400, "Your input exceeds the context window of this model."),
    long(
        400,
        "The input (60206 tokens) is longer than the model's context length (40960 tokens).",
    ),
    long(
        400,
        "Requested token count exceeds the model's maximum context length of 131072 tokens.",
    ),
    // Gemini, Vertex AI, xAI, Cerebras.
    long(
        400,
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).",
    ),
    long(
        400,
        "Unable to submit request because the input token count is 1251952 but model only \
            supports up to 1048576.",
    ),
    long(
        400,
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    ),
    long(
        400,
        "Please reduce the length of the messages or completion. Current length is 8701 while \
            limit is 8192",
    ),
    // Mistral, Cohere, Bedrock, GitHub Copilot.
    long(
        400,
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum \
            context length",
    ),
    long(
        400,
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292.",
    ),
    long(400, "Input is too long for requested model."),
    long(
        400,
        "prompt token count of 130102 exceeds the limit of 128000",
    ),
    // Z.AI, MiniMax, llama.cpp, Ollama.
    long(400, "Prompt exceeds max length"),
    long(400, "invalid params, context window exceeds limit (2013)"),
    long(
        400,
        "the request exceeds the available context size, try increasing it",
    ),
    long(500, "input length exceeds maximum context length"),
    // Others, of the same shape.
    long(400, "Range of input length should be [1, 30720]"),
    long(
        413,
        "Request body too large for gpt-4o model. Max size: 8000 tokens.",
    ),
    long(
        422,
        "decoder prompt (length 9000) is longer than the maximum model length of 8192",
    ),
    rate("Too many tokens, please wait before trying again.", None),
    rate(
        "Please reduce the prompt length or the maximum tokens requested",
        None,
    ),
    (
        400,
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        Outcome::ClientError,
        None,
        None,
    ),
    (
        413,
        "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested \
            12328, please reduce your message size and try again.",
        Outcome::ClientError,
        Some(TooLarge),
        None,
    ),
    (
        413,
        "Request exceeds the maximum size",
        Outcome::ClientError,
        None,
        None,
    ),
    money(
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
    ),
    money(
        400,
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 \
            at 00:00 UTC.",
    ),
    money(
        402,
        "This request requires more credits, or fewer max_tokens. You requested up to 65536 \
            tokens.",
    ),
    money(
        429,
        "Insufficient balance or no resource package. Please recharge.",
    ),
    money(500, "insufficient balance (1008)"),
    money(
        403,
        "Your team has either used all available credits or reached its monthly spending limit.",
    ),
    money(429, "Your prepayment credits are depleted."),
    money(403, "Your account has an overdue balance."),
    money(429, "Account suspended: not enough credits"),
    day(
        "Rate limit reached for m on requests per day (RPD): Limit 200, Used 200. Please try \
            again in 7m12s.",
        Some(432.0),
    ),
    day(
        "Rate limit reached for m on tokens per day (TPD): Limit 100000, Used 99000. Please try \
            again in 12m19.2s.",
        Some(739.2),
    ),
    day(
        "Too many tokens per day, please wait before trying again.",
        None,
    ),
    day(
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model \
            requests per day",
        None,
    ),
    day(
        "You are using a Trial key, which is limited to 1000 API calls / month.",
        None,
    ),
    rate(
        "Rate limit reached on requests per day (RPD): Limit 1000. Please try again in 86s.",
        Some(86.0),
    ),
    day(
        "Rate limit reached. Please try again in 9 hours.",
        Some(32_400.0),
    ),
    rate(
        "Rate limit reached for m on tokens per minute (TPM): Limit 6000, Used 5500. Please try \
            again in 10.5s.",
        Some(10.5),
    ),
    rate(
        "Rate limit is exceeded. Try again in 50 seconds.",
        Some(50.0),
    ),
    rate("You are sending too fast, please slow down.", None),
    rate(
        "Requests have exceeded the token rate limit of your tier. Please retry after 45 seconds.",
        Some(45.0),
    ),
    rate(
        "Rate limit of 10 per 60s exceeded for UserByModelByMinute. Please wait 38 seconds \
            before retrying.",
        Some(38.0),
    ),
    rate(
        "You exceeded your current quota, please check your plan and billing details. Please \
            retry in 37.2s.",
        Some(37.2),
    ),
    rate(
        "You have exhausted your API Request Quota. Retry after: 21 seconds.",
        Some(21.0),
    ),
];

#[test]
fn messages_are_read_by_their_shape() {
    for (status, message, outcome, reason, wait) in WORDINGS {
        let status = StatusCode::from_u16(*status).unwrap();
        let text = serde_json::to_string(message).unwrap();
        for body in [
            format!(r#"{{"error":{{"message":{text}}}}}"#),
            format!(r#"{{"message":{text},"code":"1113"}}"#),
            format!(r#"{{"detail":{}}}"#, text.to_uppercase()),
            format!(r#"{{"error":{{"message":"m","metadata":{{"raw":{text}}}}}}}"#),
            format!(r#"{{"error":{{"x":"\ud83d","y":NaN,"message":{text}"#),
            (*message).to_owned(),
        ] {
            // The upstream's own code has another first sentence.
            if body.contains("raw") && *reason == Some(TooLarge) {
                continue;
            }
            let read = Diagnosis::of(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(read.outcome, *outcome, "{status} {body}");
            let limit = read.limit.as_ref();
            assert_eq!(limit.map(|limit| limit.class), *reason, "{status} {body}");
            let told = limit.and_then(|limit| limit.retry_after);
            assert_eq!(
                told.map(|wait| wait.as_secs_f64()),
                *wait,
                "{status} {body}"
            );
        }
    }
}

#[test]
fn kind_and_reason_agree() {
    for status in [400, 401, 402, 403, 413, 422, 429, 498, 500, 502, 503, 529] {
        let status = StatusCode::from_u16(status).unwrap();
        for (_, message, ..) in WORDINGS {
            for code in [
                "m",
                "rate_limit_error",
                "overloaded_error",
                "api_error",
                "insufficient_quota",
            ] {
                let body = format!(r#"{{"error":{{"type":"{code}","message":"{message}"}}}}"#);
                let read = Diagnosis::of(status, &HeaderMap::new(), body.as_bytes());
                let reason = read.limit.map(|limit| limit.class.outcome());
                let is_limit = matches!(
                    read.outcome,
                    Outcome::RateLimited | Outcome::QuotaExhausted | Outcome::Overloaded
                );
                assert!(
                    reason == Some(read.outcome) || (reason.is_none() && !is_limit),
                    "{status} {body}"
                );
            }
        }
    }
}

#[test]
fn a_long_wait_is_the_quota_of_a_day() {
    check(&[
        (
            429,
            &[("retry-after", "86400")],
            "",
            Some((Day, Some(86_400_000), None)),
        ),
        (
            429,
            &[("retry-after-ms", "86400000")],
            r#"{"error":{"code":"rate_limit_exceeded","message":"on tokens per minute"}}"#,
            Some((Day, Some(86_400_000), Some("rate_limit_exceeded"))),
        ),
        (
            429,
            &[("retry-after", "18000")],
            "",
            Some((Rate, Some(18_000_000), None)),
        ),
        (
            503,
            &[("retry-after", "86400")],
            "",
            Some((Capacity, Some(86_400_000), None)),
        ),
        (
            402,
            &[("retry-after", "86400")],
            "",
            Some((QuotaExhausted, Some(86_400_000), None)),
        ),
    ]);
}

#[test]
fn errors_under_a_good_status() {
    let late = |body: &str| {
        let read = Diagnosis::of(None, &HeaderMap::new(), body.as_bytes());
        (read.status.as_u16(), read.outcome)
    };
    for (body, expected) in [
        (
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            (429, Outcome::QuotaExhausted),
        ),
        (
            r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
            (429, Outcome::RateLimited),
        ),
        (
            r#"{"choices":[{"finish_reason":"network_error"}]}"#,
            (500, Outcome::ServerError),
        ),
        (
            r#"{"choices":[{"finish_reason":"insufficient_system_resource"}]}"#,
            (503, Outcome::Overloaded),
        ),
        (
            r#"{"success":false,"code":500,"msg":"404 NOT_FOUND"}"#,
            (500, Outcome::ServerError),
        ),
        (
            r#"{"success":false,"errors":[{"code":3040,"message":"Capacity exceeded for now"}]}"#,
            (503, Outcome::Overloaded),
        ),
        (
            r#"{"error_code":17,"error_msg":"Open api daily request limit reached"}"#,
            (429, Outcome::QuotaExhausted),
        ),
        (
            r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            (400, Outcome::ContextTooLong),
        ),
    ] {
        assert_eq!(late(body), expected, "{body}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(
        status in prop::sample::select(vec![402_u16, 403, 429, 503, 529, 200]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in concat!(
            r#"(["{}:,\[\] ]|error|code|message|quotaId|PerDay|retryDelay|try again "#,
            r#"in|µ|[0-9.]{1,4}|s|m){0,30}"#,
        ),
        end in 0_usize..600,
        fields in "[ -~]{0,20}",
    ) {
        let cut = &PER_DAY.as_bytes()[..end.min(PER_DAY.len())];
        for body in [&bytes, text.as_bytes(), cut] {
            let fields = [("retry-after", &*fields), ("x-ratelimit-remaining", &*fields)];
            let told = told(status, &fields, body);
            prop_assert!(told.is_some() || status == 403 || status == 200);
            let status_code = StatusCode::from_u16(status).unwrap();
            let known = Diagnosis::of(status_code, &HeaderMap::new(), body);
            prop_assert!(known.outcome != Outcome::Success || status == 200);
            let late = Diagnosis::of(None, &HeaderMap::new(), body).status;
            prop_assert!(late.is_client_error() || late.is_server_error());
            for text in told.into_iter().flat_map(|told| [told.code, told.message]).flatten() {
                prop_assert!(!text.is_empty() && text.chars().count() <= 200);
            }
        }
    }
}
