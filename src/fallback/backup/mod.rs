//! What can answer in the primary's stead: a service, a value, a closure, or several of them in turn.

mod or;
mod to;
mod value;

use std::{future::Future, sync::Arc};

pub use self::{
    or::{Or, OrFuture},
    to::{Cloned, Map, Same, To, ToFuture},
    value::{FromFn, Value},
};
use crate::BoxError;

/// What came of a request.
pub type Outcome<Response> = Result<Response, BoxError>;

/// Something that answers where the primary failed. Sealed: [`To`], [`Value`], [`FromFn`] and [`Or`].
pub trait Backup<Request, Response>: Chain {
    /// The response future.
    #[doc(hidden)]
    type Future: Future<Output = Outcome<Response>>;

    /// What has to be kept of a request before it is given away.
    #[doc(hidden)]
    fn keep(&self, request: &Request) -> Option<Request>;

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
