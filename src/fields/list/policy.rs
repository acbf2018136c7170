//! Values of `RateLimit-Policy`, which are the same for most answers.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;

use super::{Standing, format, quoted_len, seconds};

/// How many each thread keeps ready. A server with more plans than that writes some of them anew.
const KEPT: usize = 8;

thread_local! {
    // One for each thread, so that nobody waits for anybody; a clone counts a reference up.
    static POLICIES: RefCell<Policies> = const { RefCell::new(Policies { all: Vec::new(), next: 0 }) };
}

struct Policies {
    all: Vec<Policy>,
    /// The one that makes room for another.
    next: usize,
}

struct Policy {
    name: Box<str>,
    quota: u64,
    window: std::time::Duration,
    value: HeaderValue,
}

/// The policy of a limit.
pub(super) fn value(standing: &Standing<'_>) -> Option<HeaderValue> {
    let ready = POLICIES.try_with(|policies| policies.try_borrow_mut().ok()?.value(standing));
    // A thread that is ending has none any more.
    ready.ok().flatten().or_else(|| written(standing))
}

fn written(standing: &Standing<'_>) -> Option<HeaderValue> {
    let window = seconds(standing.window).max(1);
    let numbers = [(b";q=", standing.quota), (b";w=", window)];
    let item = format(standing.name, quoted_len(standing.name), numbers);
    HeaderValue::from_maybe_shared(Bytes::from(item)).ok()
}

// ===== impl Policies =====

impl Policies {
    fn value(&mut self, standing: &Standing<'_>) -> Option<HeaderValue> {
        if let Some(policy) = self.all.iter().find(|policy| policy.is_of(standing)) {
            return Some(policy.value.clone());
        }
        let value = written(standing)?;
        let policy = Policy {
            name: standing.name.into(),
            quota: standing.quota,
            window: standing.window,
            value: value.clone(),
        };
        if self.all.len() < KEPT {
            self.all.push(policy);
        } else {
            self.all[self.next] = policy;
            self.next = (self.next + 1) % KEPT;
        }
        Some(value)
    }
}

// ===== impl Policy =====

impl Policy {
    fn is_of(&self, standing: &Standing<'_>) -> bool {
        self.quota == standing.quota
            && self.window == standing.window
            && *self.name == *standing.name
    }
}
