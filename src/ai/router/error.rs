use std::{error::Error, fmt};

/// A longer name is cut where it is shown.
const LONGEST_NAME: usize = 100;

/// No target takes the request: it names a model that none of them has, and none takes requests
/// [as they are](super::Target::model); or there are no targets.
///
/// It arrives inside the [`BoxError`](crate::BoxError) of an [`Router`](super::Router). Nothing was sent.
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

    /// The model that the request names, or the first 100 characters of it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl fmt::Display for NoTargetAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => write!(f, "no target has the model {model:?}"),
            None => f.write_str("there is no target"),
        }
    }
}

impl Error for NoTargetAvailable {}
