//! The cost of a request.

use std::sync::Arc;

use super::Estimate;
use crate::{
    ai::{
        estimate::LearnedRatios,
        tokens::{TokenUsage, Tokens},
    },
    limit::{Prioritize, Priority, engine::Measure},
};

/// The tokens to reserve, and the data needed to learn from the actual usage.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub(super) tokens: Tokens,
    pub(super) lesson: Option<Box<Lesson>>,
}

/// An estimate that will be compared with the usage in the response.
#[derive(Clone)]
pub(super) struct Lesson {
    learned: Arc<LearnedRatios>,
    model: String,
    estimated: Tokens,
}

/// Measures a request by its estimate, corrected by the learned ratios, and by its priority.
#[derive(Debug, Clone)]
pub(super) struct ByEstimate<E, P> {
    pub(super) estimate: E,
    pub(super) learned: Option<Arc<LearnedRatios>>,
    pub(super) priority: P,
}

// ===== impl TokenRequest =====

impl TokenRequest {
    pub(super) const fn plain(tokens: Tokens) -> Self {
        Self {
            tokens,
            lesson: None,
        }
    }
}

// ===== impl Lesson =====

impl Lesson {
    pub(super) fn learn(self, usage: TokenUsage) {
        self.learned.observe(&self.model, self.estimated, usage);
    }
}

// Omits the learned ratios, which all requests share.
crate::macros::debug!(impl Debug for Lesson |self| { model, estimated, .. });

// ===== impl ByEstimate =====

impl<E, P, Request> Measure<Request, TokenRequest> for ByEstimate<E, P>
where
    E: Estimate<Request>,
    P: Prioritize<Request>,
{
    fn measure(&self, request: &Request) -> TokenRequest {
        let estimated = self.estimate.estimate(request);
        let lesson = self.learned.as_ref().map(|learned| Lesson {
            learned: learned.clone(),
            model: self.estimate.model(request).unwrap_or_default(),
            estimated,
        });
        let correct = |lesson: &Lesson| lesson.learned.correct(&lesson.model, estimated);
        TokenRequest {
            tokens: lesson.as_ref().map_or(estimated, correct),
            lesson: lesson.map(Box::new),
        }
    }

    fn priority(&self, request: &Request) -> Priority {
        self.priority.priority(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::UniformPriority;

    #[test]
    fn debug_omits_other_models() {
        let learned = Arc::new(LearnedRatios::default());
        learned.observe("another", Tokens::new(1, 1), TokenUsage::default());
        let estimate = |_: &()| Tokens::new(1, 2);
        let cost = ByEstimate {
            estimate,
            learned: Some(learned),
            priority: UniformPriority,
        };
        let shown = format!("{:?}", cost.measure(&()));
        assert!(
            shown.contains("Lesson") && !shown.contains("another"),
            "{shown}"
        );
    }
}
