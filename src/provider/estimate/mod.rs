//! How many tokens a request may use, estimated before it is sent.

use crate::Tokens;

/// Says how many tokens a request may use.
pub trait Estimate<Request> {
    /// The tokens of the prompt, and the most that the answer may have.
    fn estimate(&self, request: &Request) -> Tokens;
}

/// Stub.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByLength(());

impl<R> Estimate<R> for ByLength {
    fn estimate(&self, _: &R) -> Tokens {
        let () = self.0;
        Tokens::new(1, 1)
    }
}

impl<F, Request> Estimate<Request> for F
where
    F: Fn(&Request) -> Tokens,
{
    fn estimate(&self, request: &Request) -> Tokens {
        self(request)
    }
}
