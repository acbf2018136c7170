//! Two tenants of a gateway, over sockets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, ServiceExt};
use tower_throttle::CacheLayer;

use crate::loopback::{reqwest_client, serve};

const CHAT: &str = "v1/chat/completions";

/// Headers in which proxies say who the client is.
const OF_PROXIES: [&str; 45] = [
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "cf-connecting-ip",
    "fly-client-ip",
    "forwarded",
    "oidc_claim_sub",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "ssl-client-cert",
    "ssl-client-s-dn",
    "tailscale-user-login",
    "tailscale-user-name",
    "true-client-ip",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-anonymous-consumer",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-user",
    "x-authenticated-userid",
    "x-authentik-uid",
    "x-authentik-username",
    "x-client-dn",
    "x-consumer-custom-id",
    "x-consumer-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iap-jwt-assertion",
    "x-jwt-payload",
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-remote-user",
    "x-user-info",
    "x-vouch-idp-claims-sub",
    "x-webauth-user",
];

/// Headers of applications, which no list could know.
const OF_APPLICATIONS: [&str; 8] = [
    "acme-shop",
    "baggage",
    "idempotency-key",
    "x-acting-as",
    "x-billing-reference",
    "x-hasura-role",
    "x-on-behalf-of",
    "x-portal",
];

/// Serves a gateway with a cache in front of a provider whose responses are numbers.
async fn gateway(layer: &CacheLayer) -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let provider = Router::new().fallback(async move || {
        let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
        number.to_string()
    });
    let provider = serve(provider).await;
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = layer.layer(hyper);
    let gateway = Router::new().fallback(async move |request: axum::extract::Request| {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().trim_start_matches('/');
        parts.uri = format!("{provider}{path}").parse().unwrap();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let request = Request::from_parts(parts, Full::new(body));
        let response = client.clone().oneshot(request).await.unwrap();
        response.map(axum::body::Body::new)
    });
    (serve(gateway).await, calls)
}

async fn ask(url: &str, headers: &[(&str, &str)]) -> String {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    let mut request = CLIENT.get_or_init(reqwest_client).post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(r#"{"model": "m"}"#).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

#[tokio::test]
async fn tenants_behind_a_proxy_share_no_response() {
    let (url, _) = gateway(&CacheLayer::completions()).await;
    let url = format!("{url}{CHAT}");
    for name in OF_PROXIES.iter().chain(&OF_APPLICATIONS) {
        let first = ask(&url, &[(name, "one")]).await;
        assert_ne!(ask(&url, &[(name, "two")]).await, first, "{name}");
        assert_ne!(ask(&url, &[]).await, first, "{name}");
        assert_eq!(ask(&url, &[(name, "one")]).await, first, "{name}");
    }
}

#[tokio::test]
async fn two_new_threads_are_two_threads() {
    let (url, calls) = gateway(&CacheLayer::completions()).await;
    let threads = format!("{url}v1/threads");
    assert_ne!(ask(&threads, &[]).await, ask(&threads, &[]).await);
    let responses = format!("{url}v1/responses");
    assert_ne!(ask(&responses, &[]).await, ask(&responses, &[]).await);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn equal_prompts_hit_whatever_ids_they_carry() {
    let layer = CacheLayer::completions();
    let (url, calls) = gateway(&layer).await;
    let url = format!("{url}{CHAT}");
    let tenant = [
        ("authorization", "Bearer one"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
    ];
    for n in 0..1_000 {
        let id = format!("{n:032x}");
        let trace = format!("00-{id}-{n:016x}-01");
        let root = format!("Root=1-{n:08x}-{n:024x}");
        let attempt = (n % 3).to_string();
        let agent = format!("client/1.{attempt}");
        let own: &[(&str, &str)] = match n % 4 {
            // An AWS load balancer.
            0 => &[("x-amzn-trace-id", &root), ("user-agent", &agent)],
            // Cloudflare.
            1 => &[("cf-ray", &id), ("cf-connecting-ip", "203.0.113.7")],
            // OpenAI's SDK.
            2 => &[
                ("x-stainless-retry-count", &attempt),
                ("x-stainless-lang", "python"),
                ("x-client-request-id", &id),
                ("user-agent", &agent),
            ],
            // Google's SDK, traced.
            _ => &[
                ("x-goog-api-client", &agent),
                ("traceparent", &trace),
                ("tracestate", &id),
                ("x-request-id", &id),
                ("x-cloud-trace-context", &id),
            ],
        };
        ask(&url, &[&tenant[..], own].concat()).await;
    }
    let usage = layer.usage();
    assert!(usage.hits >= 990, "{usage:?}");
    assert_eq!(usage.misses, calls.load(Ordering::Relaxed) as u64);
}
