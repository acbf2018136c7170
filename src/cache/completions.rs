//! Endpoints of model APIs that only read.

use http::Method;

use crate::{http::RequestHead, payload::json::Json};

/// What the path of such a `POST` ends with.
///
/// `/v1/messages` is written out, since `/v1/threads/{id}/messages` creates a message.
const PATHS: &str = "/completions|/embeddings|/moderations|/rerank|/responses|/v1/embed|\
    /v1/messages|/v1/messages/count_tokens|/v2/chat|/v2/embed|:batchEmbedContents|:countTokens|\
    :embedContent|:generateContent|:predict|:rawPredict|:streamGenerateContent|:streamRawPredict";

/// Members of the body that make such a request change something at the provider, unless they are
/// `false` or `null`.
const STATEFUL: &str = "background|container|conversation|mcp_servers|store";

/// Returns whether a request goes to one of these endpoints.
pub(super) fn is_model_endpoint(request: &impl RequestHead) -> bool {
    let path = request.path();
    request.method() == Method::POST && PATHS.split('|').any(|end| path.ends_with(end))
}

/// Returns whether a request leaves no state behind at the provider, by the members of its body.
pub(super) fn is_stateless(path: &str, body: Json<'_>) -> bool {
    let is_off = |value: Json<'_>| matches!(value.text(), "false" | "null");
    let is_stateful = |name: Json<'_>| STATEFUL.split('|').any(|stateful| name.is(stateful));
    let is_unstored = |store: Json<'_>| store.text() == "false";
    // The Responses API stores by default.
    body.is_object()
        && (!path.ends_with("/responses") || body.get("store").is_some_and(is_unstored))
        && (body.members()).all(|(name, value)| is_off(value) || !is_stateful(name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

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
            let json = Json::parse(body.as_bytes());
            let is_stateless = json.is_some_and(|json| is_stateless(path, json));
            let is_completion = is_model_endpoint(&request) && is_stateless;
            assert_eq!(is_completion, expected, "{path} {body}");
        }
        let get = Request::get("/v1/chat/completions").body(()).unwrap();
        assert!(!is_model_endpoint(&get));
    }
}
