//! Bodies of limits per key.

use super::{kind::Rate, permit::Permit};
use crate::http::{GuardedBody, guarded_body::BodyEvent, keep_alives::KeepAlives};

/// Body whose bytes are the cost of its request. They count as they pass; a cost that was reserved
/// and is not used is given back at the last frame, the first error, or the drop.
pub type Metered<B, K> = GuardedBody<B, BodyPermit<K>>;

/// The [`Permit`] of a request whose cost is the bytes of its response's body. It is settled when
/// it is dropped.
pub struct BodyPermit<K: Rate> {
    permit: Permit<K>,
    bytes: u64,
}

/// Settles a cost by the bytes that have passed through the response's body.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes;

// ===== impl BodyPermit =====

impl<K: Rate> BodyPermit<K> {
    /// Puts a permit into a body.
    pub(super) fn meter<B: http_body::Body>(body: B, permit: Permit<K>) -> Metered<B, K> {
        let permit = Self { permit, bytes: 0 };
        GuardedBody::watched(body, permit, Self::count, KeepAlives::default())
    }

    fn count(&mut self, event: BodyEvent) {
        if let BodyEvent::Data(bytes) = event {
            self.bytes = self.bytes.saturating_add(bytes);
            self.permit.charge(self.bytes);
        }
    }
}

impl<K: Rate> Drop for BodyPermit<K> {
    fn drop(&mut self) {
        self.permit.settle(|| self.bytes);
    }
}

crate::macros::debug!(impl<K: Rate> Debug for BodyPermit<K> |self| { bytes, .. });
