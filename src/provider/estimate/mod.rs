//! How many tokens a request may use, estimated before it is sent.

use crate::Tokens;

/// Says how many tokens a request may use.
pub trait Estimate<Request> {
    /// The tokens of the prompt, and the most that the answer may have.
    fn estimate(&self, request: &Request) -> Tokens;
}
