//! What an error of a model API says, whether it comes as one or under a status that says that all
//! is well.

mod body;
mod codes;
mod in_band;
mod kind;
mod reader;
mod reason;
#[cfg(test)]
mod tests;

pub use self::reason::Class;
pub(crate) use self::{
    in_band::{Says, says},
    kind::Diagnosis,
    reader::ErrorReader,
    reason::LimitError,
};
