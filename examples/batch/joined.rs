//! A streamed response in one piece, as it would be without the stream.

use serde_json::{Map, Value, json};

/// Why the events of a stream are not a complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The stream says that it failed, in this event.
    Said(Value),
    /// It ended before its end.
    Cut,
    /// It is neither OpenAI's nor Anthropic's.
    Unknown,
}

/// Joins the events of OpenAI's chat completions, or of Anthropic's messages.
pub(crate) fn join(events: &str) -> Result<Value, Broken> {
    let mut answer = json!({});
    let mut has_ended = false;
    for data in data(events) {
        if data.trim() == "[DONE]" {
            has_ended = true;
            break;
        }
        // Half an event is the last of a stream that was cut.
        let Ok(event) = serde_json::from_str::<Value>(&data) else {
            break;
        };
        if !event["error"].is_null() {
            return Err(Broken::Said(event));
        }
        match event {
            Value::Object(chunk) if chunk.contains_key("choices") => add_chunk(&mut answer, chunk),
            Value::Object(event) => {
                has_ended |= event.get("type").is_some_and(|kind| kind == "message_stop");
                add_event(&mut answer, event);
            }
            _ => return Err(Broken::Unknown),
        }
    }
    let choices = answer["choices"].as_array();
    // Some end without a last word.
    let is_finished = |choice: &Value| choice["finish_reason"].is_string();
    has_ended |= choices.is_some_and(|all| !all.is_empty() && all.iter().all(is_finished));
    if !has_ended {
        return Err(Broken::Cut);
    }
    let is_answer = answer["choices"].is_array() || answer["content"].is_array();
    is_answer.then_some(answer).ok_or(Broken::Unknown)
}

/// The data of each event. Text after the last empty line is an event as well: not all streams end
/// with one.
fn data(events: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut event = Vec::new();
    let events = events.trim_start_matches('\u{feff}');
    for line in events.lines().chain([""]) {
        if let Some(data) = line.strip_prefix("data:") {
            event.push(data.strip_prefix(' ').unwrap_or(data));
        } else if line.is_empty() && !event.is_empty() {
            all.push(event.join("\n"));
            event.clear();
        }
    }
    all
}

/// Adds a chunk of a chat completion.
fn add_chunk(answer: &mut Value, chunk: Map<String, Value>) {
    for (name, value) in chunk {
        match (&*name, value) {
            ("object", _) => *member(answer, "object") = "chat.completion".into(),
            ("choices", Value::Array(choices)) => {
                let all = member(answer, "choices");
                make_array(all);
                for choice in choices {
                    add_choice(place(all, &choice["index"]), choice);
                }
            }
            (_, Value::Null) => {}
            (_, value) => *member(answer, &name) = value,
        }
    }
}

fn add_choice(place: &mut Value, choice: Value) {
    let Value::Object(choice) = choice else {
        return;
    };
    for (name, value) in choice {
        match (&*name, value) {
            (_, Value::Null) => {}
            ("delta", value) => grow(member(place, "message"), value),
            ("logprobs", value) => grow(member(place, "logprobs"), value),
            (_, value) => *member(place, &name) = value,
        }
    }
}

/// Adds an event of a message.
fn add_event(answer: &mut Value, mut event: Map<String, Value>) {
    let mut take = |name: &str| event.remove(name).unwrap_or_default();
    let (kind, index) = (take("type"), take("index"));
    match kind.as_str().unwrap_or_default() {
        "message_start" => *answer = take("message"),
        "content_block_start" => {
            let block = place(member(answer, "content"), &index);
            grow(block, take("content_block"));
        }
        "content_block_delta" => {
            let block = place(member(answer, "content"), &index);
            let Value::Object(mut delta) = take("delta") else {
                return;
            };
            delta.remove("type");
            if let Some(citation) = delta.remove("citation") {
                delta.insert("citations".to_owned(), json!([citation]));
            }
            grow(block, delta.into());
        }
        "content_block_stop" => {
            let block = place(member(answer, "content"), &index);
            let Value::Object(block) = block else { return };
            block.remove("index");
            // What a tool is given comes as a text that is JSON.
            let input = block.remove("partial_json");
            let input = input.as_ref().and_then(Value::as_str);
            if let Some(Ok(input)) = input.map(serde_json::from_str::<Value>) {
                block.insert("input".to_owned(), input);
            }
        }
        "message_delta" => {
            grow(answer, take("delta"));
            grow(member(answer, "usage"), take("usage"));
        }
        _ => {}
    }
}

/// Adds to what is there: texts get longer, lists too, and objects in each of their members.
fn grow(whole: &mut Value, part: Value) {
    match part {
        Value::Null => {}
        Value::String(part) => match whole {
            Value::String(whole) => whole.push_str(&part),
            _ => *whole = part.into(),
        },
        Value::Array(parts) => {
            make_array(whole);
            for part in parts {
                match (&part["index"], &mut *whole) {
                    (Value::Null, Value::Array(whole)) => whole.push(part),
                    (index, _) => grow(place(whole, &index.clone()), part),
                }
            }
        }
        Value::Object(parts) => {
            for (name, part) in parts {
                // Some say these again and again.
                let is_name = matches!(&*name, "role" | "type" | "id" | "index");
                match member(whole, &name) {
                    whole if is_name => *whole = part,
                    whole => grow(whole, part),
                }
            }
        }
        part => *whole = part,
    }
}

/// The element of a list that has this `index`, which need not be its place.
fn place<'a>(list: &'a mut Value, index: &Value) -> &'a mut Value {
    let list = make_array(list);
    let known = list.iter().position(|element| element["index"] == *index);
    let place = known.unwrap_or_else(|| {
        list.push(json!({ "index": index }));
        list.len() - 1
    });
    &mut list[place]
}

fn make_array(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = json!([]);
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made one"),
    }
}

/// A member of an object. Whatever else is there gives way to one.
fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    &mut value[name]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = r#"data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}

: a comment

data: {"id":"c","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{\"a\""}}]}}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null},{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}

data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"c","choices":[],"usage":{"total_tokens":7}}

data: [DONE]
"#;

    const MESSAGE: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"#;

    #[test]
    fn chunks_are_joined_by_choice_and_tool() {
        let expected = json!({
            "id": "c",
            "object": "chat.completion",
            "model": "m",
            "choices": [
                { "index": 0, "message": { "role": "assistant", "content": "Hello" }, "finish_reason": "stop" },
                {
                    "index": 1,
                    "message": { "tool_calls": [
                        { "index": 0, "id": "t", "function": { "name": "f", "arguments": "{\"a\":1}" } },
                    ] },
                    "finish_reason": "tool_calls",
                },
            ],
            "usage": { "total_tokens": 7 },
        });
        assert_eq!(join(CHAT), Ok(expected.clone()));
        assert_eq!(join(&CHAT.replace('\n', "\r\n")), Ok(expected.clone()));
        assert_eq!(join(CHAT.trim_end()), Ok(expected.clone()));
        // Not all say that they are done.
        assert_eq!(join(&CHAT.replace("data: [DONE]\n", "")), Ok(expected));
    }

    #[test]
    fn blocks_are_joined_to_a_message() {
        let expected = json!({
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [
                { "type": "text", "text": "Hello" },
                { "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } },
            ],
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": { "input_tokens": 3, "output_tokens": 9 },
        });
        assert_eq!(join(MESSAGE), Ok(expected));
    }

    #[test]
    fn what_is_cut_anywhere_before_its_end_is_no_answer() {
        for (whole, last) in [
            (CHAT, "\"tool_calls\"}]}"),
            (MESSAGE, "{\"type\":\"message_stop\"}"),
        ] {
            let end = whole.rfind(last).unwrap() + last.len();
            for cut in 0..end {
                assert_eq!(join(&whole[..cut]), Err(Broken::Cut), "{cut}");
            }
            assert!(join(&whole[..end]).is_ok());
        }
    }

    #[test]
    fn an_error_is_one_wherever_it_stands() {
        let error = r#"data: {"type":"error","error":{"message":"no"}}"#;
        for before in ["", &CHAT[..300], MESSAGE.split_at(400).0] {
            let text = format!("{before}\n\n{error}\n\n");
            match join(&text) {
                Err(Broken::Said(event)) => assert_eq!(event["error"]["message"], "no"),
                // Half an event before it.
                other => assert_eq!(other, Err(Broken::Cut), "{text}"),
            }
        }
        assert!(matches!(join(error), Err(Broken::Said(_))));
    }

    #[test]
    fn nonsense_is_no_answer() {
        for (text, expected) in [
            ("", Broken::Cut),
            ("<html>", Broken::Cut),
            ("data: 7\n\n", Broken::Unknown),
            ("data: [DONE]\n\n", Broken::Unknown),
            ("data: {\"type\":\"message_stop\"}\n\n", Broken::Unknown),
            ("data: {\"choices\":7}\n\n", Broken::Cut),
            ("data: {\"choices\":[7]}\n\n", Broken::Cut),
            (
                "data: {\"choices\":[{\"index\":99999999999,\"delta\":\"x\"}]}\n\n",
                Broken::Cut,
            ),
            (
                "data: {\"type\":\"message_start\",\"message\":\"x\"}\n\ndata: {\"type\":\"content_block_stop\"}\n\n",
                Broken::Cut,
            ),
            (
                "data: {\"type\":\"message_start\"}\n\ndata: {\"type\":\"message_delta\",\"usage\":[]}\n\n",
                Broken::Cut,
            ),
        ] {
            assert_eq!(join(text), Err(expected), "{text}");
        }
    }
}
