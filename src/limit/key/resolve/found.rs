//! What a look-up comes to, and where it is put.

/// What a look-up comes to: something that it found, nothing, or an answer in the service's stead.
///
/// Sealed. It is an `Option<T>`, or a `Result<Option<T>, Response>` whose error is a response of the service, such as a 503 where
/// the database is down or a 401 for a key that is nobody's. So the service's own error type stays what it is. Where a layer
/// further in gives responses another body, as a [`ConcurrencyLayer`](crate::ConcurrencyLayer) does, `response.map(Into::into)`
/// is of that type.
#[diagnostic::on_unimplemented(
    message = "a look-up can't come to `{Self}`",
    note = "it comes to an `Option<T>`, or to a `Result<Option<T>, Response>` with the response type of the service inside"
)]
pub trait Resolution<Response>: sealed::Sealed {
    /// What is found.
    type KeyedService;

    #[doc(hidden)]
    fn into_found(self) -> Result<Option<Self::KeyedService>, Response>;
}

/// A request that can be told what was found out about it.
///
/// Implemented for [`http::Request`], which keeps it in its extensions, and so for the requests of axum, hyper and tonic. For a
/// request of another kind, say where it belongs:
///
/// ```
/// use tower_throttle::key::{ClientKey, resolve::Attach};
///
/// struct Job {
///     token: u64,
///     owner: Option<ClientKey>,
/// }
///
/// impl Attach<ClientKey> for Job {
///     fn attach(&mut self, found: Option<ClientKey>) {
///         self.owner = found;
///     }
/// }
/// // Inside of the layer, the limit reads it: `.per(|job: &Job| job.owner)`.
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no place for a `{T}` that was found out about it",
    note = "an `http::Request` keeps what is `Clone + Send + Sync + 'static`; a request of another kind says where it belongs"
)]
pub trait Attach<T> {
    /// Keeps `found` in place of whatever stood there before, also where it is `None`.
    fn attach(&mut self, found: Option<T>);
}

mod sealed {
    /// Keeps [`Resolution`](super::Resolution) ours, so that it may grow.
    pub trait Sealed {}

    impl<T> Sealed for Option<T> {}
    impl<T, Response> Sealed for Result<Option<T>, Response> {}
}

impl<T, Response> Resolution<Response> for Option<T> {
    type KeyedService = T;

    fn into_found(self) -> Result<Option<T>, Response> {
        Ok(self)
    }
}

impl<T, Response> Resolution<Response> for Result<Option<T>, Response> {
    type KeyedService = T;

    fn into_found(self) -> Self {
        self
    }
}

impl<B, T> Attach<T> for http::Request<B>
where
    T: Clone + Send + Sync + 'static,
{
    fn attach(&mut self, found: Option<T>) {
        let extensions = self.extensions_mut();
        match found {
            Some(found) => extensions.insert(found),
            None => extensions.remove(),
        };
    }
}
