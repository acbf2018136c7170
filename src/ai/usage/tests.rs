use http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;

use super::{fields::UsageFields, *};
use crate::payload::json::Json;

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

/// Input, cached, written to the cache, output, reasoning.
type Told = [u64; 5];

struct Answer {
    name: &'static str,
    kind: &'static str,
    body: &'static str,
    told: Option<Told>,
}

const ANSWERS: &[Answer] = &[
    Answer {
        name: "chat completion",
        kind: JSON,
        body: concat!(
            r#"{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-4.1-2025-04-14",
"#,
            r#"  "choices": [{"index": 0, "message": {"role": "assistant", "content": "#,
            r#""A \"usage\": {\"prompt_tokens\": 1}, \\", "refusal": null,
"#,
            r#"    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "#,
            r#""arguments": "{\"usage\":{\"prompt_tokens\":2}}"}}]},
    "logprobs": null, "finish_reason": "stop"}],
  "usage": {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
"#,
            r#"    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0, "#,
            r#""cache_write_tokens": 50},
"#,
            r#"    "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0, "#,
            r#""accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default"
}
"#,
        ),
        told: Some([2006, 1920, 50, 300, 256]),
    },
    Answer {
        name: "chat completion, streamed",
        kind: SSE,
        body: concat!(
            r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"#,
            r#""delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

"#,
            r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"#,
            r#""delta":{"content":"\"usage"},"finish_reason":null}],"usage":null}

"#,
            r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"#,
            r#""delta":{},"finish_reason":"stop"}],"usage": null}

"#,
            r#"data: {"id":"c","object":"chat.completion.chunk","choices":[],"#,
            r#""usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"#,
            r#""prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#,
            r#""completion_tokens_details":{"reasoning_tokens":4}}}

data: [DONE]

"#,
        ),
        told: Some([19, 0, 0, 10, 4]),
    },
    Answer {
        name: "chat completion, streamed without usage",
        kind: SSE,
        body: "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\
            \"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n",
        told: None,
    },
    Answer {
        name: "legacy completion",
        kind: JSON,
        body: concat!(
            r#"{"id":"cmpl-u","object":"text_completion","choices":[{"text":"\n\nyes","#,
            r#""index":0,"logprobs":null}],"usage":{"prompt_tokens":5,"completion_tokens":7,"#,
            r#""total_tokens":12}}"#,
        ),
        told: Some([5, 0, 0, 7, 0]),
    },
    Answer {
        name: "embeddings",
        kind: JSON,
        body: concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"#,
            r#""embedding":[0.0023064255,-0.009327292,-1.2e-05,0.0028842222,0.0023064255,"#,
            r#"-0.009327292,0.0028842222]}],"model":"text-embedding-3-small","#,
            r#""usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        ),
        told: Some([8, 0, 0, 0, 0]),
    },
    Answer {
        name: "embeddings with a total alone",
        kind: JSON,
        body: r#"{"object":"list","data":[],"usage":{"total_tokens":10}}"#,
        told: Some([10, 0, 0, 0, 0]),
    },
    Answer {
        name: "transcription by tokens",
        kind: JSON,
        body: concat!(
            r#"{"text":"Hello.","usage":{"type":"tokens","input_tokens":14,"#,
            r#""input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"#,
            r#""total_tokens":59}}"#,
        ),
        told: Some([14, 0, 0, 45, 0]),
    },
    Answer {
        name: "transcription by duration",
        kind: JSON,
        body: r#"{"text":"Hello.","usage":{"type":"duration","seconds":9}}"#,
        told: None,
    },
    Answer {
        name: "response",
        kind: JSON,
        body: concat!(
            r#"{"id":"resp_1","object":"response","status":"completed","#,
            r#""output":[{"type":"message","content":[{"type":"output_text","text":"Ok"}]}],"#,
            r#""reasoning":{"effort":null},"usage":{"input_tokens":36,"#,
            r#""input_tokens_details":{"cached_tokens":12,"cache_write_tokens":8},"#,
            r#""output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"#,
            r#""total_tokens":123},"user":null}"#,
        ),
        told: Some([36, 12, 8, 87, 64]),
    },
    Answer {
        name: "response, streamed",
        kind: SSE,
        body: concat!(
            r#"event: response.created
"#,
            r#"data: {"type":"response.created","response":{"id":"resp_1","object":"response","#,
            r#""status":"in_progress","output":[],"usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Hi"}

event: response.completed
"#,
            r#"data: {"type":"response.completed","response":{"id":"resp_1","#,
            r#""status":"completed","output":[{"content":[{"text":"Hi"}]}],"#,
            r#""usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":0},"#,
            r#""output_tokens":11,"output_tokens_details":{"reasoning_tokens":0},"#,
            r#""total_tokens":48},"metadata":{}}}

"#,
        ),
        told: Some([37, 0, 0, 11, 0]),
    },
    Answer {
        name: "response, streamed, incomplete",
        kind: SSE,
        body: "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\
            \"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\
            \"total_tokens\":7}}}\n\n",
        told: Some([3, 0, 0, 4, 0]),
    },
    Answer {
        name: "message",
        kind: JSON,
        body: concat!(
            r#"{"id":"msg_1","type":"message","role":"assistant","#,
            r#""content":[{"type":"tool_use","id":"t","name":"f","#,
            r#""input":{"usage":{"input_tokens":1,"output_tokens":1}}}],"#,
            r#""stop_reason":"end_turn","usage":{"input_tokens":2095,"#,
            r#""cache_creation_input_tokens":2051,"cache_read_input_tokens":1000,"#,
            r#""cache_creation":{"ephemeral_5m_input_tokens":2051,"#,
            r#""ephemeral_1h_input_tokens":0},"output_tokens":503,"#,
            r#""server_tool_use":{"web_search_requests":1},"service_tier":"standard"}}"#,
        ),
        told: Some([5146, 1000, 2051, 503, 0]),
    },
    Answer {
        name: "message without a cache",
        kind: JSON,
        body: concat!(
            r#"{"type":"message","usage":{"input_tokens":25,"#,
            r#""cache_creation_input_tokens":null,"cache_read_input_tokens":null,"#,
            r#""output_tokens":15}}"#,
        ),
        told: Some([25, 0, 0, 15, 0]),
    },
    Answer {
        name: "message, streamed",
        kind: SSE,
        body: concat!(
            r#"event: message_start
"#,
            r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","#,
            r#""role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":25,"#,
            r#""cache_creation_input_tokens":10,"cache_read_input_tokens":100,"#,
            r#""output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":7}}

event: message_delta
"#,
            r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","#,
            r#""stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

"#,
        ),
        told: Some([135, 100, 10, 15, 0]),
    },
    Answer {
        name: "message, streamed, the whole usage twice",
        kind: SSE,
        body: concat!(
            r#"event: message_start
"#,
            r#"data: {"type":"message_start","message":{"usage":{"input_tokens":25,"#,
            r#""cache_read_input_tokens":0,"output_tokens":1}}}

event: message_delta
"#,
            r#"data: {"type":"message_delta","delta":{},"usage":{"input_tokens":1025,"#,
            r#""cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":15}}

"#,
        ),
        told: Some([1032, 7, 0, 15, 0]),
    },
    Answer {
        name: "message batch",
        kind: "application/x-ndjson",
        body: "{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}\n\
            {\"message\":{\"usage\":{\"output_tokens\":3}}}\n",
        told: Some([1, 0, 0, 3, 0]),
    },
    Answer {
        name: "content",
        kind: JSON,
        body: concat!(
            r#"{
"#,
            r#"  "candidates": [{"content": {"parts": [{"text": "Yes"}], "role": "model"}, "#,
            r#""finishReason": "STOP"}],
  "usageMetadata": {
    "promptTokenCount": 264,
    "cachedContentTokenCount": 200,
    "candidatesTokenCount": 35,
    "thoughtsTokenCount": 40,
    "toolUsePromptTokenCount": 6,
    "totalTokenCount": 345,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 264}]
  },
  "modelVersion": "gemini-2.5-flash"
}"#,
        ),
        told: Some([270, 200, 0, 75, 40]),
    },
    Answer {
        name: "content, streamed as a list",
        kind: JSON,
        body: r#"[{"candidates": [{"content": {"parts": [{"text": "Y"}]}}],
  "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}}
,
{"candidates": [{"content": {"parts": [{"text": "es"}]}}],
  "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 12, "totalTokenCount": 20}}
]"#,
        told: Some([8, 0, 0, 12, 0]),
    },
    Answer {
        name: "content, streamed as events",
        kind: SSE,
        body: concat!(
            r#"data: {"candidates": [{"content": {"parts": [{"text": "Y"}]}}],"usageMetadata": "#,
            r#"{"promptTokenCount": 8,"totalTokenCount": 8}}

"#,
            r#"data: {"candidates": [{"content": {"parts": [{"text": "es"}]}}],"#,
            r#""usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 3,"#,
            r#""thoughtsTokenCount": 20,"totalTokenCount": 31}}

"#,
        ),
        told: Some([8, 0, 0, 23, 20]),
    },
    Answer {
        name: "kept alive by empty lines",
        kind: JSON,
        body: "\n\n\n\r\n{\"usage\":{\"prompt_tokens\":16,\"prompt_cache_hit_tokens\":10,\
            \"prompt_cache_miss_tokens\":6,\"completion_tokens\":4,\"total_tokens\":20}}",
        told: Some([16, 10, 0, 4, 0]),
    },
    Answer {
        name: "kept alive by comments",
        kind: SSE,
        body: "\n\n: keep-alive\n\n: {\"usage\":{\"prompt_tokens\":1}}\n\n: keep-alive\n\ndata: \
            {\"choices\":[],\"usage\":{\"prompt_tokens\":16,\"completion_tokens\":4}}\n\ndata: \
            [DONE]\n\n",
        told: Some([16, 0, 0, 4, 0]),
    },
    Answer {
        name: "usage in an extension",
        kind: SSE,
        body: concat!(
            r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"#,
            r#""x_groq":{"id":"req_1","usage":{"queue_time":0.075,"prompt_tokens":23,"#,
            r#""prompt_time":0.006,"completion_tokens":19,"total_tokens":42,"#,
            r#""total_time":0.027}}}

data: [DONE]

"#,
        ),
        told: Some([23, 0, 0, 19, 0]),
    },
    Answer {
        name: "an event of many lines",
        kind: SSE,
        body: "id: 1\ndata: {\"choices\":\ndata: [],\ndata:\ndata\ndata:\"usage\":{\ndata: \
            \"prompt_tokens\":\ndata: 5\ndata:  ,\"completion_tokens\":6}\ndata: }\nretry: 5\n\n",
        told: Some([5, 0, 0, 6, 0]),
    },
    Answer {
        name: "an event that is cut, and one that is not",
        kind: SSE,
        body: "data: {\"choices\":[{\"delta\":\"\n\ndata: {\"usage\":{\"prompt_tokens\":1\n\n\
            data: {\"usage\":{\"completion_tokens\":6}}\n\ndata: {\"a\":",
        told: Some([0, 0, 0, 6, 0]),
    },
    Answer {
        name: "reasoning beside the completion",
        kind: JSON,
        body: concat!(
            r#"{"choices":[],"usage":{"prompt_tokens":32,"completion_tokens":9,"#,
            r#""total_tokens":135,"prompt_tokens_details":{"cached_tokens":6},"#,
            r#""completion_tokens_details":{"reasoning_tokens":94},"num_sources_used":0}}"#,
        ),
        told: Some([32, 6, 0, 103, 94]),
    },
    Answer {
        name: "converse",
        kind: JSON,
        body: concat!(
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"Ok"}]}},"#,
            r#""stopReason":"end_turn","usage":{"inputTokens":30,"outputTokens":628,"#,
            r#""totalTokens":698,"cacheReadInputTokens":25,"cacheWriteInputTokens":15},"#,
            r#""metrics":{"latencyMs":1275}}"#,
        ),
        told: Some([70, 25, 15, 628, 0]),
    },
    Answer {
        name: "usage of a choice",
        kind: SSE,
        body: concat!(
            r#"data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}

"#,
            r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop","#,
            r#""usage":{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32,"#,
            r#""cached_tokens":10}}]}

data: [DONE]

"#,
        ),
        told: Some([19, 10, 0, 13, 0]),
    },
    Answer {
        name: "usage of a delta, beside what is billed",
        kind: SSE,
        body: concat!(
            r#"event: message-end
"#,
            r#"data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":"#,
            r#"{"billed_units":{"input_tokens":17.0,"output_tokens":12},"#,
            r#""tokens":{"input_tokens":215.0,"output_tokens":12.0}}}}

"#,
        ),
        told: Some([215, 0, 0, 12, 0]),
    },
    Answer {
        name: "content in a wrapper",
        kind: JSON,
        body: concat!(
            r#"{"response":{"candidates":[],"usageMetadata":{"promptTokenCount":8,"#,
            r#""candidatesTokenCount":3,"totalTokenCount":11}},"traceId":"t"}"#,
        ),
        told: Some([8, 0, 0, 3, 0]),
    },
    Answer {
        name: "an error",
        kind: JSON,
        body: concat!(
            r#"{"error":{"message":"Rate limit reached","type":"tokens","#,
            r#""usage":{"prompt_tokens":1}}}"#,
        ),
        told: None,
    },
];

fn told(usage: Option<TokenUsage>) -> Option<Told> {
    let usage = usage?;
    Some([
        usage.input,
        usage.cached_input,
        usage.cache_write_input,
        usage.output,
        usage.reasoning,
    ])
}

type Header = (&'static str, &'static str);

fn headers(fields: &[Header]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn read<'a>(kind: &'static str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Told> {
    let mut reader = UsageReader::of(&headers(&[("content-type", kind)])).unwrap();
    for piece in pieces {
        reader.feed(piece);
    }
    told(reader.usage())
}

fn read_whole(kind: &'static str, body: &str) -> Option<Told> {
    read(kind, [body.as_bytes()])
}

#[test]
fn responses_are_read_in_any_pieces() {
    for answer in ANSWERS {
        let body = answer.body.as_bytes();
        let check = |got, cut: &str| assert_eq!(got, answer.told, "{}, {cut}", answer.name);
        check(read(answer.kind, [body]), "whole");
        for size in [1, 2, 3, 7, 64] {
            check(read(answer.kind, body.chunks(size)), "in pieces");
        }
        for at in 0..body.len() {
            let (before, after) = body.split_at(at);
            check(read(answer.kind, [before, &[], after]), "in two");
        }
    }
}

#[test]
fn truncated_response_reports_all_or_nothing() {
    for answer in ANSWERS.iter().filter(|answer| answer.kind == JSON) {
        if answer.body.starts_with('[') {
            continue;
        }
        for end in 0..answer.body.len() {
            let got = read_whole(answer.kind, &answer.body[..end]);
            assert!(got.is_none() || got == answer.told, "{}", answer.name);
        }
    }
}

#[test]
fn all_three_line_endings() {
    for answer in ANSWERS.iter().filter(|answer| answer.kind == SSE) {
        let variants = [
            answer.body.replace('\n', "\r\n"),
            answer.body.replace('\n', "\r"),
            answer.body.replace("\n\n", "\r\n\n"),
            answer.body.replace("\n\n", "\n\r"),
            answer.body.replace("\n\n", "\r\r\n"),
            answer.body.replace("data: ", "data:"),
            format!("\u{feff}{}", answer.body),
            format!("\n\r\n{}", answer.body),
        ];
        for body in variants {
            for size in [1, 2, 3, 50, body.len()] {
                let got = read(answer.kind, body.as_bytes().chunks(size));
                assert_eq!(got, answer.told, "{}: {body:?} by {size}", answer.name);
            }
        }
    }
}

#[test]
fn keys_count_only_at_their_place() {
    let table: &[&str] = &[
        r#"{"a":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"a":[{"usage":{"prompt_tokens":1}}]}"#,
        r#"{"usage":[{"prompt_tokens":1}]}"#,
        r#"{"usage":{"a":{"prompt_tokens":1}}}"#,
        r#"{"usage":{"prompt_tokens":[1]}}"#,
        r#"{"usage":{"prompt_tokens":{"prompt_tokens":1}}}"#,
        r#"{"usage":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"usage":{"prompt_tokens_details":{"prompt_tokens":1}}}"#,
        r#"{"usage":null,"prompt_tokens":1}"#,
        r#"{"usage":"","a":{"prompt_tokens":1}}"#,
        r#"{"usage":[],"a":{"prompt_tokens":1}}"#,
        r#"{"message":{"message":{"usage":{"prompt_tokens":1}}}}"#,
        r#"{"message":[{"usage":{"prompt_tokens":1}}]}"#,
        r#"{"message":{"usageMetadata":{"promptTokenCount":1}}}"#,
        r#"{"choices":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"choices":[{"delta":{"usage":{"prompt_tokens":1}}}]}"#,
        r#"{"choices":[{"message":{"usage":{"prompt_tokens":1}}}]}"#,
        r#"{"message":"usage","a":{"prompt_tokens":1}}"#,
        r#"{"a":"usage","b":{"prompt_tokens":1}}"#,
        r#"{"a":"\"usage\":{\"prompt_tokens\":1}"}"#,
        r#"{"a":"\\\"usage\":","b":{"prompt_tokens":1}}"#,
        r#"{"usage ":{"prompt_tokens":1}}"#,
        r#"{"Usage":{"prompt_tokens":1}}"#,
        r#"{"\usage":{"prompt_tokens":1}}"#,
        r#"{"usage\"":{"prompt_tokens":1}}"#,
        r#"{"\"usage":{"prompt_tokens":1}}"#,
        // Not JSON, but the brackets match.
        r#"{"usage":null{"prompt_tokens":1}}"#,
        r#"{"usage":""{"prompt_tokens":1}}"#,
        r#"{"usage":[]{"prompt_tokens":1}}"#,
        r#"{"usage":{"prompt_tokens_of_a_name_that_is_far_too_long":1}}"#,
        r#"{"usage":{"cached_tokens":1,"reasoning_tokens":1}}"#,
        r#"["usage",{"a":{"prompt_tokens":1}}]"#,
        r#"[["usage"],[{"usage":{"prompt_tokens":1}}]]"#,
        r#"[[{"usage":{"prompt_tokens":1}}]]"#,
        r#""usage":[{"prompt_tokens":1}]"#,
        r#"[{}],{"a":{"usage":{"prompt_tokens":1}}}"#,
    ];
    for body in table {
        assert_eq!(read_whole(JSON, body), None, "{body}");
        let event = format!("data: {body}\n\n");
        assert_eq!(read_whole(SSE, &event), None, "{event}");
    }
    let not_data: &[&str] = &[
        "{\"usage\":{\"prompt_tokens\":1}}\n\n",
        "event: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        " data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "dat: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "datas: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"us\ndata: age\":{\"prompt_tokens\":1}}\n\n",
        "data: 1\n\n\u{feff}data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "a\n\u{feff}data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
    ];
    for stream in not_data {
        assert_eq!(read_whole(SSE, stream), None, "{stream}");
        let cut = stream.as_bytes().chunks(1);
        assert_eq!(read(SSE, cut), None, "{stream}, in pieces");
    }
}

#[test]
fn only_whole_numbers_count() {
    let table: &[(&str, Option<u64>)] = &[
        ("0", Some(0)),
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("007", Some(7)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", Some(u64::MAX)),
        ("99999999999999999999999999999999", Some(u64::MAX)),
        ("null", None),
        ("true", None),
        ("-1", None),
        ("-0", None),
        ("+1", None),
        ("1.5", None),
        ("1.0", Some(1)),
        ("120.00", Some(120)),
        ("0.0", Some(0)),
        ("1.10", None),
        (".0", None),
        ("1e3", None),
        ("1E+400", None),
        ("NaN", None),
        ("0x10", None),
        ("12ab", None),
        ("\"7\"", None),
        ("\u{0661}", None),
        ("", None),
    ];
    for (number, expected) in table {
        let got = read_whole(
            JSON,
            &format!("{{\"usage\":{{\"input_tokens\":{number}}}}}"),
        );
        let expected = expected.map(|input| [input, 0, 0, 0, 0]);
        assert_eq!(got, expected, "{number}");
    }
}

#[test]
fn later_values_win_field_by_field() {
    let table: &[(&str, Told)] = &[
        (
            r#"{"usage":{"input_tokens":1,"output_tokens":2,"input_tokens":3}}"#,
            [3, 0, 0, 2, 0],
        ),
        (
            r#"{"usage":{"input_tokens":1},"usage":{"output_tokens":2}}"#,
            [1, 0, 0, 2, 0],
        ),
        (
            concat!(
                r#"{"usage":{"input_tokens":1,"output_tokens":2}}{"usage":{"input_tokens":null,"#,
                r#""output_tokens":-1}}"#,
            ),
            [1, 0, 0, 2, 0],
        ),
        (
            r#"{"usage":{"input_tokens":1},"response":{"usage":{"input_tokens":2}}}"#,
            [2, 0, 0, 0, 0],
        ),
        (
            concat!(
                r#"{"message":{"usage":{"input_tokens":1}},"usage":{"input_tokens":2},"#,
                r#""response":{"usage":{"input_tokens":3}}}"#,
            ),
            [3, 0, 0, 0, 0],
        ),
        (
            r#"[{"usage":{"input_tokens":1}}]{}[{"usage":{"output_tokens":2}}]"#,
            [1, 0, 0, 2, 0],
        ),
        (
            r#"{"message":{"usage":{"input_tokens":1},"a":{}},"usage":{"input_tokens":2}}"#,
            [2, 0, 0, 0, 0],
        ),
    ];
    for (body, expected) in table {
        assert_eq!(read_whole(JSON, body), Some(*expected), "{body}");
    }
}

#[test]
fn deep_nesting() {
    const USAGE: &str = r#""usage":{"input_tokens":5}}"#;
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        read_whole(JSON, &format!("{{\"a\":{open}1{close},{USAGE}"))
    };
    assert_eq!(deep("[", "]"), Some([5, 0, 0, 0, 0]));
    assert_eq!(deep("{\"usage\":", "}"), Some([5, 0, 0, 0, 0]));
    assert_eq!(deep("[", ""), None);
    // Closed more often than opened.
    let closed = format!("{}{{{USAGE}", "}]".repeat(10_000));
    assert_eq!(read_whole(JSON, &closed), Some([5, 0, 0, 0, 0]));
}

#[test]
fn the_reader_is_small() {
    assert!(size_of::<UsageReader>() < 1_024);
}

#[test]
fn readable_content_types() {
    const USAGE: &str = "{\"usage\":{\"input_tokens\":5}}";
    let table: &[(&[Header], Option<&str>)] = &[
        (&[], Some("json")),
        (&[("content-type", "application/json")], Some("json")),
        (
            &[("content-type", "Application/JSON; charset=utf-8")],
            Some("json"),
        ),
        (
            &[("content-type", "application/vnd.api+json ;a=b")],
            Some("json"),
        ),
        (&[("content-type", "application/x-ndjson")], Some("json")),
        (&[("content-type", "application/jsonl")], Some("json")),
        (&[("content-type", "text/event-stream")], Some("sse")),
        (
            &[("content-type", "TEXT/event-stream;charset=UTF-8")],
            Some("sse"),
        ),
        (&[("content-encoding", "identity")], Some("json")),
        (&[("content-encoding", " Identity ")], Some("json")),
        (&[("content-type", "")], None),
        (&[("content-type", "json")], None),
        (&[("content-type", "text/plain")], None),
        (&[("content-type", "application/jsonp")], None),
        (&[("content-type", "application/octet-stream")], None),
        (
            &[("content-type", "application/vnd.amazon.eventstream")],
            None,
        ),
        (&[("content-encoding", "gzip")], None),
        (&[("content-encoding", "identity, br")], None),
        (
            &[
                ("content-encoding", "identity"),
                ("content-encoding", "zstd"),
            ],
            None,
        ),
        (
            &[
                ("content-type", "text/event-stream"),
                ("content-encoding", "gzip"),
            ],
            None,
        ),
    ];
    for (fields, expected) in table {
        let got = UsageReader::of(&headers(fields)).map(|mut reader| {
            reader.feed(USAGE.as_bytes());
            if reader.usage().is_some() {
                "json"
            } else {
                "sse"
            }
        });
        assert_eq!(got, *expected, "{fields:?}");
    }
    let mut garbage = HeaderMap::new();
    garbage.insert("content-type", HeaderValue::from_bytes(b"\xff;").unwrap());
    assert!(UsageReader::of(&garbage).is_none());
}

/// The result of a parser, in the order of the text.
fn parsed(value: &Value) -> Option<Told> {
    let mut fields = UsageFields::default();
    let mut read = |usage: &Value| fields.read(Json::lenient(&usage.to_string()));
    let single = std::slice::from_ref(value);
    for response in value.as_array().map_or(single, Vec::as_slice) {
        for (name, value) in response.as_object().into_iter().flatten() {
            match &**name {
                "usage" | "usageMetadata" => read(value),
                "message" => read(&value["usage"]),
                "response" | "delta" | "x_groq" => wrapped(&mut read, value),
                "choices" => {
                    let choices = value.as_array().into_iter().flatten();
                    choices.for_each(|choice| wrapped(&mut read, choice));
                }
                _ => {}
            }
        }
    }
    told(fields.usage())
}

fn wrapped(read: &mut impl FnMut(&Value), value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if name == "usage" || name == "usageMetadata" {
            read(value);
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "usage", "usageMetadata", "message", "response", "choices", "delta",
            "prompt_tokens", "input_tokens", "tokens",
            "output_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
            "output_tokens_details", "cached_tokens", "reasoning_tokens",
            "cache_read_input_tokens", "cache_creation_input_tokens", "promptTokenCount",
        ]).prop_map(String::from),
        1 => "[a\"\\\\\n{}:,é]{0,40}",
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => (0_u64..1_000_000).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => key().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            6 => prop::collection::vec((key(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Splits a body into pieces of these sizes, repeatedly.
fn pieces<'a>(body: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = body;
    sizes.iter().cycle().map_while(move |size| {
        let (piece, after) = rest.split_at(rest.len().min(*size));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #[test]
    fn pieces_equal_the_whole(
        at in 0..ANSWERS.len(),
        sizes in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let answer = &ANSWERS[at];
        prop_assert_eq!(read(answer.kind, pieces(answer.body.as_bytes(), &sizes)), answer.told);
    }

    #[test]
    fn the_reader_agrees_with_a_parser(
        values in prop::collection::vec(json(), 1..4),
        sizes in prop::collection::vec(1_usize..100, 1..9),
    ) {
        let list = Value::from(values.clone());
        for value in [&values[0], &list] {
            for body in [value.to_string(), format!("{value:#}")] {
                prop_assert_eq!(read(JSON, pieces(body.as_bytes(), &sizes)), parsed(value));
                let lines: String = body.lines().map(|line| format!("data: {line}\n")).collect();
                let stream = format!(": {list}\n\n{lines}\n");
                prop_assert_eq!(read(SSE, pieces(stream.as_bytes(), &sizes)), parsed(value));
                prop_assert_eq!(read_whole(SSE, &stream), parsed(value));
            }
        }
    }

    #[test]
    fn no_bytes_panic_and_no_cut_matters(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", "\"", "\\", ",", ":", "\n", "\r", "\n\n", "data: ",
                "\"usage\"", "\"usage\":null", "\"usage\":{", "\"input_tokens\":",
                "\"message\":{", "7", "-", "e", "null", "\u{feff}", " ",
                "data: {\"usage\":{\"input_tokens\":7}}\n\n",
            ]),
            0..60,
        ),
        sizes in prop::collection::vec(1_usize..30, 1..9),
    ) {
        let tokens = tokens.concat();
        for kind in [JSON, SSE] {
            for body in [&noise[..], tokens.as_bytes()] {
                prop_assert_eq!(read(kind, [body]), read(kind, pieces(body, &sizes)));
            }
        }
    }
}

#[test]
fn beginning_of_a_response_is_not_final() {
    let message: &[&str] = &[
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\
         \"output_tokens\":1}}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{}}\n\n",
        "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":40}}\n\n",
    ];
    let content: &[&str] = &[
        "data: {\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9}}\n\n",
        "data: {\"candidates\":[]}\n\n",
        "data: {\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4,\
         \"totalTokenCount\":13}}\n\n",
    ];
    for events in [message, content] {
        let mut reader = UsageReader::of(&headers(&[("content-type", SSE)])).unwrap();
        let mut finals = Vec::new();
        for event in events {
            reader.feed(event.as_bytes());
            assert!(reader.usage().is_some());
            finals.push(reader.is_final());
        }
        assert_eq!(finals, [false, false, true], "{events:?}");
    }
    // A complete response may have no output.
    let mut reader = UsageReader::of(&headers(&[("content-type", JSON)])).unwrap();
    reader.feed(b"{\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}");
    assert!(reader.is_final());
}
