//! From a plain limit to one by caller, and to one of several.

use super::{
    PerKeyLayer, PerKeyLimiter,
    ask::ByKey,
    kind::{Bucket, InFlight, Kind, Rate, Window},
    limiter::DEFAULT,
};
use crate::limit::{
    concurrency::ConcurrencyLayer, quota::Quota, sliding_window::SlidingWindowLayer,
    token_bucket::TokenBucketLayer,
};

/// A limit that may be one of several of a caller: a [`TokenBucketLayer`] or a [`SlidingWindowLayer`]. Nothing of it counts but its quota.
///
/// Sealed.
pub trait OneOfSeveral: sealed::Sealed {
    /// What it counts.
    type Kind: Rate + Kind<Plan = Quota, Names = &'static str>;

    #[doc(hidden)]
    fn quota(self) -> Quota;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for crate::limit::token_bucket::TokenBucketLayer {}
    impl Sealed for crate::limit::sliding_window::SlidingWindowLayer {}
}

/// Makes of a limit on a rate one for each caller.
macro_rules! per {
    ($Layer:ident, $Kind:ident, $a_limit:literal) => {
        impl OneOfSeveral for $Layer {
            type Kind = $Kind;

            fn quota(self) -> Quota {
                self.limiter().quota()
            }
        }

        impl $Layer {
            #[doc = concat!($a_limit, " of this layer's quota for each client, which does not wait unless")]
            /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
            ///
            /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key). The clock
            /// and the bounds on waiting are this layer's. Costs and responses are set on the new layer.
            pub fn per<K>(self, key: K) -> PerKeyLayer<ByKey<K>, crate::limit::rejection::AsError, $Kind> {
                let limiter = self.limiter();
                let per_key = PerKeyLimiter::from_plan(limiter.quota(), DEFAULT);
                PerKeyLayer::new(per_key.clock(limiter.0.clock.clone()), key).limits(self.limits)
            }
        }
    };
}

per!(TokenBucketLayer, Bucket, "A bucket");
per!(SlidingWindowLayer, Window, "A window");

impl<H: Clone + Default + 'static> ConcurrencyLayer<crate::limit::rejection::AsError, H> {
    /// As many places as this layer has for each client, which does not wait unless
    /// [`max_wait`](PerKeyLayer::max_wait) is set, here or before.
    ///
    /// `key` tells clients apart, up to 1,000,000 of them: see [`per_key`](crate::per_key). The bounds on
    /// waiting are this layer's. Responses are set on the new layer.
    ///
    /// ```
    /// use http::Request;
    /// use tower_throttle::{ConcurrencyLayer, key};
    ///
    /// let layer = ConcurrencyLayer::new(4).per(key::ApiKey::bearer()).respond();
    /// # let _ = layer;
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "per-key")))]
    pub fn per<K>(
        self,
        key: K,
    ) -> PerKeyLayer<ByKey<K>, crate::limit::rejection::AsError, InFlight<H>> {
        let limiter = self.limiter();
        let per_key = PerKeyLimiter::from_plan(limiter.limit(), None);
        PerKeyLayer::new(per_key, key).limits(self.limits)
    }
}
