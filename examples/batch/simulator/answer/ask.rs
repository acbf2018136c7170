//! The parts of a request that matter here.

use serde_json::Value;

use super::{
    super::{answers::prompt_id, tokens::Tokens},
    Api,
};

/// The default of `max_tokens` for OpenAI's API.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// The parts of a request that matter here.
#[derive(Debug)]
pub(in super::super) struct Ask {
    pub(super) api: Api,
    pub(super) model: String,
    pub(in super::super) prompt: u64,
    /// The prompt, estimated at four characters a token, and the most that the response may have.
    pub(in super::super) reserved: Tokens,
    pub(in super::super) stream: bool,
    pub(super) include_usage: bool,
    /// How many texts embeddings are wanted of.
    pub(super) inputs: usize,
    /// The tool that is called instead of a text: the first one, unless its result is there.
    pub(super) tool: Option<String>,
}

// ===== impl Ask =====

impl Ask {
    pub(super) fn parse(api: Api, body: &[u8]) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            format!("We could not parse the JSON body of your request: {error}")
        })?;
        let model = body["model"]
            .as_str()
            .ok_or("you must provide a model parameter")?;
        if api == Api::Embeddings {
            return Self::embeddings(model, &body["input"]);
        }
        let messages = body["messages"]
            .as_array()
            .filter(|messages| !messages.is_empty())
            .ok_or("Missing required parameter: 'messages'")?;
        let contents = messages.iter().map(|message| &message["content"]);
        // Only Anthropic's requests have it; in OpenAI's the system speaks in a message.
        let system = (api == Api::Messages).then_some(&body["system"]);
        let characters: usize = contents.chain(system).map(characters).sum();
        let max_tokens = body["max_completion_tokens"]
            .as_u64()
            .or(body["max_tokens"].as_u64());
        let output = match api {
            Api::Chat | Api::Embeddings => max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            Api::Messages => body["max_tokens"]
                .as_u64()
                .ok_or("max_tokens: Field required")?,
        };
        Ok(Self {
            api,
            model: model.to_owned(),
            prompt: prompt_id(messages),
            reserved: Tokens {
                input: characters.div_ceil(4) as u64,
                output,
            },
            stream: body["stream"].as_bool().unwrap_or(false),
            include_usage: body["stream_options"]["include_usage"]
                .as_bool()
                .unwrap_or(false),
            inputs: 0,
            tool: tool(&body, messages.last()),
        })
    }

    fn embeddings(model: &str, input: &Value) -> Result<Self, String> {
        let (inputs, texts) = match input {
            Value::String(_) => (1, std::slice::from_ref(input)),
            Value::Array(texts) if !texts.is_empty() => (texts.len(), &texts[..]),
            _ => return Err("Missing required parameter: 'input'".to_owned()),
        };
        let characters: usize = texts.iter().map(characters).sum();
        Ok(Self {
            api: Api::Embeddings,
            model: model.to_owned(),
            prompt: prompt_id(texts),
            reserved: Tokens {
                input: characters.div_ceil(4) as u64,
                output: 0,
            },
            stream: false,
            include_usage: false,
            inputs,
            tool: None,
        })
    }
}

/// The first tool, unless the last message has the result of one.
fn tool(body: &Value, last: Option<&Value>) -> Option<String> {
    let first = &body["tools"][0];
    let name = first["function"]["name"]
        .as_str()
        .or(first["name"].as_str())?;
    let last = last?;
    let parts = last["content"].as_array();
    let is_result = |part: &Value| part["type"] == "tool_result";
    let has_result = last["role"] == "tool" || parts.is_some_and(|it| it.iter().any(is_result));
    (!has_result && body["tool_choice"] != "none").then(|| name.to_owned())
}

/// The length of a text, or of the texts among some parts.
fn characters(content: &Value) -> usize {
    let texts = match content {
        Value::String(text) => return text.chars().count(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()),
        _ => return 0,
    };
    texts.map(|text| text.chars().count()).sum()
}
