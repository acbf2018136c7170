//! Access to the parts of HTTP requests and responses that layers read and write.

pub(crate) mod body_macros;
pub(crate) mod guarded_body;
pub(crate) mod headers;
mod hint;
pub(crate) mod keep_alives;
mod method;
pub(crate) mod peek_body;
#[cfg(feature = "provider")]
pub(crate) mod peeked_body;
pub(crate) mod replace_body;
mod request;
pub(crate) mod response;
mod text_body;
pub(crate) mod timer;
mod try_clone;
pub(crate) mod with_body;

#[cfg(feature = "provider")]
pub use self::headers::rate_limit::limits::{Dimension, RateLimits, Reported};
pub(crate) use self::method::is_idempotent;
#[cfg(any(feature = "cache", feature = "reqwest"))]
pub(crate) use self::response::ResponseUrl;
pub use self::{
    guarded_body::GuardedBody,
    hint::Hint,
    peek_body::PeekBody,
    replace_body::ReplaceBody,
    request::RequestHead,
    response::ResponseHead,
    text_body::TextBody,
    try_clone::TryClone,
    with_body::{IntoHttp, WithBody},
};
