//! Responses in the form of OpenAI's chat completions.

use serde_json::{Value, json};

use super::{
    super::tokens::Tokens,
    ask::Ask,
    stream::{Event, pieces, words},
};

/// A response in one piece.
pub(super) fn whole(ask: &Ask, used: Tokens) -> Value {
    let message = match &ask.tool {
        Some(name) => json!({ "role": "assistant", "content": null, "tool_calls": [call(name)] }),
        None => json!({ "role": "assistant", "content": words(0, used.output) }),
    };
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish_reason(ask) });
    json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 0,
        "model": ask.model,
        "choices": [choice],
        "usage": usage(used),
    })
}

/// The same as a stream, with its usage if the request asks for it.
pub(super) fn events(ask: &Ask, used: Tokens) -> Vec<Event> {
    let chunk = |choices: Value, usage: Value, written: u64| {
        let chunk = json!({
            "id": "chatcmpl-simulated",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": ask.model,
            "choices": choices,
            "usage": usage,
        });
        let text = format!("data: {chunk}\n\n");
        Event { text, written }
    };
    let delta = |delta: Value, written| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
        chunk(json!([choice]), Value::Null, written)
    };
    let mut events = vec![delta(json!({ "role": "assistant", "content": "" }), 0)];
    if let Some(name) = &ask.tool {
        events.push(delta(json!({ "tool_calls": [call(name)] }), used.output));
    } else {
        events.extend(
            pieces(used.output).map(|(text, written)| delta(json!({ "content": text }), written)),
        );
    }
    let end = json!({ "index": 0, "delta": {}, "finish_reason": finish_reason(ask) });
    events.push(chunk(json!([end]), Value::Null, used.output));
    if ask.include_usage {
        events.push(chunk(json!([]), usage(used), used.output));
    }
    let (text, written) = ("data: [DONE]\n\n".to_owned(), used.output);
    events.push(Event { text, written });
    events
}

/// A call of a tool without arguments.
fn call(name: &str) -> Value {
    let function = json!({ "name": name, "arguments": "{}" });
    json!({ "index": 0, "id": "call_simulated", "type": "function", "function": function })
}

fn finish_reason(ask: &Ask) -> &'static str {
    match ask.tool {
        Some(_) => "tool_calls",
        None => "stop",
    }
}

fn usage(used: Tokens) -> Value {
    json!({
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.total(),
        "prompt_tokens_details": { "cached_tokens": 0 },
    })
}
