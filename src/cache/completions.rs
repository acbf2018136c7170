//! Endpoints of model APIs that only read.

use http::Method;

use crate::http::RequestHead;

/// What the path of such a `POST` ends with.
///
/// `/v1/messages` is written out, since `/v1/threads/{id}/messages` creates a message.
const PATHS: &[&str] = &[
    "/completions",
    "/embeddings",
    "/moderations",
    "/rerank",
    "/responses",
    "/v1/embed",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v2/chat",
    "/v2/embed",
    ":batchEmbedContents",
    ":countTokens",
    ":embedContent",
    ":generateContent",
    ":predict",
    ":rawPredict",
    ":streamGenerateContent",
    ":streamRawPredict",
];

/// Members of the body that make such a request change something at the provider, unless they are
/// `false` or `null`.
const STATEFUL: [&[u8]; 5] = [
    b"\"background\"",
    b"\"container\"",
    b"\"conversation\"",
    b"\"mcp_servers\"",
    STORE,
];

const STORE: &[u8] = b"\"store\"";

/// Returns whether a request goes to one of these endpoints.
pub(super) fn is_model_endpoint(request: &impl RequestHead) -> bool {
    let path = request.path();
    request.method() == Method::POST && PATHS.iter().any(|end| path.ends_with(end))
}

/// Whether a request leaves state behind at the provider, by the members of its body.
pub(super) struct State {
    is_stored: bool,
    is_stateful: bool,
}

impl State {
    pub(super) fn new(path: &str) -> Self {
        Self {
            // The Responses API stores by default.
            is_stored: path.ends_with("/responses"),
            is_stateful: false,
        }
    }

    /// Reads a member of the body. The name is in quotes.
    pub(super) fn member(&mut self, name: &[u8], value: &[u8]) {
        match value {
            b"false" if name == STORE => self.is_stored = false,
            b"null" | b"false" => {}
            _ => self.is_stateful |= STATEFUL.contains(&name),
        }
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_stored || self.is_stateful
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::cache::json::append_canonical;

    #[test]
    fn only_requests_that_change_nothing_are_completions() {
        for (path, body, expected) in [
            ("/v1/chat/completions", "{}", true),
            ("/v1/chat/completions", r#"{"store": null}"#, true),
            ("/v1/chat/completions", r#"{"store": true}"#, false),
            (
                "/v1/chat/completions",
                r#"{"store": false, "store": true}"#,
                false,
            ),
            ("/v1/chat/completions", "[]", false),
            ("/v1/chat/completions", "", false),
            ("/v1/chat/completions/chatcmpl-1", "{}", false),
            ("/openai/deployments/d/embeddings", "{}", true),
            ("/v1/responses", "{}", false),
            ("/v1/responses", r#"{"store": true}"#, false),
            ("/v1/responses", r#"{"store": false}"#, true),
            (
                "/v1/responses",
                r#"{"store": false, "background": true}"#,
                false,
            ),
            (
                "/v1/responses",
                r#"{"store": false, "conversation": "c"}"#,
                false,
            ),
            ("/anthropic/v1/messages", "{}", true),
            ("/v1/messages", r#"{"container": "c"}"#, false),
            ("/v1/messages", r#"{"mcp_servers": [{"url": "u"}]}"#, false),
            ("/v1/messages/batches", "{}", false),
            ("/v1/threads", "{}", false),
            ("/v1/threads/t/messages", "{}", false),
            ("/v1/threads/t/runs", "{}", false),
            ("/v1beta/models/gemini:streamGenerateContent", "{}", true),
            ("/v1beta/models/gemini:batchGenerateContent", "{}", false),
            ("/v1/files", "{}", false),
        ] {
            let request = Request::post(path).body(()).unwrap();
            let mut state = State::new(path);
            let mut out = Vec::new();
            let is_object = body.starts_with('{')
                && append_canonical(body, &mut out, |name, value| state.member(name, value));
            let is_completion = is_model_endpoint(&request) && is_object && !state.is_left();
            assert_eq!(is_completion, expected, "{path} {body}");
        }
        let get = Request::get("/v1/chat/completions").body(()).unwrap();
        assert!(!is_model_endpoint(&get));
    }
}
