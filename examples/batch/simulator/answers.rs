//! Counts full responses for each prompt.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// How often each prompt was answered in full, by [`prompt_id`].
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<u64, u64>>);

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

/// A hash of a prompt's messages: another model does not make another prompt.
pub(super) fn prompt_id(messages: &[Value]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(messages)
}

// ===== impl Answers =====

impl Answers {
    pub(super) fn add(&self, prompt: u64) {
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
