use std::sync::{Arc, Mutex};

use super::{
    AnyResponse, Condition, Fallback,
    backup::{BackupService, CloneRequest, FromFn, SameRequest, Value},
};
use crate::error::BoxError;

/// Sends requests to a backup if the service fails.
///
/// `B` is the [backup](super::backup), and `W` a [`Condition`], or an [`AnyResponse`] for responses
/// that are not HTTP. See the [module docs](crate::fallback) for examples.
#[doc(alias("failover", "backup"))]
#[must_use]
pub struct FallbackLayer<B, W = Condition> {
    pub(super) settings: Arc<FallbackSettings<B, W>>,
}

/// The settings of a layer, which do not change once a service is made.
#[derive(Clone)]
pub(super) struct FallbackSettings<B, W> {
    pub(super) backup: B,
    pub(super) when: W,
    pub(super) name: Option<Arc<str>>,
}

// ===== impl FallbackLayer =====

impl<B> FallbackLayer<BackupService<B>> {
    /// Sends the request to `backup` if the service fails.
    ///
    /// The backup is cloned and made ready when it is needed, not before.
    pub fn new(backup: B) -> Self {
        Self::with_backup(BackupService {
            service: Arc::new(Mutex::new(backup)),
            map: SameRequest,
        })
    }
}

impl<V> FallbackLayer<Value<V>> {
    /// Responds with a clone of `value` if the service fails.
    ///
    /// The value is a response of the same type as the service's, and [`Clone`]. A
    /// `reqwest::Response` is not `Clone`: use [`from_fn`](FallbackLayer::from_fn), for example
    /// `from_fn(|_| http::Response::new("sorry").into())`.
    pub fn value(value: V) -> Self {
        Self::with_backup(Value(value))
    }
}

impl<F> FallbackLayer<FromFn<F>> {
    /// Responds with what `f` makes of the failure, which is an error or a response.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_throttle::FallbackLayer;
    ///
    /// let broken = service_fn(async |_: Request<()>| {
    ///     Err::<Response<String>, _>("no route to host")
    /// });
    /// let client = FallbackLayer::from_fn(|failure| match failure {
    ///     Ok(response) => response,
    ///     Err(error) => Response::new(format!("sorry: {error}")),
    /// })
    /// .layer(broken);
    ///
    /// let response = client.oneshot(Request::new(())).await?;
    /// assert_eq!(response.body(), "sorry: no route to host");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fn<Response>(f: F) -> Self
    where
        F: Fn(Result<Response, BoxError>) -> Response,
    {
        Self::with_backup(FromFn(f))
    }
}

impl<B> FallbackLayer<B> {
    fn with_backup(backup: B) -> Self {
        let settings = Arc::new(FallbackSettings {
            backup,
            when: Condition::failure(),
            name: None,
        });
        Self { settings }
    }
}

impl<B: Clone> FallbackLayer<B> {
    /// Sets which results are failures. See [`Condition`].
    ///
    /// Default: [`Condition::failure`].
    pub fn when(mut self, condition: Condition) -> Self {
        Arc::make_mut(&mut self.settings).when = condition;
        self
    }
}

impl<B: Clone, R> FallbackLayer<B, AnyResponse<R>> {
    /// Sets which results are failures. Default: any error.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::FallbackLayer;
    ///
    /// let layer = FallbackLayer::value("sorry")
    ///     .any_response::<&'static str>()
    ///     .when(|result| result.is_ok_and(|text| text.is_empty()));
    /// # let _ = layer;
    /// ```
    pub fn when<F>(mut self, condition: F) -> Self
    where
        F: Fn(Result<&R, &BoxError>) -> bool + Send + Sync + 'static,
    {
        let condition = Arc::new(condition);
        Arc::make_mut(&mut self.settings).when = AnyResponse { condition };
        self
    }
}

impl<B: Clone, W: Clone> FallbackLayer<B, W> {
    /// Names the backup, in [`ServedBy`](super::ServedBy), metrics and events.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.settings).name = Some(name.into());
        self
    }

    /// Accepts responses of type `R`, which need not be HTTP.
    ///
    /// The failures are then any error, unless [`when`](Self::when) is called after this with a
    /// closure on the whole response. Responses get no [`ServedBy`](super::ServedBy).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_throttle::BoxError> {
    /// use std::convert::Infallible;
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_throttle::FallbackLayer;
    ///
    /// let small_model = service_fn(async |prompt: &'static str| {
    ///     Ok::<_, Infallible>(prompt.len())
    /// });
    /// let large_model = service_fn(async |_: &'static str| Err::<usize, _>("overloaded"));
    /// let model = FallbackLayer::new(small_model).any_response::<usize>().layer(large_model);
    ///
    /// assert_eq!(model.oneshot("hello").await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_response<R>(self) -> FallbackLayer<B, AnyResponse<R>> {
        let FallbackSettings { backup, name, .. } = Arc::unwrap_or_clone(self.settings);
        let condition = Arc::new(|result: Result<&R, &BoxError>| result.is_err());
        let when = AnyResponse { condition };
        let settings = Arc::new(FallbackSettings { backup, when, name });
        FallbackLayer { settings }
    }
}

impl<B: Clone, W: Clone> FallbackLayer<BackupService<B>, W> {
    /// Changes the request for the backup: another model, host or key.
    ///
    /// `map` is called only if the backup is, with the request as it came to this layer. The
    /// primary's request is not changed.
    pub fn map_request<Request, M>(self, map: M) -> FallbackLayer<BackupService<B, M>, W>
    where
        M: Fn(Request) -> Request,
    {
        self.with_map(|_| map)
    }
}

impl<B: Clone, M: Clone, W: Clone> FallbackLayer<BackupService<B, M>, W> {
    /// Accepts requests of any type that is [`Clone`], even if it is not
    /// [`TryClone`](crate::TryClone).
    ///
    /// Call it after [`map_request`](Self::map_request).
    pub fn clone_request(self) -> FallbackLayer<BackupService<B, CloneRequest<M>>, W> {
        self.with_map(CloneRequest)
    }

    fn with_map<M2>(self, f: impl FnOnce(M) -> M2) -> FallbackLayer<BackupService<B, M2>, W> {
        let FallbackSettings { backup, when, name } = Arc::unwrap_or_clone(self.settings);
        let backup = BackupService {
            service: backup.service,
            map: f(backup.map),
        };
        let settings = Arc::new(FallbackSettings { backup, when, name });
        FallbackLayer { settings }
    }
}

crate::macros::clone!(impl<B, W> Clone for FallbackLayer<B, W> { settings });

crate::macros::debug!(impl<B, W> Debug for FallbackLayer<B, W> |self| {
    name: self.settings.name,
    ..
});

crate::macros::layer!(impl<B, W> Layer for FallbackLayer<B, W> => Fallback);
