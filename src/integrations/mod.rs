//! The doors: each file knows one framework, and nothing else in the crate knows any.
//!
//! Hyper needs almost none. The client of `hyper-util` is a tower service, and its `TowerToHyperService` makes a tower
//! service one of hyper's.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest-middleware")]
mod reqwest_middleware;

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use self::reqwest::{
    HttpClient, HttpClientFuture, HttpClientLayer, HttpRequestLayer, HttpRequestService, InvalidUrl,
};
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
pub use self::reqwest_middleware::{LayerError, LayerMiddleware, NextFuture, NextService};
