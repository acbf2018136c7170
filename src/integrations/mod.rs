//! Integrations with frameworks. Each file is for one framework, and no other part of the crate
//! depends on any.
//!
//! Hyper needs little: the client of `hyper-util` is a tower service, and its `TowerToHyperService`
//! converts a tower service.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest-middleware")]
mod reqwest_middleware;

#[cfg(feature = "reqwest")]
pub use self::reqwest::http_client::{
    HttpClient, HttpClientFuture, HttpClientLayer, HttpRequestLayer, HttpRequestService, InvalidUrl,
};
#[cfg(feature = "reqwest-middleware")]
pub use self::reqwest_middleware::{LayerError, LayerMiddleware, NextFuture, NextService};
