//! What can answer in the primary's stead: a service, a value, a closure, or several of them in turn.

mod map;
mod only;
mod or;
mod to;
mod value;

use std::{future::Future, sync::Arc};

pub use self::{
    map::{Cloned, Map, Same},
    only::{Only, Restrict},
    or::{Or, OrFuture},
    to::{To, ToFuture},
    value::{FromFn, Value},
};
use crate::BoxError;

/// What came of a request.
pub type Outcome<Response> = Result<Response, BoxError>;

/// Something that answers where the primary failed. Sealed: [`To`], [`Value`], [`FromFn`], [`Only`] and [`Or`].
pub trait Backup<Request, Response>: Chain {
    /// The response future.
    #[doc(hidden)]
    type Future: Future<Output = Outcome<Response>>;

    /// What has to be kept of a request before it is given away.
    #[doc(hidden)]
    fn keep(&self, request: &Request) -> Option<Request>;

    /// Whether number `index` is for this outcome; `None` where it has no condition of its own.
    #[doc(hidden)]
    #[inline]
    fn is_for(&self, index: usize, outcome: Result<&Response, &BoxError>) -> Option<bool> {
        let _ = (index, outcome);
        None
    }

    /// Lets number `index` of the chain answer, or gives the failure back where that one can't.
    ///
    /// The failure is dropped before this one is called. `request` is left for those behind it.
    #[doc(hidden)]
    #[allow(clippy::type_complexity, reason = "named once, here")]
    fn answer(
        &self,
        index: usize,
        request: &mut Option<Request>,
        failed: Outcome<Response>,
    ) -> Result<Self::Future, Outcome<Response>>;
}

/// One or more that answer in turn. Sealed.
pub trait Chain: sealed::Sealed {
    /// How many they are.
    #[doc(hidden)]
    fn count(&self) -> usize;

    /// Whether any of them has a condition of its own.
    #[doc(hidden)]
    #[inline]
    fn is_choosy(&self) -> bool {
        false
    }

    /// The name of number `index`.
    #[doc(hidden)]
    fn name(&self, index: usize) -> Option<Arc<str>>;

    /// Names the last one.
    #[doc(hidden)]
    fn name_last(&mut self, name: Arc<str>);
}

mod sealed {
    /// Keeps [`Chain`](super::Chain) ours, so that it may grow.
    pub trait Sealed {}
    impl<B, M> Sealed for super::To<B, M> {}
    impl<V> Sealed for super::Value<V> {}
    impl<F> Sealed for super::FromFn<F> {}
    impl<A, B> Sealed for super::Or<A, B> {}
    impl<B, W> Sealed for super::Only<B, W> {}
}

/// Writes [`Chain`] for one that stands alone, with a field for its name.
macro_rules! chain_of_one {
    ($Kind:ident<$($param:ident),+>) => {
        impl<$($param),+> super::Chain for $Kind<$($param),+> {
            fn count(&self) -> usize {
                1
            }

            fn name(&self, _: usize) -> Option<std::sync::Arc<str>> {
                self.name.clone()
            }

            fn name_last(&mut self, name: std::sync::Arc<str>) {
                self.name = Some(name);
            }
        }
    };
}

use chain_of_one;
