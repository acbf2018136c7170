//! Whom a request is counted for: the keys of limits by caller.

mod caller;
mod client_ip;
mod networks;
mod peer_ip;

pub use self::{
    caller::Caller,
    client_ip::{ClientIp, ForwardedBy, Unreadable},
    networks::{InvalidNetwork, Networks},
    peer_ip::{PeerAddr, PeerIp},
};

/// Says which caller a request is counted for.
///
/// Closures are keys: they return anything that is `Into<Caller>`, or an `Option` of it.
pub trait Key<Request> {
    /// The caller, or `None` where the request does not say.
    fn caller(&self, request: &Request) -> Option<Caller>;
}
