use std::{
    any::type_name,
    fmt,
    sync::{Arc, Mutex},
};

use tower_layer::Layer;

use super::{
    Condition, Fallback, ServedBy,
    backup::{BackupService, CloneRequest, FromFn, SameRequest, Value},
};
use crate::{error::BoxError, http::ResponseHead};

/// Sends requests to a backup if the service fails.
///
/// `B` is the [backup](super::backup), and `R` what a [`Condition`] sees of a response: the head of
/// an HTTP response by default, else [the whole response](Self::any_response). See the
/// [module docs](crate::fallback) for examples.
#[doc(alias("failover", "backup"))]
#[must_use]
pub struct FallbackLayer<B, R: ?Sized = dyn ResponseHead> {
    pub(super) settings: Arc<FallbackSettings<B, R>>,
}

/// The settings of a layer, which do not change once a service is made.
pub(super) struct FallbackSettings<B, R: ?Sized> {
    pub(super) backup: B,
    pub(super) when: Condition<R>,
    /// Notes who responded.
    pub(super) note: fn(&mut R, ServedBy),
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
        Self::of(FallbackSettings {
            backup,
            when: Condition::failure(),
            note: |response, served_by| served_by.note(response),
            name: None,
        })
    }
}

impl<B, R: ?Sized> FallbackLayer<B, R> {
    fn of(settings: FallbackSettings<B, R>) -> Self {
        let settings = Arc::new(settings);
        Self { settings }
    }
}

impl<B: Clone, R: ?Sized> FallbackLayer<B, R> {
    /// Sets which results are failures. See [`Condition`].
    ///
    /// Default: any error, and the statuses 429, 500, 502, 503, 504 and 529.
    pub fn when(mut self, condition: Condition<R>) -> Self {
        Arc::make_mut(&mut self.settings).when = condition;
        self
    }

    /// Names the backup, in [`ServedBy`] and in events.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.settings).name = Some(name.into());
        self
    }

    /// Accepts responses of type `R2`, which need not be HTTP.
    ///
    /// The failures are then [any error](Condition::any_error), unless [`when`](Self::when) is
    /// called after this with a condition on the whole response. Responses get no [`ServedBy`].
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
    pub fn any_response<R2: 'static>(self) -> FallbackLayer<B, R2> {
        let FallbackSettings { backup, name, .. } = Arc::unwrap_or_clone(self.settings);
        FallbackLayer::of(FallbackSettings {
            backup,
            when: Condition::any_error(),
            note: |_, _| {},
            name,
        })
    }
}

impl<B: Clone, R: ?Sized> FallbackLayer<BackupService<B>, R> {
    /// Changes the request for the backup: another model, host or key.
    ///
    /// `map` is called only if the backup is, with the request as it came to this layer. The
    /// primary's request is not changed.
    pub fn map_request<Request, M>(self, map: M) -> FallbackLayer<BackupService<B, M>, R>
    where
        M: Fn(Request) -> Request,
    {
        self.map_backup(|service, _| BackupService { service, map })
    }
}

impl<B: Clone, M: Clone, R: ?Sized> FallbackLayer<BackupService<B, M>, R> {
    /// Accepts requests of any type that is [`Clone`], even if it is not
    /// [`TryClone`](crate::TryClone).
    ///
    /// Call it after [`map_request`](Self::map_request).
    pub fn clone_request(self) -> FallbackLayer<BackupService<B, CloneRequest<M>>, R> {
        self.map_backup(|service, map| BackupService {
            service,
            map: CloneRequest(map),
        })
    }

    fn map_backup<M2>(
        self,
        f: impl FnOnce(Arc<Mutex<B>>, M) -> BackupService<B, M2>,
    ) -> FallbackLayer<BackupService<B, M2>, R> {
        let settings = Arc::unwrap_or_clone(self.settings);
        FallbackLayer::of(FallbackSettings {
            backup: f(settings.backup.service, settings.backup.map),
            when: settings.when,
            note: settings.note,
            name: settings.name,
        })
    }
}

impl<B, R: ?Sized> Clone for FallbackLayer<B, R> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
        }
    }
}

impl<B, R: ?Sized> fmt::Debug for FallbackLayer<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer")
            .field("backup", &type_name::<B>())
            .field("name", &self.settings.name)
            .finish()
    }
}

impl<S, B, R: ?Sized> Layer<S> for FallbackLayer<B, R> {
    type Service = Fallback<S, B, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, self.clone())
    }
}

// ===== impl FallbackSettings =====

impl<B: Clone, R: ?Sized> Clone for FallbackSettings<B, R> {
    fn clone(&self) -> Self {
        Self {
            backup: self.backup.clone(),
            when: self.when.clone(),
            note: self.note,
            name: self.name.clone(),
        }
    }
}
