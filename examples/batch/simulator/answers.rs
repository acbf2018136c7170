//! Counts full responses for each prompt.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// How often each prompt was answered in full.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Prompt, u64>>);

/// What a prompt is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prompt(u64);

/// How many prompts were answered in full, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    /// How many different prompts.
    pub(crate) prompts: usize,
    /// How many responses they got.
    pub(crate) answers: u64,
    /// The most that one of them got.
    pub(crate) most: u64,
}

// ===== impl Answers =====

impl Answers {
    pub(super) fn add(&self, prompt: Prompt) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(prompt).or_insert(0) += 1;
    }

    pub(super) fn sum(&self) -> Answered {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Answered {
            prompts: all.len(),
            answers: all.values().sum(),
            most: all.values().copied().max().unwrap_or(0),
        }
    }
}

// ===== impl Prompt =====

impl Prompt {
    /// By its messages: another model does not make another prompt.
    pub(super) fn of(messages: &[Value]) -> Self {
        let mut hasher = DefaultHasher::new();
        messages.hash(&mut hasher);
        Self(hasher.finish())
    }
}
