//! Axum's body can be sent again where there is nothing in it.

use axum_core::body::Body;
use http_body::Body as _;

use crate::TryClone;

/// `None` unless the body has ended already: what it streams can be read once.
impl TryClone for Body {
    fn try_clone(&self) -> Option<Self> {
        self.is_end_stream().then(Self::empty)
    }
}
