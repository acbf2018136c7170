use http_body_util::{BodyExt, Full};
use proptest::prelude::*;

use super::*;

const DEFAULT: u64 = 1_024;

fn by_length(body: &'static str) -> Tokens {
    ByLength::new().estimate(&body)
}

#[test]
fn requests_of_every_known_api() {
    let table = [
        // OpenAI, chat completions
        (
            r#"{"model": "m", "messages": [{"role": "system", "content": "abcd"},
                {"role": "user", "content": [{"type": "text", "text": "efgh"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}"#,
            (1_002, DEFAULT),
        ),
        (
            concat!(
                r#"{"messages": [{"content": "a"}], "max_tokens": 7, "max_completion_tokens": "#,
                r#"5, "n": 3}"#,
            ),
            (1, 15),
        ),
        (
            r#"{"messages": [{"content": "a"}], "tools": [{"type": "function"}]}"#,
            (6, DEFAULT),
        ),
        (r#"{"messages": [{"content": null}]}"#, (0, DEFAULT)),
        // OpenAI, responses
        (
            r#"{"model": "m", "input": "abcde", "instructions": "fgh"}"#,
            (2, DEFAULT),
        ),
        (
            r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "abcd"}]}],
                "max_output_tokens": 9}"#,
            (1, 9),
        ),
        (
            r#"{"input": "abcd", "encoding_format": "float", "max_output_tokens": 9}"#,
            (1, 9),
        ),
        // OpenAI, embeddings
        (
            r#"{"model": "text-embedding-3-small", "input": "abcd"}"#,
            (1, 0),
        ),
        (r#"{"model": "m", "input": ["abcd", "efgh"]}"#, (2, 0)),
        (r#"{"model": "m", "input": [1, 2, 3]}"#, (3, 0)),
        (r#"{"model": "m", "input": [[1, 2], [3]]}"#, (3, 0)),
        (r#"{"model": "m", "input": "a", "dimensions": 256}"#, (1, 0)),
        (
            r#"{"model": "m", "input": "a", "dimensions": null}"#,
            (1, DEFAULT),
        ),
        // OpenAI, legacy completions
        (
            r#"{"prompt": "abcd", "max_tokens": 16, "best_of": 2}"#,
            (1, 32),
        ),
        (
            r#"{"prompt": ["abcd", "efgh"], "max_tokens": 16, "n": 3, "best_of": 2}"#,
            (2, 96),
        ),
        (r#"{"prompt": [1, 2, 3], "max_tokens": 16}"#, (3, 16)),
        (r#"{"prompt": [[1, 2], [3]], "max_tokens": 16}"#, (3, 32)),
        // Anthropic, messages
        (
            r#"{"model": "m", "max_tokens": 100, "system": [{"type": "text", "text": "abcd"}],
                "messages": [{"role": "user", "content": [{"type": "image", "source":
                {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f",
                "input": {"a": 1}}]}], "tools": [{}]}"#,
            (1_004, 100),
        ),
        // Gemini
        (
            r#"{"systemInstruction": {"parts": [{"text": "abcd"}]},
                "contents": [{"role": "user", "parts": [{"text": "日本"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}],
                "generationConfig": {"maxOutputTokens": 10, "candidateCount": 2}}"#,
            (1_003, 20),
        ),
        (
            r#"{"contents": [], "generation_config": {"max_output_tokens": 10}}"#,
            (0, 10),
        ),
        (
            r#"{"contents": [], "generationConfig": null}"#,
            (0, DEFAULT),
        ),
        // Response schemas
        (
            r#"{"contents": [], "generationConfig": {"responseSchema": {"type": "OBJECT"}}}"#,
            (5, DEFAULT),
        ),
        (
            r#"{"contents": [], "generationConfig": {"responseJsonSchema": {"type": "object"}}}"#,
            (5, DEFAULT),
        ),
        (
            r#"{"contents": [], "generation_config": {"response_schema": {"type": "OBJECT"}}}"#,
            (5, DEFAULT),
        ),
        (
            r#"{"messages": [], "max_tokens": 5, "output_format": {"type": "json_schema"}}"#,
            (6, 5),
        ),
        (
            r#"{"messages": [], "max_tokens": 5, "output_config": {"format": {"a": 1}}}"#,
            (5, 5),
        ),
        // Bedrock, converse
        (
            concat!(
                r#"{"system": [{"text": "abcd"}], "messages": [{"role": "user", "content": "#,
                r#"[{"text": "efgh"},
                {"image": {"format": "png", "source": {"bytes": "AAAA"}}}]}],
                "inferenceConfig": {"maxTokens": 30, "temperature": 0.5},
                "toolConfig": {"tools": [{}]}}"#,
            ),
            (1_007, 30),
        ),
        (r#"{"content": {"parts": [{"text": "abcd"}]}}"#, (1, 0)),
    ];
    for (body, (input, output)) in table {
        assert_eq!(by_length(body), Tokens::new(input, output), "{body}");
    }
}

#[test]
fn edge_cases() {
    let table = [
        ("0", 0),
        ("-1", DEFAULT),
        ("null", DEFAULT),
        ("\"5\"", DEFAULT),
        ("[5]", DEFAULT),
        ("{}", DEFAULT),
        ("1.5", 2),
        ("1e3", 1_000),
        ("1e30", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("NaN", DEFAULT),
    ];
    for (number, output) in table {
        let body = format!(r#"{{"prompt": "a", "max_tokens": {number}}}"#);
        assert_eq!(ByLength::new().estimate(&body).output, output, "{body}");
    }
    let table = [
        ("0", 10),
        ("-3", 10),
        ("null", 10),
        ("2.5", 30),
        ("18446744073709551615", u64::MAX),
    ];
    for (number, output) in table {
        let body = format!(r#"{{"prompt": "a", "max_tokens": 10, "n": {number}}}"#);
        assert_eq!(ByLength::new().estimate(&body).output, output, "{body}");
    }
}

#[test]
fn number_out_of_range_is_huge_or_invalid() {
    // Depends on the features of `serde_json`.
    let output = by_length(r#"{"prompt": "a", "max_tokens": 1e999}"#).output;
    assert!([DEFAULT, u64::MAX].contains(&output), "{output}");
}

#[test]
fn invalid_limit_falls_back_to_the_next() {
    let body = r#"{"prompt": "a", "max_completion_tokens": null, "max_tokens": 3}"#;
    assert_eq!(by_length(body).output, 3);
    let body = r#"{"prompt": "a", "max_tokens": 3, "max_tokens": 4}"#;
    assert_eq!(by_length(body).output, 4);
}

#[test]
fn unreadable_bodies_are_estimated_by_size() {
    for body in [
        "plain text",
        "{",
        "[]",
        "{}",
        "null",
        r#"{"file": "f", "max": 1}"#,
        r#"{"messages": "#,
    ] {
        let body = body.to_owned();
        let input = (body.len() as u64).div_ceil(4);
        let expected = Tokens::new(input, DEFAULT);
        assert_eq!(ByLength::new().estimate(&body), expected, "{body}");
        let given = ByLength::new().default_input(7).default_output(8);
        assert_eq!(given.estimate(&body), Tokens::new(7, 8), "{body}");
    }
    assert_eq!(
        by_length(r#"{"audio": "f", "max_tokens": 5}"#),
        Tokens::new(8, 5)
    );
}

#[test]
fn malformed_json_hides_no_member() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = format!(r#"{{"messages":{deep},"max_tokens":16000}}"#);
    for (body, input) in [
        (&br#"{"prompt":"cut \ud83d","max_tokens":16000}"#[..], 3),
        (br#"{"max_tokens":16000,"prompt":"\ud83d\ud83d\ude00"}"#, 5),
        (b"{\"prompt\":\"abc\xff\",\"max_tokens\":16000}", 2),
        (b"\xef\xbb\xbf{\"prompt\":\"abcd\",\"max_tokens\":16000}", 1),
        (
            br#"{"prompt":"abcd","temperature":NaN,"max_tokens":16000}"#,
            1,
        ),
        (br#"{"prompt":"abcd","max_tokens":16000} more"#, 1),
        (br#"{"max_tokens":16000,"prompt":"abcdefgh"#, 2),
        (
            br#"{"prompt":"a","prompt":"bcd","max_tokens":1,"max_tokens":16000}"#,
            1,
        ),
        // All but the outer brackets, as they are written.
        (deep.as_bytes(), 84),
    ] {
        let text = String::from_utf8_lossy(body);
        let expected = Tokens::new(input, 16_000);
        assert_eq!(ByLength::new().estimate(&body.to_vec()), expected, "{text}");
    }
}

#[test]
fn audio_is_not_estimated_by_size() {
    let mut form = b"--b\r\nContent-Type: audio/wav\r\n\r\nRIFF\xff\xfe".to_vec();
    form.resize(5_000_000, 0);
    assert_eq!(ByLength::new().estimate(&form), Tokens::new(1_000, DEFAULT));
    let given = ByLength::new().default_input(7);
    assert_eq!(given.estimate(&form).input, 7);
    // Text of that length counts by its length.
    let text = "a".repeat(5_000_000);
    assert_eq!(ByLength::new().estimate(&text).input, 1_250_000);
}

#[test]
fn deep_nesting_outside_texts_is_ignored() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let body = format!(r#"{{"metadata": {deep}, "prompt": "abcd"}}"#);
    assert_eq!(ByLength::new().estimate(&body), Tokens::new(1, DEFAULT));
}

#[test]
fn streams_are_a_guess_and_no_body_is_zero() {
    let streamed = || Full::new(bytes::Bytes::from("abc")).boxed();
    assert_eq!(
        ByLength::new().estimate(&streamed()),
        Tokens::new(1_000, DEFAULT)
    );
    let given = ByLength::new().default_input(7).default_output(8);
    assert_eq!(given.estimate(&streamed()), Tokens::new(7, 8));
    assert_eq!(given.model(&streamed()), None);
    assert_eq!(given.estimate(&()), Tokens::default());
}

#[test]
fn settings_change_the_estimate() {
    let body = r#"{"messages": ["abcdefgh", {"image_url": "a"}, {"image_url": "b"}]}"#;
    let estimate = ByLength::new().bytes_per_token(3).tokens_per_image(10);
    assert_eq!(estimate.estimate(&body).input, 3 + 20);
    assert_eq!(ByLength::new().bytes_per_token(0).estimate(&"abc").input, 3);
    let most = ByLength::new().tokens_per_image(u64::MAX);
    assert_eq!(most.estimate(&body).input, u64::MAX);
    let most = ByLength::new().default_output(u64::MAX);
    assert_eq!(
        most.estimate(&r#"{"prompt": "a", "n": 2}"#).output,
        u64::MAX
    );
}

#[test]
fn model_is_found_at_any_position() {
    let table = [
        (r#"{"model": "a"}"#, Some("a")),
        (r#"{"messages": [{"model": "b"}], "model": "a"}"#, Some("a")),
        (r#"{"mod\u0065l": "\u0061"}"#, Some("a")),
        (r#"{"model": "a", "messages": "#, Some("a")),
        (r#"{"model": 5, "prompt": "a"}"#, None),
        (r#"{"model": null}"#, None),
        (r#"{"messages": []}"#, None),
        (r#"["model", "a"]"#, None),
        ("model", None),
        ("", None),
    ];
    for (body, model) in table {
        assert_eq!(ByLength::new().model(&body).as_deref(), model, "{body}");
    }
    let named = |length| format!(r#"{{"model": "{}"}}"#, "m".repeat(length));
    assert!(ByLength::new().model(&named(256)).is_some());
    assert!(ByLength::new().model(&named(257)).is_none());
}

fn json() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "messages",
        "content",
        "input",
        "prompt",
        "source",
        "type",
        "image_url",
        "max_tokens",
        "n",
        "model",
        "generationConfig",
        "$serde_json::private::Number",
    ]);
    let leaf = prop_oneof![
        Just(String::from("null")),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| format!("{value:?}")),
        ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(5, 64, 5, move |inner| {
        let members = prop::collection::vec((names.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|list| format!("[{}]", list.join(","))),
            members.prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\": {value}"))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_have_an_estimate(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let estimate = ByLength::new().estimate(&body);
        prop_assert!(estimate.input <= body.len() as u64);
        ByLength::new().model(&body);
    }

    #[test]
    fn any_json_prefix_has_an_estimate(body in json(), cut in 0.0..=1.0) {
        let cut = (body.len() as f64 * cut) as usize;
        for body in [body.as_bytes(), &body.as_bytes()[..cut]] {
            let estimate = ByLength::new().tokens_per_image(1).estimate(&body.to_vec());
            prop_assert!(estimate.input <= body.len() as u64);
            ByLength::new().model(&body.to_vec());
        }
    }

    #[test]
    fn escapes_do_not_change_the_estimate(text in any::<String>()) {
        let plain = serde_json::to_string(&text).unwrap();
        let escaped: String = text
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        let estimate = |text: &str| ByLength::new().estimate(&format!("{{\"prompt\":{text}}}"));
        let ascii = text.chars().filter(char::is_ascii).count() as u64;
        let other = text.chars().count() as u64 - ascii;
        prop_assert_eq!(estimate(&plain).input, ascii.div_ceil(4) + other);
        prop_assert_eq!(estimate(&format!("\"{escaped}\"")), estimate(&plain));
    }
}
