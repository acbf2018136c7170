//! Responses in the form of OpenAI's embeddings.

use serde_json::{Value, json};

use super::{super::tokens::Tokens, ask::Ask};

/// Two numbers for each input.
pub(super) fn whole(ask: &Ask, used: Tokens) -> Value {
    let data = (0..ask.inputs).map(|index| {
        let embedding = [0.6, -0.8];
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": ask.model,
        "usage": { "prompt_tokens": used.input, "total_tokens": used.total() },
    })
}
