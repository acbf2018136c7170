use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::http::headers::rate_limit::limits::{
    Dimension,
    Dimension::{Concurrency, InputTokens, OutputTokens, Requests, Tokens},
    RateLimits,
};

/// Tuesday, 24 November 2026, 05:09:30 GMT.
const NOW: u64 = 1_795_496_970;

type Fields = &'static [(&'static str, &'static str)];
/// Dimension, seconds of the period, limit, remainder, milliseconds to the reset.
type Row = (
    Dimension,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn read(fields: &[(&'static str, &str)]) -> Vec<Row> {
    let limits = RateLimits::from_headers_at(&headers(fields), at(NOW));
    let rows = limits.iter().map(|told| {
        (
            told.dimension,
            told.period.map(|period| period.as_secs()),
            told.limit,
            told.remaining,
            told.reset.map(|reset| reset.as_millis() as u64),
        )
    });
    rows.collect()
}

fn check(table: &[(Fields, &[Row])]) {
    for (fields, expected) in table {
        assert_eq!(read(fields), *expected, "{fields:?}");
    }
}

const MINUTE: Option<u64> = Some(60);
const DAY: Option<u64> = Some(86_400);

#[test]
fn providers_of_ai() {
    check(&[
        // OpenAI.
        (
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            &[
                (Requests, None, Some(60), Some(59), Some(1_000)),
                (Tokens, None, Some(150_000), Some(149_984), Some(360_000)),
            ],
        ),
        // Projects, beside the organization.
        (
            &[
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-limit-project-tokens", "9000"),
                ("x-ratelimit-remaining-project-tokens", "8000"),
                ("x-ratelimit-reset-project-tokens", "17ms"),
            ],
            &[
                (Tokens, None, Some(150_000), None, None),
                (Tokens, None, Some(9_000), Some(8_000), Some(17)),
            ],
        ),
        // Anthropic. The reset of tokens has passed.
        (
            &[
                ("retry-after", "12"),
                ("anthropic-ratelimit-requests-limit", "1000"),
                ("anthropic-ratelimit-requests-remaining", "999"),
                ("anthropic-ratelimit-requests-reset", "2026-11-24T05:10:00Z"),
                ("anthropic-ratelimit-tokens-limit", "100000"),
                ("anthropic-ratelimit-tokens-remaining", "99000"),
                ("anthropic-ratelimit-tokens-reset", "2026-11-24T05:09:29Z"),
                ("anthropic-ratelimit-input-tokens-limit", "80000"),
                ("anthropic-ratelimit-input-tokens-remaining", "79000"),
                (
                    "anthropic-ratelimit-input-tokens-reset",
                    "2026-11-24T06:09:31+01:00",
                ),
                ("anthropic-ratelimit-output-tokens-limit", "20000"),
                ("anthropic-ratelimit-output-tokens-remaining", "0"),
                (
                    "anthropic-ratelimit-output-tokens-reset",
                    "2026-11-24T05:09:30.25Z",
                ),
                ("anthropic-priority-input-tokens-limit", "1"),
                ("anthropic-priority-output-tokens-remaining", "1"),
                ("anthropic-fast-input-tokens-limit", "1"),
                ("anthropic-ratelimit-unified-5h-status", "allowed"),
                ("anthropic-ratelimit-unified-5h-reset", "1795497000"),
                ("anthropic-ratelimit-unified-reset", "1795497000"),
            ],
            &[
                (Requests, MINUTE, Some(1_000), Some(999), Some(30_000)),
                (Tokens, MINUTE, Some(100_000), Some(99_000), Some(0)),
                (InputTokens, MINUTE, Some(80_000), Some(79_000), Some(1_000)),
                (OutputTokens, MINUTE, Some(20_000), Some(0), Some(250)),
            ],
        ),
        // Azure: seconds without a unit; and an unknown limit.
        (
            &[
                ("x-ratelimit-limit-requests", "10"),
                ("x-ratelimit-remaining-requests", "9"),
                ("x-ratelimit-reset-requests", "10"),
                ("x-ratelimit-limit-tokens", "-1"),
                ("x-ratelimit-remaining-tokens", "-1"),
                ("x-ratelimit-reset-tokens", "0"),
            ],
            &[(Requests, None, Some(10), Some(9), Some(10_000))],
        ),
        (
            &[
                ("x-ratelimit-limit-tokens", "5000"),
                ("x-ratelimit-remaining-tokens", "-1"),
            ],
            &[],
        ),
        (
            &[
                ("x-ratelimit-limit-tokens", "5000"),
                ("x-ratelimit-reset-tokens", "-1"),
            ],
            &[(Tokens, None, Some(5_000), None, None)],
        ),
        // Groq.
        (
            &[
                ("retry-after", "2"),
                ("x-ratelimit-limit-requests", "14400"),
                ("x-ratelimit-limit-tokens", "18000"),
                ("x-ratelimit-remaining-requests", "14370"),
                ("x-ratelimit-remaining-tokens", "17997"),
                ("x-ratelimit-reset-requests", "2m59.56s"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ],
            &[
                (Requests, None, Some(14_400), Some(14_370), Some(179_560)),
                (Tokens, None, Some(18_000), Some(17_997), Some(7_660)),
            ],
        ),
        // Mistral.
        (
            &[
                ("x-ratelimit-limit-req-minute", "60"),
                ("x-ratelimit-remaining-req-minute", "58"),
                ("x-ratelimit-limit-tokens-minute", "500000"),
                ("x-ratelimit-remaining-tokens-minute", "499000"),
                ("x-ratelimit-tokens-query-cost", "38"),
            ],
            &[
                (Requests, MINUTE, Some(60), Some(58), None),
                (Tokens, MINUTE, Some(500_000), Some(499_000), None),
            ],
        ),
        // Cerebras.
        (
            &[
                ("x-ratelimit-limit-requests-day", "1000"),
                ("x-ratelimit-remaining-requests-day", "999"),
                ("x-ratelimit-reset-requests-day", "33011.382867"),
                ("x-ratelimit-limit-requests-minute", "30"),
                ("x-ratelimit-limit-tokens-minute", "60000"),
                ("x-ratelimit-remaining-tokens-minute", "59988"),
                ("x-ratelimit-reset-tokens-minute", "11.38"),
                ("x-ratelimit-limit-tokens-hour", "1000000"),
                ("x-ratelimit-limit-tokens-day", "2000000"),
            ],
            &[
                (Requests, DAY, Some(1_000), Some(999), Some(33_011_382)),
                (Requests, MINUTE, Some(30), None, None),
                (Tokens, MINUTE, Some(60_000), Some(59_988), Some(11_380)),
                (Tokens, Some(3_600), Some(1_000_000), None, None),
                (Tokens, DAY, Some(2_000_000), None, None),
            ],
        ),
    ]);
}

#[test]
fn other_spellings_of_names() {
    check(&[
        (
            &[
                ("x-rate-limit-limit", "100"),
                ("x-rate-limit-remaining", "7"),
                ("x-rate-limit-reset", "30"),
            ],
            &[(Requests, None, Some(100), Some(7), Some(30_000))],
        ),
        (
            &[
                ("x-rate-limit-limit-tokens", "100"),
                ("x-rate-limit-remaining-tokens", "7"),
                ("x-rate-limit-reset-tokens", "1m0s"),
                ("x-rate-limit-remaining-requests-day", "3"),
            ],
            &[
                (Tokens, None, Some(100), Some(7), Some(60_000)),
                (Requests, DAY, None, Some(3), None),
            ],
        ),
        (
            &[
                ("x-ratelimit-requests-limit", "100"),
                ("x-ratelimit-requests-remaining", "7"),
                ("x-rate-limit-input-tokens-remaining", "5"),
                ("x-rate-limit-minute-remaining", "4"),
            ],
            &[
                (Requests, None, Some(100), Some(7), None),
                (InputTokens, None, None, Some(5), None),
                (Requests, MINUTE, None, Some(4), None),
            ],
        ),
        // The usual spelling counts if there are both.
        (
            &[("x-rate-limit-limit", "9"), ("x-ratelimit-limit", "8")],
            &[(Requests, None, Some(8), None, None)],
        ),
        (&[("x-rate-limit", "9"), ("x-rate-limit-cost", "8")], &[]),
    ]);
}

#[test]
fn drafts_of_the_ietf() {
    check(&[
        // Up to 06.
        (
            &[
                ("RateLimit-Limit", "100"),
                ("RateLimit-Remaining", "50"),
                ("RateLimit-Reset", "50"),
            ],
            &[(Requests, None, Some(100), Some(50), Some(50_000))],
        ),
        (
            &[
                ("RateLimit-Limit", "10, 10;w=1, 50;w=60"),
                ("RateLimit-Remaining", "7"),
            ],
            &[
                (Requests, Some(1), Some(10), Some(7), None),
                (Requests, MINUTE, Some(50), None, None),
            ],
        ),
        (
            &[
                ("RateLimit-Limit", "1000"),
                ("RateLimit-Reset", "8"),
                ("RateLimit-Policy", "10;w=1"),
                ("RateLimit-Policy", "1000;w=3600;comment=\"an hour\""),
            ],
            &[
                (Requests, Some(3_600), Some(1_000), None, Some(8_000)),
                (Requests, Some(1), Some(10), None, None),
            ],
        ),
        (
            &[("RateLimit-Policy", "1000;w=3600")],
            &[(Requests, Some(3_600), Some(1_000), None, None)],
        ),
        (
            &[("RateLimit-Limit", "100;w=60")],
            &[(Requests, MINUTE, Some(100), None, None)],
        ),
        // 07.
        (
            &[
                ("RateLimit", "limit=100, remaining=50, reset=5"),
                ("RateLimit-Policy", "100;w=60"),
            ],
            &[(Requests, MINUTE, Some(100), Some(50), Some(5_000))],
        ),
        (
            &[("RateLimit", "limit=100, remaining=50, reset=5, new=1")],
            &[(Requests, None, Some(100), Some(50), Some(5_000))],
        ),
        // 08 and later.
        (
            &[
                (
                    "RateLimit-Policy",
                    r#""burst";q=100;w=60,"daily";q=1000;w=86400"#,
                ),
                ("RateLimit", r#""daily";r=50;t=30"#),
            ],
            &[
                (Requests, DAY, Some(1_000), Some(50), Some(30_000)),
                (Requests, MINUTE, Some(100), None, None),
            ],
        ),
        (
            &[("RateLimit", r#""default";r=50;t=30"#)],
            &[(Requests, None, None, Some(50), Some(30_000))],
        ),
        (
            &[
                ("RateLimit", r#""a\"b";r=0;pk=:cHNrLi4u:;other"#),
                (
                    "RateLimit-Policy",
                    r#""a\"b";q=100;w=60;qu="requests";pk=:cHNrLi4u:"#,
                ),
            ],
            &[(Requests, MINUTE, Some(100), Some(0), None)],
        ),
        // Units, and names with "tokens".
        (
            &[
                (
                    "RateLimit-Policy",
                    r#""a";q=9;qu="concurrent-requests", "b";q=1;qu="content-bytes""#,
                ),
                ("RateLimit-Policy", r#""c";q=7;qu="tokens";w=60"#),
                (
                    "RateLimit-Policy",
                    r#""input-tokens";q=5;w=60, "Output Tokens";q=4;w=60"#,
                ),
                (
                    "RateLimit-Policy",
                    r#""token-calls";q=3;w=60;qu="requests""#,
                ),
                ("RateLimit", r#""a";r=2, "b";r=1, "c";r=6;t=1"#),
            ],
            &[
                (Concurrency, None, Some(9), Some(2), None),
                (Tokens, MINUTE, Some(7), Some(6), Some(1_000)),
                (InputTokens, MINUTE, Some(5), None, None),
                (OutputTokens, MINUTE, Some(4), None, None),
                (Requests, MINUTE, Some(3), None, None),
            ],
        ),
        // Names of the next draft.
        (
            &[
                ("RateLimit-Policy", "default;q=100;w=60"),
                ("RateLimit", "default;a=50;w=30"),
            ],
            &[(Requests, MINUTE, Some(100), Some(50), Some(30_000))],
        ),
        // Of a duplicate parameter the last counts, even if it is invalid.
        (
            &[("RateLimit", r#""x";r=1;r=2;t=3;t="4""#)],
            &[(Requests, None, None, Some(2), None)],
        ),
        // A malformed field, or a missing part.
        (&[("RateLimit", r#""default";r=50;t=30,"#)], &[]),
        (&[("RateLimit", r#""default;r=50"#)], &[]),
        (&[("RateLimit", r#""default";t=30"#)], &[]),
        (&[("RateLimit", r#"("default");r=50"#)], &[]),
        (&[("RateLimit", r#""default";r=5.0"#)], &[]),
        (&[("RateLimit", "limit=(100), remaining=50")], &[]),
        (&[("RateLimit", "")], &[]),
        (&[("RateLimit-Policy", r#""default";w=60"#)], &[]),
        (&[("RateLimit-Policy", "1.5;w=60, ?1")], &[]),
        (
            &[
                ("RateLimit", r#""default";r=50"#),
                ("RateLimit-Policy", "\"default\";q=100;;"),
                ("RateLimit-Limit", "7"),
            ],
            &[(Requests, None, None, Some(50), None)],
        ),
        // A negative quota is ignored, and so is an empty window.
        (&[("RateLimit", r#""default";r=-1;t=5"#)], &[]),
        (
            &[("RateLimit-Policy", r#""default";q=-1;w=60, -1;w=60"#)],
            &[],
        ),
        (
            &[("RateLimit-Policy", r#""default";q=5;w=0, "other";q=6;w=-1"#)],
            &[
                (Requests, None, Some(5), None, None),
                (Requests, None, Some(6), None, None),
            ],
        ),
    ]);
}

#[test]
fn legacy_headers() {
    check(&[
        // GitHub.
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "4987"),
                ("x-ratelimit-reset", "1795497000"),
                ("x-ratelimit-used", "13"),
                ("x-ratelimit-resource", "core"),
            ],
            &[(Requests, None, Some(5_000), Some(4_987), Some(30_000))],
        ),
        // Discord.
        (
            &[
                ("X-RateLimit-Limit", "5"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "1795497970.123"),
                ("X-RateLimit-Reset-After", "1.5"),
                ("X-RateLimit-Bucket", "abcd1234"),
            ],
            &[(Requests, None, Some(5), Some(0), Some(1_500))],
        ),
        (
            &[("X-RateLimit-Reset", "1795496971.5")],
            &[(Requests, None, None, None, Some(1_500))],
        ),
        // Reddit.
        (
            &[
                ("X-Ratelimit-Used", "2"),
                ("X-Ratelimit-Remaining", "598.0"),
                ("X-Ratelimit-Reset", "487"),
            ],
            &[(Requests, None, None, Some(598), Some(487_000))],
        ),
        // Envoy.
        (
            &[
                ("x-ratelimit-limit", "10, 10;w=1;name=\"per-ip\", 600;w=60"),
                ("x-ratelimit-remaining", "9"),
                ("x-ratelimit-reset", "1"),
            ],
            &[
                (Requests, Some(1), Some(10), Some(9), Some(1_000)),
                (Requests, MINUTE, Some(600), None, None),
            ],
        ),
        // Atlassian.
        (
            &[
                ("X-RateLimit-Limit", "100"),
                ("X-RateLimit-Remaining", "20"),
                ("X-RateLimit-Reset", "2026-11-24T05:10Z"),
            ],
            &[(Requests, None, Some(100), Some(20), Some(30_000))],
        ),
        // OpenRouter.
        (
            &[
                ("X-RateLimit-Limit", "20"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "1795496970500"),
            ],
            &[(Requests, None, Some(20), Some(0), Some(500))],
        ),
        // Kong.
        (
            &[
                ("X-RateLimit-Limit-Minute", "20"),
                ("X-RateLimit-Remaining-Minute", "19"),
                ("X-RateLimit-Limit-Second", "5"),
                ("X-RateLimit-Limit-Hour", "500"),
                ("X-RateLimit-Limit-Month", "9000"),
                ("X-RateLimit-Limit-Year", "90000"),
                ("RateLimit-Limit", "20"),
                ("RateLimit-Remaining", "19"),
                ("RateLimit-Reset", "47"),
            ],
            &[
                (Requests, None, Some(20), Some(19), Some(47_000)),
                (Requests, MINUTE, Some(20), Some(19), None),
                (Requests, Some(1), Some(5), None, None),
                (Requests, Some(3_600), Some(500), None, None),
                (Requests, Some(30 * 86_400), Some(9_000), None, None),
                (Requests, Some(365 * 86_400), Some(90_000), None, None),
            ],
        ),
    ]);
}

#[test]
fn first_family_of_a_limit_counts() {
    check(&[
        (
            &[
                ("x-ratelimit-limit", "1"),
                ("ratelimit-limit", "2"),
                ("ratelimit", "limit=3"),
            ],
            &[(Requests, None, Some(3), None, None)],
        ),
        (
            &[
                ("x-ratelimit-limit", "1"),
                ("ratelimit-limit", "2"),
                ("ratelimit", "\"x\";r=4"),
                ("x-ratelimit-limit-requests", "5"),
            ],
            &[(Requests, None, Some(5), None, None)],
        ),
        (
            &[
                ("x-ratelimit-limit-requests-minute", "5"),
                ("x-ratelimit-limit-minute", "7"),
                ("anthropic-ratelimit-requests-limit", "6"),
                ("x-ratelimit-limit-tokens", "8"),
            ],
            &[
                (Requests, MINUTE, Some(6), None, None),
                (Tokens, None, Some(8), None, None),
            ],
        ),
        // An unknown limit does not hide the next.
        (
            &[
                ("x-ratelimit-limit-requests", "-1"),
                ("x-ratelimit-limit", "1"),
            ],
            &[(Requests, None, Some(1), None, None)],
        ),
    ]);
}

#[test]
fn resets() {
    const YEARS: u64 = 1_000_000_000;
    let table: &[(&str, Option<Duration>)] = &[
        ("0", Some(Duration::ZERO)),
        ("1.25", Some(Duration::from_millis(1_250))),
        ("999999999", Some(Duration::from_secs(YEARS - 1))),
        // Since the Unix epoch: passed.
        ("1000000000", Some(Duration::ZERO)),
        ("1795496971", Some(Duration::from_secs(1))),
        (
            "999999999999",
            Some(Duration::from_secs(999_999_999_999 - NOW)),
        ),
        ("1000000000000", Some(Duration::ZERO)),
        ("1795496970001.5", Some(Duration::from_nanos(1_500_000))),
        (
            "999999999999999999999999999999",
            Some(Duration::new(u64::MAX / 1_000 - NOW, 615_000_000)),
        ),
        ("0s", Some(Duration::ZERO)),
        ("1h0m0.5s", Some(Duration::from_millis(3_600_500))),
        ("250\u{b5}s", Some(Duration::from_micros(250))),
        ("2026-11-24T05:09:31Z", Some(Duration::from_secs(1))),
        ("2026-11-24T05:09:31.000000001Z", Some(Duration::new(1, 1))),
        ("2026-11-24T05:09:31-00:00", Some(Duration::from_secs(1))),
        ("1969-11-24T05:09:31Z", Some(Duration::ZERO)),
        ("-000001-01-01T00:00:00Z", Some(Duration::ZERO)),
        (
            "Tue, 24 Nov 2026 05:10:30 GMT",
            Some(Duration::from_secs(60)),
        ),
        (
            "Tuesday, 24-Nov-26 05:10:30 GMT",
            Some(Duration::from_secs(60)),
        ),
        ("Tue Nov 24 05:10:30 2026", Some(Duration::from_secs(60))),
        ("2026-11-24T05:09:31", None),
        ("2026-11-24", None),
        ("99999-01-01T00:00:00Z", None),
        ("2026-13-24T05:09:31Z", None),
        ("Mon, 24 Nov 2026 05:10:30 GMT", None),
        ("", None),
        ("-1", None),
        ("-1s", None),
        ("+1", None),
        ("NaN", None),
        ("inf", None),
        ("1e9", None),
        ("1,5", None),
        ("soon", None),
        ("5 s", None),
    ];
    for (text, expected) in table {
        let fields = [
            ("x-ratelimit-limit-requests", "1"),
            ("x-ratelimit-reset-requests", *text),
        ];
        let limits = RateLimits::from_headers_at(&headers(&fields), at(NOW));
        assert_eq!(limits.iter().next().unwrap().reset, *expected, "{text:?}");
    }
}

#[test]
fn instants_are_relative_to_the_date_header() {
    for (reset, expected) in [
        ("1795497000", 30_000),
        ("1795497000500", 30_500),
        ("2026-11-24T05:10:00Z", 30_000),
        ("Tue, 24 Nov 2026 05:10:00 GMT", 30_000),
        ("30", 30_000),
        ("30s", 30_000),
    ] {
        let fields = [
            ("date", "Tue, 24 Nov 2026 05:09:30 GMT"),
            ("x-ratelimit-reset", reset),
        ];
        let never = || -> SystemTime { panic!("the clock was read for {reset}") };
        let limits = RateLimits::read(&headers(&fields), &never);
        let told = limits.iter().next().unwrap().reset;
        assert_eq!(told, Some(Duration::from_millis(expected)), "{reset}");
    }
    let long_past = headers(&[("x-ratelimit-reset", "1000000001")]);
    let limits = RateLimits::from_headers(&long_past);
    assert_eq!(limits.iter().next().unwrap().reset, Some(Duration::ZERO));
}

#[test]
fn cached_responses_are_ignored() {
    for (age, expected) in [
        ("0", true),
        ("", true),
        ("-1", true),
        ("soon", true),
        ("1", false),
        (" 60 ", false),
    ] {
        let fields = [
            ("age", age),
            ("ratelimit", r#""a";r=5;t=9"#),
            ("x-ratelimit-limit-tokens", "7"),
        ];
        assert_eq!(!read(&fields).is_empty(), expected, "{age:?}");
    }
    let huge = [
        ("age", "99999999999999999999999"),
        ("ratelimit", r#""a";r=5"#),
    ];
    assert_eq!(read(&huge), []);
}

#[test]
fn hostile_numbers() {
    let huge = Some(u64::MAX);
    type Expected = Option<(Option<u64>, Option<u64>)>;
    let table: &[(&str, &str, Expected)] = &[
        ("0", "0", Some((Some(0), Some(0)))),
        ("0", "1", Some((Some(0), None))),
        ("10", "11", Some((Some(10), None))),
        ("10", "10", Some((Some(10), Some(10)))),
        ("18446744073709551615", "1", Some((huge, Some(1)))),
        (
            "18446744073709551616",
            "99999999999999999999999",
            Some((huge, huge)),
        ),
        ("5.9", "5.", Some((Some(5), Some(5)))),
        ("", "3", Some((None, Some(3)))),
        ("NaN", "3", Some((None, Some(3)))),
        ("inf", "3", Some((None, Some(3)))),
        ("1e3", "3", Some((None, Some(3)))),
        ("+5", "3", Some((None, Some(3)))),
        (".5", "3", Some((None, Some(3)))),
        ("1,000", "3", Some((None, Some(3)))),
        ("5, 10", "3", Some((None, Some(3)))),
        ("\u{b2}", "3", Some((None, Some(3)))),
        ("many", "some", None),
        ("-1", "3", None),
        ("3", "-0", None),
        ("3", "-99999999999999999999999", None),
        ("3", "--1", Some((Some(3), None))),
        ("3", "-", Some((Some(3), None))),
    ];
    for (limit, remaining, expected) in table {
        for names in [
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"],
            ["x-ratelimit-limit", "x-ratelimit-remaining"],
            ["ratelimit-limit", "ratelimit-remaining"],
            [
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-remaining",
            ],
        ] {
            let rows = read(&[(names[0], *limit), (names[1], *remaining)]);
            let told = rows.first().map(|row| (row.2, row.3));
            assert_eq!(told, *expected, "{}: {limit:?}, {remaining:?}", names[0]);
        }
    }
}

#[test]
fn most_restrictive_repeated_header_counts() {
    for names in [
        [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ],
        [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ],
    ] {
        let [limit, remaining, reset] = names;
        let rows = read(&[
            (limit, "10"),
            (limit, "8"),
            (limit, "many"),
            (remaining, "3"),
            (remaining, "4"),
            (reset, "1"),
            (reset, "9"),
            (reset, "soon"),
        ]);
        let told: Vec<_> = rows.iter().map(|row| (row.2, row.3, row.4)).collect();
        assert_eq!(told, [(Some(8), Some(3), Some(9_000))], "{limit}");
    }
}

#[test]
fn excess_limits_are_dropped() {
    let policies: Vec<String> = (1..5_000).map(|n| format!("{n};w={n}")).collect();
    let policies = policies.join(", ");
    let rows = read(&[("ratelimit-policy", &policies)]);
    assert_eq!(rows.len(), RateLimits::MOST);
    assert_eq!(rows[7], (Requests, Some(8), Some(8), None, None));
}

#[test]
fn similar_names_are_ignored() {
    for name in [
        "x-ratelimit",
        "x-ratelimit-",
        "x-ratelimit-limit-",
        "x-ratelimit-limit-bytes",
        "x-ratelimit-limit-project-",
        "x-ratelimit-limit-requests-",
        "x-ratelimit-limit-requests-fortnight",
        "x-ratelimit-limit-requests-day-day",
        "x-ratelimit-most-requests",
        "x-ratelimit-limit-after",
        "x-ratelimit-tokens-query-cost",
        "anthropic-ratelimit-",
        "anthropic-ratelimit-tokens",
        "anthropic-ratelimit-tokens-",
        "anthropic-ratelimit-tokens-used",
        "anthropic-ratelimit-bytes-limit",
        "ratelimit-used",
        "ratelimits",
    ] {
        assert_eq!(read(&[(name, "5")]), [], "{name}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(
        name in "(x-|anthropic-)?ratelimit(-(limit|remaining|reset|policy|requests|tokens|minute|\
            after)){0,3}",
        value in proptest::collection::vec(any::<u8>(), 0..40),
        text in r#"[-0-9.,;="a-zµTZ: ]{0,40}"#,
        structured in r#"("[a-z]{1,3}"(;[qrtwa]=-?[0-9]{1,16}){0,4}(, ?)?){0,4}"#,
        reset in "[-0-9:TZ.+]{0,30}",
        date in "[ -~]{0,30}",
    ) {
        let mut headers = HeaderMap::new();
        let names = [
            &name, "ratelimit", "ratelimit-policy", "ratelimit-limit", "x-ratelimit-limit",
            "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
        ];
        for name in names {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            for value in [&value, text.as_bytes(), structured.as_bytes(), reset.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(name.clone(), value.clone());
                    let mut alone = HeaderMap::new();
                    alone.insert(name.clone(), value);
                    alone.insert("date", HeaderValue::from_str(&date).unwrap());
                    let _ = RateLimits::from_headers_at(&alone, at(NOW));
                }
            }
        }
        for told in RateLimits::from_headers_at(&headers, at(NOW)).iter() {
            if let (Some(limit), Some(remaining)) = (told.limit, told.remaining) {
                prop_assert!(remaining <= limit);
            }
        }
    }
}
