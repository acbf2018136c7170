//! What providers answer, and whether it is kept.

use http::Request;

use super::{cache, keeping::is_kept, post, text, with};

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    bool,
);

#[tokio::test(start_paused = true)]
async fn what_is_whole_and_good_is_kept_and_nothing_else_is() {
    let mut wrong = Vec::new();
    let table: &[Case] = &[
        // An error, a cut, or nothing at all.
        (
            "enc none err",
            &[("content-type", SSE), ("content-encoding", "none")],
            "data: {\"error\":{\"m\":1}}\n\n",
            false,
        ),
        (
            "enc gzip empty json",
            &[("content-type", JSON), ("content-encoding", "gzip")],
            "",
            false,
        ),
        (
            "cl0 json",
            &[("content-type", JSON), ("content-length", "0")],
            "",
            false,
        ),
        (
            "cl0 sse",
            &[("content-type", SSE), ("content-length", "0")],
            "",
            false,
        ),
        (
            "ping only",
            &[("content-type", SSE)],
            "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            false,
        ),
        (
            "keepalive only",
            &[("content-type", SSE)],
            "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":0}\n\n",
            false,
        ),
        (
            "done only",
            &[("content-type", SSE)],
            "data: [DONE]\n\n",
            false,
        ),
        (
            "cohere v2 end error",
            &[("content-type", SSE)],
            "event: message-start\ndata: {\"type\":\"message-start\"}\n\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"error\":\"boom\",\"finish_reason\":\"ERROR\"}}\n\n",
            false,
        ),
        (
            "cohere v2 ERROR json",
            &[("content-type", JSON)],
            "{\"id\":\"1\",\"finish_reason\":\"ERROR\",\"message\":{\"content\":[]}}",
            false,
        ),
        (
            "mistral conv error",
            &[("content-type", SSE)],
            "event: conversation.response.started\ndata: {\"type\":\"conversation.response.started\"}\n\nevent: conversation.response.error\ndata: {\"type\":\"conversation.response.error\",\"message\":\"x\",\"code\":500}\n\n",
            false,
        ),
        (
            "mistral conv cut",
            &[("content-type", SSE)],
            "event: conversation.response.started\ndata: {\"type\":\"conversation.response.started\"}\n\nevent: message.output.delta\ndata: {\"type\":\"message.output.delta\",\"content\":\"x\"}\n\n",
            false,
        ),
        (
            "transcript cut",
            &[("content-type", SSE)],
            "data: {\"type\":\"transcript.text.delta\",\"delta\":\"I\"}\n\n",
            false,
        ),
        (
            "speech cut",
            &[("content-type", SSE)],
            "data: {\"type\":\"speech.audio.delta\",\"audio\":\"I\"}\n\n",
            false,
        ),
        (
            "image cut",
            &[("content-type", SSE)],
            "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"I\"}\n\n",
            false,
        ),
        (
            "misnamed openrouter",
            &[("content-type", "text/plain")],
            ": OPENROUTER PROCESSING\n\ndata: {\"error\":{\"code\":502}}\n\n",
            false,
        ),
        (
            "misnamed id",
            &[("content-type", "text/plain")],
            "id: 1\ndata: {\"error\":{\"code\":502}}\n\n",
            false,
        ),
        (
            "misnamed newline",
            &[],
            "\ndata: {\"error\":{\"code\":502}}\n\n",
            false,
        ),
        (
            "misnamed retry",
            &[],
            "retry: 3000\n\ndata: {\"error\":{\"code\":502}}\n\n",
            false,
        ),
        (
            "unseparated event: error",
            &[("content-type", SSE)],
            "event: error\ndata: {\"message\":\"x\"}\nevent: done\ndata: {}\n\n",
            false,
        ),
        (
            "unseparated err + non json",
            &[("content-type", SSE)],
            "data: {\"error\":{\"m\":1}}\ndata: [DONE]\ndata: [DONE]\n\n",
            false,
        ),
        (
            "unseparated err + text",
            &[("content-type", SSE)],
            "data: {\"error\":{\"m\":1}}\ndata: stream closed\n\n",
            false,
        ),
        (
            "sse under json err",
            &[("content-type", JSON)],
            "data: {\"error\":1}\n\n",
            false,
        ),
        (
            "openai cut crlf",
            &[("content-type", SSE)],
            "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n",
            false,
        ),
        (
            "gemini cut",
            &[("content-type", SSE)],
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\\\"finishReason\\\"\"}]}}]}\r\n\r\n",
            false,
        ),
        // Good, whatever it looks like.
        (
            "data url",
            &[("content-type", "text/plain")],
            "data:image/png;base64,iVBORw0KGgo=",
            true,
        ),
        (
            "data url none",
            &[],
            "data:image/png;base64,iVBORw0KGgo=",
            true,
        ),
        (
            "yaml",
            &[("content-type", "application/yaml")],
            "data:\n  a: 1\n",
            true,
        ),
        (
            "text event",
            &[("content-type", "text/plain")],
            "event: a party",
            true,
        ),
        (
            "text data:",
            &[("content-type", "text/plain; charset=utf-8")],
            "data: the plural of datum",
            true,
        ),
        (
            "chat json",
            &[("content-type", JSON)],
            "{\"id\":\"c\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"x\"},\"finish_reason\":\"stop\"}],\"usage\":{}}",
            true,
        ),
        (
            "chat sse",
            &[("content-type", SSE)],
            "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n",
            true,
        ),
        (
            "chat sse done glued",
            &[("content-type", SSE)],
            "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\ndata: [DONE]\n",
            true,
        ),
        (
            "responses sse",
            &[("content-type", SSE)],
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"status\":\"in_progress\"}}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
            true,
        ),
        (
            "anthropic sse",
            &[("content-type", SSE)],
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"error\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            true,
        ),
        (
            "gemini sse",
            &[("content-type", SSE)],
            "data: {\"candidates\":[{\"content\":{}}]}\r\n\r\ndata: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{}}\r\n\r\n",
            true,
        ),
        (
            "gemini json array",
            &[("content-type", JSON)],
            "[{\"candidates\":[{\"content\":{}}]}\n,\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}]}\n]",
            true,
        ),
        (
            "gemini blocked",
            &[("content-type", SSE)],
            "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{}}\r\n\r\n",
            true,
        ),
        (
            "cohere v2 sse",
            &[("content-type", SSE)],
            "event: message-start\ndata: {\"type\":\"message-start\"}\n\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\"}}\n\ndata: [DONE]\n\n",
            true,
        ),
        (
            "ollama ndjson",
            &[("content-type", "application/x-ndjson")],
            "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n",
            true,
        ),
        (
            "unknown text sse",
            &[("content-type", SSE)],
            "data: hello\n\ndata: world\n\n",
            true,
        ),
        (
            "unknown done event",
            &[("content-type", SSE)],
            "event: output\ndata: a\n\nevent: done\ndata: {}\n\n",
            true,
        ),
        ("html", &[("content-type", "text/html")], "<html>", true),
        (
            "binary",
            &[("content-type", "audio/mpeg")],
            "ID3\u{1e}\u{0}",
            true,
        ),
        (
            "srt",
            &[("content-type", "text/plain")],
            "1\n00:00:00,000 --> 00:00:01,000\nHi\n",
            true,
        ),
        ("number text", &[("content-type", "text/plain")], "42", true),
        (
            "embeddings",
            &[("content-type", JSON)],
            "{\"object\":\"list\",\"data\":[{\"embedding\":[0.1,-1e-9]}]}",
            true,
        ),
        ("hf", &[("content-type", JSON)], "[[0.1,0.2]]", true),
        (
            "batch output",
            &[("content-type", "application/octet-stream")],
            "{\"custom_id\":\"1\",\"response\":{\"status_code\":200,\"body\":{\"error\":null}},\"error\":null}\n{\"custom_id\":\"2\",\"response\":{\"status_code\":200,\"body\":{}},\"error\":null}\n",
            true,
        ),
    ];
    for (name, headers, body, expected) in table {
        let answer = with(text(*body), headers);
        let kept = is_kept(&cache(), &post("{}"), answer).await;
        if kept != *expected {
            wrong.push(format!("{name}: kept={kept}"));
        }
    }
    // Some leave it to their server to send no body.
    let head = Request::head("/v1/models").body(String::new()).unwrap();
    if !is_kept(&cache(), &head, text("body")).await {
        wrong.push("head with a body: kept=false".into());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
