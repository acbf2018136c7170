//! From a limit for all to one per key, and to one of several.

use super::{
    PerKeyLayer, PerKeyLimiter,
    by_key::ByKey,
    kind::{Bucket, InFlight, Kind, Rate, Window},
};
use crate::limit::{
    concurrency::ConcurrencyLayer, quota::Quota, rejection::AsError,
    sliding_window::SlidingWindowLayer, token_bucket::TokenBucketLayer,
};

/// The default name of the first limit.
pub(super) const DEFAULT: &str = "default";

/// A limit that may be one of several of a key. Only its quota counts.
pub trait OneOfSeveral {
    type Kind: Rate + Kind<Plan = Quota, Names = &'static str>;

    fn quota(self) -> Quota;
}

/// Turns a limit on a rate into one per key.
macro_rules! per {
    ($Layer:ident, $Kind:ident, $a_limit:literal) => {
        impl OneOfSeveral for $Layer {
            type Kind = $Kind;

            fn quota(self) -> Quota {
                self.limiter().quota()
            }
        }

        impl $Layer {
            #[doc = concat!($a_limit, " of this layer's quota for each client.")]
            /// Requests wait only if
            /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
            ///
            /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key).
            /// The clock and the bounds on waiting are this layer's. Costs and responses are set on
            /// the new layer. If this layer is shared by several processes, so is the new one.
            pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>, AsError, $Kind> {
                let limiter = self.limiter();
                let per_key = <PerKeyLimiter<$Kind>>::from_plan(limiter.quota(), DEFAULT);
                #[cfg(feature = "redis")]
                let per_key = match limiter.0.store() {
                    Some((store, name)) => per_key.in_store(store, name),
                    None => per_key,
                };
                PerKeyLayer::new(per_key.clock(limiter.0.clock.clone()), key).limits(self.limits)
            }
        }
    };
}

per!(TokenBucketLayer, Bucket, "A bucket");
per!(SlidingWindowLayer, Window, "A window");

impl<H: Clone + Default + 'static> ConcurrencyLayer<AsError, H> {
    /// This layer's limit for each client, which does not wait unless
    /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
    ///
    /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key). The
    /// bounds on waiting are this layer's. Responses are set on the new layer.
    ///
    /// # Panics
    ///
    /// If this layer is shared by several processes, since the limit for each client would not be.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::{ConcurrencyLayer, key};
    ///
    /// let layer = ConcurrencyLayer::new(4).per(key::ApiKey::bearer()).respond();
    /// # let _ = layer;
    /// ```
    pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>, AsError, InFlight<H>> {
        let limiter = self.limiter();
        #[cfg(feature = "redis")]
        assert!(
            limiter.0.lease().is_none(),
            "limits of requests in flight per client cannot be shared: remove `.shared(..)`"
        );
        let per_key = PerKeyLimiter::from_plan(limiter.limit(), None);
        PerKeyLayer::new(per_key, key).limits(self.limits)
    }
}
