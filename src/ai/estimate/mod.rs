//! How many tokens a request may use, estimated before it is sent.
//!
//! An estimate is what a request takes from a limit of tokens until its answer says what it has used. Too high, and
//! fewer requests are in flight than could be; too low, and the provider refuses some.
//!
//! [`ByLength`] needs no tokenizer. A closure can use one.

mod by_length;
mod count;
mod learned;
mod model;
mod sketch;

pub use self::by_length::ByLength;
pub(super) use self::learned::LearnedRatios;
use crate::ai::tokens::Tokens;

/// Says how many tokens a request may use.
///
/// The default is [`ByLength`]. Closures are estimates; here with a tokenizer, of which only the shape is shown:
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
    /// The tokens of the prompt, and the most that the answer may have.
    fn estimate(&self, request: &Request) -> Tokens;

    /// The name of the model that the request asks for, by which it is learned how far estimates are off.
    ///
    /// `None` unless told otherwise.
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

/// Someone will want to choose one at run time.
const _: fn(&dyn Estimate<()>) = |_| {};
