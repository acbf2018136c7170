use std::{error::Error, fmt};

use crate::error::{BoxError, find_source};

/// Longer names are truncated for display.
const LONGEST_NAME: usize = 100;

/// Error returned if no target matches a request: it names a model that no target has, and every
/// target has a [model](super::Target::model); or there are no targets.
///
/// It is returned inside the [`BoxError`](crate::BoxError) of a [`Router`](super::Router). The
/// request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTargetAvailable {
    model: Option<String>,
}

// ===== impl NoTargetAvailable =====

impl NoTargetAvailable {
    pub(super) fn new(model: Option<&str>) -> Self {
        let cut = |name: &str| name.chars().take(LONGEST_NAME).collect();
        Self {
            model: model.map(cut),
        }
    }

    /// Returns the `NoTargetAvailable` in this error's chain of sources, if there is one.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<&Self> {
        find_source(error)
    }

    /// Returns the model that the request names, truncated to 100 characters.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl fmt::Display for NoTargetAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => write!(f, "no target for model {model:?}: add one or call `always`"),
            None => f.write_str("no targets: add one with `RouterLayer::target`"),
        }
    }
}

impl Error for NoTargetAvailable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_displayed_as_one_plain_line() {
        let long = format!("a\n\u{1b}[31m\u{202e}\u{2028}{}", "x".repeat(1_000));
        let text = NoTargetAvailable::new(Some(&long)).to_string();
        let is_plain = |c: char| c.is_ascii() && !c.is_control();
        assert!(text.chars().all(is_plain) && text.len() < 200, "{text}");
    }
}
