//! The clients that requests are sent with, over real sockets on loopback.

use axum::{Router, http::StatusCode, routing::post};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest_middleware::ClientBuilder;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    LayerMiddleware, RetryAfterBackoffLayer, RouterLayer,
    router::{SelectedTarget, Target},
};

use super::plenty;
use crate::loopback::{reqwest_client, serve};

/// One path that is overloaded, and one that tells what it got.
async fn serve_both() -> String {
    let app = Router::new()
        .route("/busy", post(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/free", post(async |body: String| body));
    serve(app).await
}

fn reqwest_auto(url: &str) -> RouterLayer<reqwest::Request> {
    let to = |path: &str| {
        let url: reqwest::Url = format!("{url}{path}").parse().unwrap();
        move |mut request: reqwest::Request| {
            *request.url_mut() = url.clone();
            request
        }
    };
    RouterLayer::ranked()
        .target(
            Target::new("busy", plenty())
                .model("m")
                .map_request(to("busy")),
        )
        .target(
            Target::new("free", plenty())
                .model("n")
                .map_request(to("free")),
        )
}

const BODY: &str = r#"{"model":"auto"}"#;
const SENT: &str = r#"{"model":"n"}"#;

fn is_by_the_second(response: &reqwest::Response) -> bool {
    let chosen = SelectedTarget::of(response).unwrap();
    (chosen.target(), chosen.model(), chosen.tried()) == ("free", Some("n"), 1)
}

#[tokio::test]
async fn reqwest() {
    let url = serve_both().await;
    let client = reqwest_client();
    let request = client.post("http://nowhere.invalid").body(BODY).build();
    let mut service = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(reqwest_auto(&url))
        .service(client);
    let call = service.ready().await.unwrap().call(request.unwrap());
    let response = call.await.unwrap();
    assert!(is_by_the_second(&response));
    assert_eq!(response.text().await.unwrap(), SENT);
}

#[tokio::test]
async fn reqwest_middleware() {
    let auto = reqwest_auto(&serve_both().await);
    let client = ClientBuilder::new(reqwest_client())
        .with(LayerMiddleware::new(auto))
        .build();
    let response = client
        .post("http://nowhere.invalid")
        .body(BODY)
        .send()
        .await
        .unwrap();
    assert!(is_by_the_second(&response));
    assert_eq!(response.text().await.unwrap(), SENT);
}

#[tokio::test]
async fn hyper() {
    type Request = http::Request<Full<Bytes>>;
    let url = serve_both().await;
    let to = |path: &str| {
        let uri: http::Uri = format!("{url}{path}").parse().unwrap();
        move |mut request: Request| {
            *request.uri_mut() = uri.clone();
            request
        }
    };
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let auto = RouterLayer::weighted()
        .target(
            Target::new("busy", plenty())
                .weight(2)
                .map_request(to("busy")),
        )
        .target(
            Target::new("free", plenty())
                .model("n")
                .map_request(to("free")),
        );
    let client = auto.layer(client);
    let response = client
        .oneshot(http::Request::post("/").body(BODY.into()).unwrap())
        .await
        .unwrap();
    assert_eq!(SelectedTarget::of(&response).unwrap().target(), "free");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, SENT);
}
