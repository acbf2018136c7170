use std::{any::type_name, fmt, sync::Arc};

use super::{Backup, Chain, FromFn, Or, Outcome, To, Value};
use crate::{BoxError, fallback::when::When};

/// Answers where a condition of its own holds, and is passed over where it does not.
#[derive(Clone)]
pub struct Only<B, W> {
    backup: B,
    when: W,
}

/// A backup, or a chain of them, the last of which can be given a condition. Sealed.
pub trait Restrict<W>: Chain {
    /// The same, with the condition.
    type Output: Chain;

    /// Gives the last one a condition.
    #[doc(hidden)]
    fn restrict(self, when: W) -> Self::Output;
}

// ===== impl Only =====

impl<B: Chain, W> Chain for Only<B, W> {
    fn count(&self) -> usize {
        self.backup.count()
    }

    #[inline]
    fn is_choosy(&self) -> bool {
        true
    }

    fn name(&self, index: usize) -> Option<Arc<str>> {
        self.backup.name(index)
    }

    fn name_last(&mut self, name: Arc<str>) {
        self.backup.name_last(name);
    }
}

impl<B, W, Request, Response> Backup<Request, Response> for Only<B, W>
where
    B: Backup<Request, Response>,
    W: When<Response>,
{
    type Future = B::Future;

    #[inline]
    fn keep(&self, request: &Request) -> Option<Request> {
        self.backup.keep(request)
    }

    /// All conditions, where it was given several.
    fn is_for(&self, index: usize, outcome: Result<&Response, &BoxError>) -> Option<bool> {
        let is_for = self.backup.is_for(index, outcome).unwrap_or(true);
        Some(is_for && self.when.when(outcome))
    }

    fn answer(
        &self,
        index: usize,
        request: &mut Option<Request>,
        failed: Outcome<Response>,
    ) -> Result<Self::Future, Outcome<Response>> {
        self.backup.answer(index, request, failed)
    }
}

impl<B: fmt::Debug, W> fmt::Debug for Only<B, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Only")
            .field("backup", &self.backup)
            .field("when", &type_name::<W>())
            .finish()
    }
}

// ===== impl Restrict =====

macro_rules! restricts_itself {
    ($($Kind:ident<$($param:ident),+>),+ $(,)?) => {$(
        impl<$($param,)+ W> Restrict<W> for $Kind<$($param),+>
        where
            Self: Chain,
        {
            type Output = Only<Self, W>;

            fn restrict(self, when: W) -> Only<Self, W> {
                Only { backup: self, when }
            }
        }
    )+};
}

restricts_itself!(To<B, M>, Value<V>, FromFn<F>, Only<B, W0>);

impl<A: Chain, B: Restrict<W>, W> Restrict<W> for Or<A, B> {
    type Output = Or<A, B::Output>;

    fn restrict(self, when: W) -> Self::Output {
        self.map_second(|last| last.restrict(when))
    }
}
