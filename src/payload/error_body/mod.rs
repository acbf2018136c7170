//! Errors of model APIs, in error responses and in successful ones.

mod body;
mod codes;
mod kind;
mod reader;
mod reason;
mod shapes;
#[cfg(test)]
mod tests;

pub use self::reason::ThrottleReason;
pub(crate) use self::{
    kind::Diagnosis,
    reader::{ErrorReader, says_more},
    reason::LimitError,
};
