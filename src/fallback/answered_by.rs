//! The extension that says whether the primary or a backup responded.

use std::sync::Arc;

use crate::http::ResponseHead;

/// Response extension that says whether the primary or a backup responded.
///
/// A [`Fallback`](super::Fallback) puts this into the extensions of a backup's response. Responses
/// of the primary are unchanged: [`AnsweredBy::of`] takes a response without this extension for one
/// of the primary.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_throttle::BoxError> {
/// use std::convert::Infallible;
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_throttle::{FallbackLayer, fallback::AnsweredBy};
///
/// let responds = |status: StatusCode| {
///     service_fn(move |_: Request<()>| async move {
///         let mut response = Response::new("");
///         *response.status_mut() = status;
///         Ok::<_, Infallible>(response)
///     })
/// };
/// let other_region = responds(StatusCode::BAD_GATEWAY);
/// let other_provider = responds(StatusCode::OK);
/// let client = ServiceBuilder::new()
///     .layer(FallbackLayer::new(other_provider).named("other provider"))
///     .layer(FallbackLayer::new(other_region).named("other region"))
///     .service(responds(StatusCode::SERVICE_UNAVAILABLE));
///
/// let answered_by = AnsweredBy::of(&client.oneshot(Request::new(())).await?);
/// assert!(!answered_by.is_primary());
/// assert_eq!(answered_by.name(), Some("other provider"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AnsweredBy {
    is_backup: bool,
    name: Option<Arc<str>>,
    is_primary_left_alone: bool,
}

/// Whether responses are HTTP. Implemented for [`HttpResponse`] and [`AnyResponse`].
#[diagnostic::on_unimplemented(
    message = "`{Response}` is not an HTTP response",
    note = "for other responses, call `.any_response()` and use a condition without a status",
    note = "a closure needs its argument's type: `|outcome: Result<&MyResponse, &BoxError>| ..`"
)]
pub trait Annotate<Response> {
    /// Notes in a backup's response who gave it, if the response can hold that.
    fn annotate(&self, response: &mut Response, answered_by: AnsweredBy);
}

/// A backup's response gets an [`AnsweredBy`] in its extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpResponse;

/// A backup's response is unchanged, whatever its type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnyResponse;

// ===== impl AnsweredBy =====

impl AnsweredBy {
    pub(super) const fn backup(name: Option<Arc<str>>, is_primary_left_alone: bool) -> Self {
        Self {
            is_backup: true,
            name,
            is_primary_left_alone,
        }
    }

    /// Returns whether the primary or a backup sent this response.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Self {
        response.extensions().get().cloned().unwrap_or_default()
    }

    /// Returns the [name](super::FallbackLayer::named) of the backup, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns whether the primary responded.
    #[must_use]
    pub const fn is_primary(&self) -> bool {
        !self.is_backup
    }

    /// Returns whether the backup responded because the primary's [`Circuit`](crate::Circuit) was
    /// open.
    ///
    /// With a retry between the two, earlier attempts may have reached the primary.
    #[must_use]
    pub const fn is_primary_left_alone(&self) -> bool {
        self.is_primary_left_alone
    }
}

// ===== impl Annotate =====

impl<Response: ResponseHead> Annotate<Response> for HttpResponse {
    fn annotate(&self, response: &mut Response, mut answered_by: AnsweredBy) {
        let extensions = response.extensions_mut();
        // The backup may itself be a fallback, whose backup has a name.
        if answered_by.name.is_none() {
            let inner = extensions.remove::<AnsweredBy>();
            answered_by.name = inner.and_then(|inner| inner.name);
        }
        extensions.insert(answered_by);
    }
}

impl<Response> Annotate<Response> for AnyResponse {
    fn annotate(&self, _: &mut Response, _: AnsweredBy) {}
}
