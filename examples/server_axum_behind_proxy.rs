//! An axum app behind a proxy, which is the only one whose word on a client's address counts:
//! `cargo run --example server_axum_behind_proxy`.

use std::{error::Error, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, StatusCode, Uri},
    response::Response,
    routing::get,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower_throttle::{Quota, TokenBucketLayer, key::ClientIp, rejection::Problem};

/// What stands in front of a server: nginx, a load balancer, a CDN. Each appends to the header who has connected to it.
async fn forward(
    State((http, app)): State<(Client<HttpConnector, Body>, SocketAddr)>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Result<Response, StatusCode> {
    let client = HeaderValue::try_from(client.ip().to_string());
    let client = client.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    request.headers_mut().append("x-forwarded-for", client);
    let uri: Result<Uri, _> = format!("http://{app}{}", request.uri().path()).parse();
    *request.uri_mut() = uri.map_err(|_| StatusCode::BAD_REQUEST)?;
    let response = http.request(request).await;
    Ok(response
        .map_err(|_| StatusCode::BAD_GATEWAY)?
        .map(Body::new))
}

/// Serves an app that is told where each connection comes from: with `axum::serve(listener, app)` alone, no request has a peer.
async fn serve(app: Router) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

/// A client with an address of its own, of which a loopback has many. (Not on macOS, unless they are added.)
fn client(address: [u8; 4]) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder().no_proxy();
    builder.local_address(Some(address.into())).build()
}

/// Asks as whoever `claims` to be, prints the answer, and returns its status.
async fn ask(
    client: &reqwest::Client,
    server: SocketAddr,
    claims: Option<&str>,
) -> Result<StatusCode, Box<dyn Error>> {
    let mut request = client.get(format!("http://{server}/"));
    if let Some(address) = claims {
        request = request.header("x-forwarded-for", address);
    }
    let response = request.send().await?;
    let status = response.status();
    println!("{status}, who claims to be {}", claims.unwrap_or("nobody"));
    for name in [
        "ratelimit-policy",
        "ratelimit",
        "retry-after",
        "content-type",
    ] {
        if let Some(value) = response.headers().get(name) {
            println!("    {name}: {}", value.to_str()?);
        }
    }
    println!("    {}", response.text().await?.trim_end());
    Ok(status)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let limits = TokenBucketLayer::new(Quota::per_minute(2))
        // Where the proxies are. `ClientIp::behind(1)` is for one that is anywhere, if nobody can get past it.
        .per(ClientIp::trusting(["127.0.0.1"])?)
        .respond_as(Problem);
    let limiter = limits.limiter().clone();
    let hello = get(|| async { "hello\n" });
    let app = serve(Router::new().route("/", hello).layer(limits)).await?;
    let http = Client::builder(TokioExecutor::new()).build_http();
    let proxy = serve(Router::new().fallback(forward).with_state((http, app))).await?;

    println!("-- through the proxy, as somebody else each time");
    let liar = client([127, 0, 0, 3])?;
    let mut refused = 0;
    for claims in [
        "198.51.100.1",
        "198.51.100.2, 127.0.0.1",
        "127.0.0.2",
        "::1",
    ] {
        let status = ask(&liar, proxy, Some(claims)).await?;
        refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 2, "it has two a minute, whoever it claims to be");

    println!("-- past the proxy");
    let status = ask(&liar, app, Some("198.51.100.3")).await?;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);

    println!("-- through the proxy, as the one whom the other claimed to be");
    let status = ask(&client([127, 0, 0, 2])?, proxy, None).await?;
    assert_eq!(status, StatusCode::OK);

    let callers = limiter.top(10);
    let mut callers: Vec<_> = callers.iter().map(|it| it.key.to_string()).collect();
    callers.sort();
    assert_eq!(callers, ["127.0.0.2", "127.0.0.3"]);
    println!("-- callers: {}", callers.join(", "));
    Ok(())
}
