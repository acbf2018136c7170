//! How a caller can tell who answered.

use std::sync::Arc;

use crate::ResponseHead;

/// Who answered, as a fallback leaves it in the response's extensions.
///
/// The primary's answers are left as they are: [`AnsweredBy::of`] takes a response without this extension for one of
/// the primary.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_throttle::BoxError> {
/// use std::convert::Infallible;
/// use http::{Request, Response, StatusCode};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_throttle::{FallbackLayer, fallback::AnsweredBy};
///
/// let answers = |status: StatusCode| {
///     service_fn(move |_: Request<()>| async move {
///         let mut response = Response::new("");
///         *response.status_mut() = status;
///         Ok::<_, Infallible>(response)
///     })
/// };
/// let client = FallbackLayer::new(answers(StatusCode::BAD_GATEWAY))
///     .named("another region")
///     .or(answers(StatusCode::OK))
///     .named("another provider")
///     .layer(answers(StatusCode::SERVICE_UNAVAILABLE));
///
/// let answered_by = AnsweredBy::of(&client.oneshot(Request::new(())).await?);
/// assert_eq!(answered_by.index(), 2);
/// assert_eq!(answered_by.name(), Some("another provider"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AnsweredBy {
    index: usize,
    name: Option<Arc<str>>,
    is_primary_left_alone: bool,
}

// ===== impl AnsweredBy =====

impl AnsweredBy {
    pub(super) const fn new(
        index: usize,
        name: Option<Arc<str>>,
        is_primary_left_alone: bool,
    ) -> Self {
        Self {
            index,
            name,
            is_primary_left_alone,
        }
    }

    /// Who gave this response.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Self {
        response.extensions().get().cloned().unwrap_or_default()
    }

    /// 0 for the primary, and from 1 on for the fallbacks, in the order in which they were added to the layer.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The name that the layer was given for this fallback.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether no fallback was needed.
    #[must_use]
    pub const fn is_primary(&self) -> bool {
        self.index == 0
    }

    /// Whether the primary was left alone, since its [`Circuit`](crate::Circuit) was open.
    ///
    /// With a retry between the two, earlier attempts may have reached it.
    #[must_use]
    pub const fn is_primary_left_alone(&self) -> bool {
        self.is_primary_left_alone
    }

    /// Leaves a note in `response`. Where one is there already, since a fallback has fallbacks of its own, its name
    /// stays unless there is a better one.
    pub(super) fn note<R: ResponseHead>(mut self, response: &mut R) {
        let extensions = response.extensions_mut();
        if self.name.is_none() {
            self.name = extensions.remove::<Self>().and_then(|inner| inner.name);
        }
        extensions.insert(self);
    }
}
