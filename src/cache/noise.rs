//! Request headers that are not part of the cache key.

use http::HeaderName;

/// Returns whether requests that differ in this header alone may share a response: it names one
/// request, one attempt, a trace, the client program or the connection, or tells the cache how to
/// handle the request.
///
/// No model API is known to respond differently because of them, and none of them says who the
/// client is. This list is a security boundary: exact names, and one prefix. `x-amzn-*`, `cf-*` and
/// `x-ms-*` have members that carry identities, so only single names of these families are here.
pub(super) fn is_noise(name: &HeaderName) -> bool {
    match name.as_str() {
        // A request.
        "request-id" | "x-client-request-id" | "x-correlation-id" | "x-ms-client-request-id"
        | "x-request-id"
        // A request at a proxy.
        | "cf-ray" | "cf-request-id" | "fly-request-id" | "x-amz-cf-id" | "x-amzn-requestid"
        | "x-vercel-id"
        // An attempt.
        | "amz-sdk-invocation-id" | "amz-sdk-request" | "grpc-previous-rpc-attempts"
        | "x-envoy-attempt-count"
        // A trace.
        | "b3" | "elastic-apm-traceparent" | "grpc-trace-bin" | "newrelic" | "sentry-trace"
        | "traceparent" | "tracestate" | "uber-trace-id" | "x-amzn-trace-id" | "x-b3-flags"
        | "x-b3-parentspanid" | "x-b3-sampled" | "x-b3-spanid" | "x-b3-traceid"
        | "x-cloud-trace-context" | "x-datadog-origin" | "x-datadog-parent-id"
        | "x-datadog-sampling-priority" | "x-datadog-tags" | "x-datadog-trace-id"
        // The client program.
        | "user-agent" | "x-amz-user-agent" | "x-goog-api-client" | "x-ms-useragent"
        // The connection and the framing of the body.
        | "connection" | "content-length" | "date" | "early-data" | "expect" | "keep-alive"
        | "priority" | "proxy-connection" | "te" | "transfer-encoding"
        // How to use the cache.
        | "cache-control" | "pragma" => true,
        // The SDKs that Stainless generates describe themselves and the attempt.
        name => name.starts_with("x-stainless-"),
    }
}
