//! A real server, and a real client to ask it.

use axum::Router;
use tokio::net::TcpListener;

/// Serves an app for as long as the test runs; its address, with a slash at the end.
pub(crate) async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

/// A client of reqwest that goes straight there, whatever the machine's proxy is.
pub(crate) fn reqwest_client() -> reqwest::Client {
    reqwest_builder().build().unwrap()
}

/// The same, to set more of.
pub(crate) fn reqwest_builder() -> reqwest::ClientBuilder {
    // The second to install it is told that it is there.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder().no_proxy()
}
