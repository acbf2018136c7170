//! The doors to clients and servers that have types of their own.

#[cfg(feature = "reqwest")]
mod reqwest;
