use std::{
    any::type_name,
    fmt,
    sync::{Arc, Mutex},
};

use tower_layer::Layer;

use super::{
    Fallback,
    answered_by::{AnyResponse, HttpResponse},
    backup::{BackupService, CloneRequest, FromFn, SameRequest, Value},
    predicate,
    predicate::{AnyError, Condition, Failure},
};
use crate::error::BoxError;

/// Sends requests to a backup if the service fails.
///
/// `B` is the [backup](super::backup), `W` the [condition](super::predicate), and `N` says whether
/// responses are [HTTP](HttpResponse) or [of any type](AnyResponse). See the
/// [module docs](crate::fallback) for examples.
#[doc(alias("failover", "backup"))]
#[must_use]
pub struct FallbackLayer<B, W = Condition<Failure>, N = HttpResponse> {
    pub(super) settings: Arc<FallbackSettings<B, W, N>>,
}

/// The settings of a layer, which do not change once a service is made.
#[derive(Clone)]
pub(super) struct FallbackSettings<B, W, N> {
    pub(super) backup: B,
    pub(super) when: W,
    pub(super) note: N,
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
        Self::of(backup, predicate::failure(), HttpResponse, None)
    }
}

impl<B, W, N> FallbackLayer<B, W, N> {
    fn of(backup: B, when: W, note: N, name: Option<Arc<str>>) -> Self {
        let settings = Arc::new(FallbackSettings {
            backup,
            when,
            note,
            name,
        });
        Self { settings }
    }
}

impl<B: Clone, W: Clone, N: Clone> FallbackLayer<B, W, N> {
    /// Sets which outcomes are failures. See [`when`](crate::fallback::predicate).
    ///
    /// Default: any error, and the statuses 429, 500, 502, 503, 504 and 529.
    pub fn when<W2>(self, when: W2) -> FallbackLayer<B, W2, N> {
        let FallbackSettings {
            backup, note, name, ..
        } = Arc::unwrap_or_clone(self.settings);
        FallbackLayer::of(backup, when, note, name)
    }

    /// Names the backup, in [`AnsweredBy`](super::AnsweredBy) and in events.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.settings).name = Some(name.into());
        self
    }

    /// Accepts responses of any type, not only HTTP.
    ///
    /// The failures are then [any error](predicate::any_error), unless [`when`](Self::when) is
    /// called after this, and responses get no [`AnsweredBy`](super::AnsweredBy).
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
    /// let model = FallbackLayer::new(small_model).any_response().layer(large_model);
    ///
    /// assert_eq!(model.oneshot("hello").await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_response(self) -> FallbackLayer<B, Condition<AnyError>, AnyResponse> {
        let FallbackSettings { backup, name, .. } = Arc::unwrap_or_clone(self.settings);
        FallbackLayer::of(backup, predicate::any_error(), AnyResponse, name)
    }
}

impl<B: Clone, W: Clone, N: Clone> FallbackLayer<BackupService<B>, W, N> {
    /// Changes the request for the backup: another model, host or key.
    ///
    /// `map` is called only if the backup is, with the request as it came to this layer. The
    /// primary's request is not changed.
    pub fn map_request<Request, M>(self, map: M) -> FallbackLayer<BackupService<B, M>, W, N>
    where
        M: Fn(Request) -> Request,
    {
        self.map_backup(|service, _| BackupService { service, map })
    }
}

impl<B: Clone, M: Clone, W: Clone, N: Clone> FallbackLayer<BackupService<B, M>, W, N> {
    /// Accepts requests of any type that is [`Clone`], even if it is not
    /// [`TryClone`](crate::TryClone).
    ///
    /// Call it after [`map_request`](Self::map_request).
    pub fn clone_request(self) -> FallbackLayer<BackupService<B, CloneRequest<M>>, W, N> {
        self.map_backup(|service, map| BackupService {
            service,
            map: CloneRequest(map),
        })
    }

    fn map_backup<M2>(
        self,
        f: impl FnOnce(Arc<Mutex<B>>, M) -> BackupService<B, M2>,
    ) -> FallbackLayer<BackupService<B, M2>, W, N> {
        let settings = Arc::unwrap_or_clone(self.settings);
        let backup = f(settings.backup.service, settings.backup.map);
        FallbackLayer::of(backup, settings.when, settings.note, settings.name)
    }
}

impl<B, W, N> Clone for FallbackLayer<B, W, N> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
        }
    }
}

impl<B, W, N> fmt::Debug for FallbackLayer<B, W, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer")
            .field("backup", &type_name::<B>())
            .field("when", &type_name::<W>())
            .field("name", &self.settings.name)
            .finish()
    }
}

impl<S, B, W, N> Layer<S> for FallbackLayer<B, W, N> {
    type Service = Fallback<S, B, W, N>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, self.clone())
    }
}
