//! The extension that says whether the primary or a backup responded.

use std::sync::Arc;

use crate::http::ResponseHead;

/// Response extension that says whether the primary or a backup responded.
///
/// A [`Fallback`](super::Fallback) puts this into the extensions of a backup's response. Responses
/// of the primary are unchanged: [`ServedBy::of`] takes a response without this extension for one
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
/// use tower_throttle::{FallbackLayer, fallback::ServedBy};
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
/// let served_by = ServedBy::of(&client.oneshot(Request::new(())).await?);
/// assert!(!served_by.is_primary());
/// assert_eq!(served_by.name(), Some("other provider"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ServedBy {
    pub(super) is_backup: bool,
    pub(super) name: Option<Arc<str>>,
    pub(super) is_circuit_open: bool,
}

// ===== impl ServedBy =====

impl ServedBy {
    /// Returns who responded.
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
    pub const fn is_circuit_open(&self) -> bool {
        self.is_circuit_open
    }

    /// Notes in a backup's response that it came from one.
    pub(super) fn note(mut self, response: &mut dyn ResponseHead) {
        let extensions = response.extensions_mut();
        // The backup may itself be a fallback, whose backup has a name.
        if self.name.is_none() {
            let inner = extensions.remove::<Self>();
            self.name = inner.and_then(|inner| inner.name);
        }
        extensions.insert(self);
    }
}
