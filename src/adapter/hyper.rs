//! The body of a request that a server has received, for proxies that pass it on.

use hyper::body::Incoming;

use crate::TryClone;

/// `None`: what is received can be read once.
impl TryClone for Incoming {
    fn try_clone(&self) -> Option<Self> {
        None
    }
}
