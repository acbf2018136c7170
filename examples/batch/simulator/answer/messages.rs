//! Responses in the form of Anthropic's messages.

use serde_json::{Value, json};

use super::{
    super::tokens::Tokens,
    ask::Ask,
    stream::{Event, pieces, words},
};

/// A response in one piece.
pub(super) fn whole(ask: &Ask, used: Tokens) -> Value {
    let block = match &ask.tool {
        Some(name) => call(name),
        None => json!({ "type": "text", "text": words(0, used.output) }),
    };
    message(ask, &json!([block]), Some(stop_reason(ask, used)), used)
}

/// The same as a stream. The usage at its start counts the prompt, the usage at its end everything.
pub(super) fn events(ask: &Ask, used: Tokens) -> Vec<Event> {
    let event = |body: Value, written: u64| {
        let kind = body["type"].as_str().unwrap_or_default();
        let text = format!("event: {kind}\ndata: {body}\n\n");
        Event { text, written }
    };
    let begun = Tokens {
        output: used.output.min(1),
        ..used
    };
    let start =
        json!({ "type": "message_start", "message": message(ask, &json!([]), None, begun) });
    let block = match &ask.tool {
        Some(name) => call(name),
        None => json!({ "type": "text", "text": "" }),
    };
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": block });
    let mut events = vec![event(start, 0), event(block, 0)];
    let delta = |delta: Value, written| {
        let delta = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
        event(delta, written)
    };
    if ask.tool.is_some() {
        let input = json!({ "type": "input_json_delta", "partial_json": "{}" });
        events.push(delta(input, used.output));
    } else {
        events.extend(
            pieces(used.output).map(|(text, written)| {
                delta(json!({ "type": "text_delta", "text": text }), written)
            }),
        );
    }
    let end = json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(ask, used), "stop_sequence": null },
        "usage": usage(used),
    });
    let stop = json!({ "type": "content_block_stop", "index": 0 });
    let last = [stop, end, json!({ "type": "message_stop" })];
    events.extend(last.map(|body| event(body, used.output)));
    events
}

fn message(ask: &Ask, content: &Value, stop_reason: Option<&str>, used: Tokens) -> Value {
    json!({
        "id": "msg_simulated",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage(used),
    })
}

/// A call of a tool without arguments.
fn call(name: &str) -> Value {
    json!({ "type": "tool_use", "id": "toolu_simulated", "name": name, "input": {} })
}

fn stop_reason(ask: &Ask, used: Tokens) -> &'static str {
    if ask.tool.is_some() {
        "tool_use"
    } else if used.output < ask.reserved.output {
        "end_turn"
    } else {
        "max_tokens"
    }
}

fn usage(used: Tokens) -> Value {
    json!({
        "input_tokens": used.input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": used.output,
    })
}
