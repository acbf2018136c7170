//! When to stop: if one response after the other says that the next request will fail as well.

use reqwest::StatusCode;
use tower_throttle::{
    BoxError,
    provider::{QuotaExhausted, ThrottleReason},
};

/// So many in a row are no accident.
const IN_A_ROW: u32 = 3;

/// A failure that says more of the account than of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hopeless {
    /// The money is spent.
    Money,
    /// The day's quota is.
    Day,
    /// The key is not known.
    Key,
    /// The key may not do this. Some providers also reject single prompts with this status.
    Forbidden,
}

/// The failures of this kind since anything else happened.
#[derive(Debug, Default)]
pub(crate) struct Streak {
    of: Option<Hopeless>,
    length: u32,
    /// Whether any prompt was answered.
    has_answers: bool,
}

// ===== impl Hopeless =====

impl Hopeless {
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED => Some(Self::Key),
            StatusCode::FORBIDDEN => Some(Self::Forbidden),
            _ => None,
        }
    }

    pub(crate) fn of_error(error: &BoxError) -> Option<Self> {
        match QuotaExhausted::of(error)?.class() {
            ThrottleReason::Day => Some(Self::Day),
            ThrottleReason::QuotaExhausted => Some(Self::Money),
            // That says nothing of the next one.
            _ => None,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Money => "the money is spent, says the provider: pay, and run it again",
            Self::Day => "the day's quota is used up, says the provider: run it again tomorrow",
            Self::Key => "the provider does not know the API key: check it",
            Self::Forbidden => "the provider forbids this to the API key: check what it may do",
        }
    }
}

// ===== impl Streak =====

impl Streak {
    pub(crate) fn answered(&mut self) {
        self.length = 0;
        self.has_answers = true;
    }

    /// Notes a failure, and says why to stop if it is one too many.
    pub(crate) fn failed(&mut self, of: Option<Hopeless>) -> Option<&'static str> {
        let is_same = self.of == of;
        self.length = if is_same { self.length + 1 } else { 1 };
        self.of = of;
        let is_of_the_prompt = of == Some(Hopeless::Forbidden) && self.has_answers;
        let of = of.filter(|_| self.length >= IN_A_ROW && !is_of_the_prompt)?;
        Some(of.why())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: Option<Hopeless> = Some(Hopeless::Money);
    const KEY: Option<Hopeless> = Some(Hopeless::Key);

    #[test]
    fn three_in_a_row_are_enough() {
        let mut streak = Streak::default();
        assert_eq!(streak.failed(MONEY), None);
        assert_eq!(streak.failed(MONEY), None);
        assert!(
            streak
                .failed(MONEY)
                .is_some_and(|why| why.contains("money"))
        );
        assert!(streak.failed(MONEY).is_some());
    }

    #[test]
    fn anything_else_between_them_begins_anew() {
        for other in [None, KEY] {
            let mut streak = Streak::default();
            for of in [MONEY, MONEY, other, MONEY, MONEY] {
                assert_eq!(streak.failed(of), None);
            }
            streak.answered();
            assert_eq!(streak.failed(MONEY), None);
        }
    }

    #[test]
    fn what_is_forbidden_may_be_the_prompt_once_others_are_answered() {
        let forbidden = Hopeless::of_status(StatusCode::FORBIDDEN);
        let mut streak = Streak::default();
        streak.answered();
        assert!((0..9).all(|_| streak.failed(forbidden).is_none()));
        assert!((0..9).any(|_| streak.failed(KEY).is_some()));
    }

    #[test]
    fn failures_that_say_nothing_never_stop_it() {
        let mut streak = Streak::default();
        assert!((0..9).all(|_| streak.failed(None).is_none()));
    }
}
