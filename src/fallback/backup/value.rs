use std::{any::type_name, fmt, future::Ready, sync::Arc};

use super::{Backup, Outcome, chain_of_one};

/// Answers with a clone of a value.
#[derive(Clone)]
pub struct Value<V> {
    value: V,
    name: Option<Arc<str>>,
}

/// Answers with what a closure makes of the failure.
#[derive(Clone)]
pub struct FromFn<F> {
    f: F,
    name: Option<Arc<str>>,
}

// ===== impl Value =====

impl<V> Value<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self { value, name: None }
    }
}

chain_of_one!(Value<V>);

impl<V: Clone, Request> Backup<Request, V> for Value<V> {
    type Future = Ready<Outcome<V>>;

    fn keep(&self, _: &Request) -> Option<Request> {
        None
    }

    fn answer(
        &self,
        _: usize,
        _: &mut Option<Request>,
        failed: Outcome<V>,
    ) -> Result<Self::Future, Outcome<V>> {
        drop(failed);
        Ok(std::future::ready(Ok(self.value.clone())))
    }
}

impl<V> fmt::Debug for Value<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("value", &type_name::<V>())
            .field("name", &self.name)
            .finish()
    }
}

// ===== impl FromFn =====

impl<F> FromFn<F> {
    pub(crate) const fn new(f: F) -> Self {
        Self { f, name: None }
    }
}

chain_of_one!(FromFn<F>);

impl<F, Request, Response> Backup<Request, Response> for FromFn<F>
where
    F: Fn(Outcome<Response>) -> Response,
{
    type Future = Ready<Outcome<Response>>;

    fn keep(&self, _: &Request) -> Option<Request> {
        None
    }

    fn answer(
        &self,
        _: usize,
        _: &mut Option<Request>,
        failed: Outcome<Response>,
    ) -> Result<Self::Future, Outcome<Response>> {
        Ok(std::future::ready(Ok((self.f)(failed))))
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn")
            .field("f", &type_name::<F>())
            .field("name", &self.name)
            .finish()
    }
}
