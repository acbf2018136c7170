//! The result of a look-up, and where it is inserted.

/// The result of a look-up: a value, nothing, or a response.
#[diagnostic::on_unimplemented(
    message = "a look-up can't return `{Self}`",
    note = "it returns an `Option<T>`, or a `Result<Option<T>, Response>` with the response type \
            of the inner service"
)]
pub trait Resolution<Response>: sealed::Sealed {
    /// The value that is found.
    type KeyedService;

    fn into_found(self) -> Result<Option<Self::KeyedService>, Response>;
}

/// A request that stores the result of a look-up.
///
/// Implemented for [`http::Request`], which stores it in its extensions, and so for the requests of
/// axum, hyper and tonic. Implement it for other types of requests:
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
/// // Inside the layer, the limit reads it: `.per(|job: &Job| job.owner)`.
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't store the `{T}` of a look-up",
    note = "an `http::Request` stores what is `Clone + Send + Sync + 'static`; other requests \
            implement `Attach<{T}>`"
)]
pub trait Attach<T> {
    /// Stores `found` in place of the value before, also if it is `None`.
    fn attach(&mut self, found: Option<T>);
}

mod sealed {
    /// Keeps the trait closed, so that it may grow.
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
