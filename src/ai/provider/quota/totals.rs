//! The tokens of all requests since the start, for metrics.

use crate::ai::tokens::{TokenUsage, Tokens};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenTotals {
    pub(crate) reserved: u64,
    pub(crate) used: u64,
    /// Reserved and not used.
    pub(crate) returned: u64,
}

// ===== impl TokenTotals =====

impl TokenTotals {
    pub(super) fn reserve(&mut self, tokens: Tokens) {
        self.reserved = self.reserved.saturating_add(tokens.total());
    }

    /// Ends a request. Without a usage it has used what it reserved.
    pub(super) fn settle(&mut self, reserved: Tokens, usage: Option<TokenUsage>) {
        let used = usage.map_or(reserved.total(), TokenUsage::total);
        let returned = reserved.total().saturating_sub(used);
        self.used = self.used.saturating_add(used);
        self.returned = self.returned.saturating_add(returned);
    }
}
