//! Estimates the tokens of a request before it is sent.
//!
//! A request reserves its estimate until the response reports the usage. If estimates are too high,
//! fewer requests are in flight than possible; if they are too low, the provider rejects some.
//!
//! [`ByLength`] needs no tokenizer. A closure can use one.

mod by_length;
mod count;
mod learned;
mod sketch;

pub use self::by_length::ByLength;
pub(super) use self::learned::LearnedRatios;
use crate::ai::tokens::Tokens;

/// Estimates the tokens of a request.
///
/// The default is [`ByLength`]. Closures implement this trait.
///
/// # Examples
///
/// With a tokenizer:
///
/// ```
/// use tower_throttle::{Tokens, provider::Estimate};
///
/// # struct Tokenizer;
/// # impl Tokenizer {
/// #     fn encode(&self, text: &str) -> Vec<u32> { text.split(' ').map(|_| 0).collect() }
/// # }
/// # let tokenizer = Tokenizer;
/// let estimate = move |prompt: &String| Tokens::new(tokenizer.encode(prompt).len() as u64, 500);
/// assert_eq!(estimate.estimate(&String::from("why is the sky blue")), Tokens::new(5, 500));
/// ```
pub trait Estimate<Request> {
    /// Returns the tokens of the prompt and the largest number of tokens of the response.
    fn estimate(&self, request: &Request) -> Tokens;

    /// Returns the name of the model that the request is for, by which the error of estimates is
    /// learned.
    ///
    /// The default returns `None`.
    fn model(&self, request: &Request) -> Option<String> {
        let _ = request;
        None
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

/// The trait must stay dyn compatible.
const _: fn(&dyn Estimate<()>) = |_| {};
