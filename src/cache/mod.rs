//! Answer what was asked before without asking again.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//! # use bytes::Bytes;
//! # use http_body_util::{BodyExt, Full};
//! # use tower::service_fn;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{CacheLayer, cache::Status};
//!
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let http_client = service_fn(async |_: Request<String>| {
//! #     let number = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
//! #     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(number.to_string()))))
//! # });
//! let mut client = ServiceBuilder::new()
//!     .layer(CacheLayer::new())
//!     .service(http_client);
//!
//! for (body, expected) in [
//!     (r#"{"model": "m", "temperature": 0}"#, Status::Miss),
//!     (r#"{ "temperature":0, "model":"m" }"#, Status::Hit),
//! ] {
//!     let request = Request::post("https://api.example.com/v1/messages").body(body.to_owned())?;
//!     let response = client.ready().await?.call(request).await?;
//!     assert_eq!(Status::of(&response), Some(expected));
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "1");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is equal
//!
//! # One request for many

mod body;
mod canonical;
mod channel;
mod directives;
mod entry;
mod error;
mod flight;
mod follow;
mod head;
mod key;
mod landing;
mod layer;
mod lead;
mod original;
mod pulse;
mod record;
mod rules;
mod service;
mod status;
mod store;
mod usage;
mod wakers;

/// The response future.
pub mod future;

pub use self::{
    body::ResponseBody, error::SharedBodyError, layer::CacheLayer, service::Cache, status::Status,
    usage::Usage,
};
