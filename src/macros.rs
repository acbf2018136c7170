//! What most services, layers and bodies of this crate have.

/// The three accessors of the inner service, for a field that contains the inner service as an `S`.
macro_rules! inner {
    ($($field:tt).+) => {
        /// Returns a reference to the inner service.
        pub const fn get_ref(&self) -> &S {
            &self.$($field).+
        }

        /// Returns a mutable reference to the inner service.
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.$($field).+
        }

        /// Returns the inner service.
        pub fn into_inner(self) -> S {
            self.$($field).+
        }
    };
}

/// Implements [`Layer`](tower_layer::Layer) for a layer whose services each have a clone of it.
macro_rules! layer {
    (impl $(<$($param:ident $(: $bound:path)?),+>)? Layer for $Layer:ty => $Service:ident) => {
        impl<S $(, $($param $(: $bound)?),+)?> tower_layer::Layer<S> for $Layer {
            type Service = $Service<S $(, $($param),+)?>;

            fn layer(&self, inner: S) -> Self::Service {
                let layer = self.clone();
                $Service { inner, layer }
            }
        }
    };
}

/// `poll_ready` of a [`Service`](tower_service::Service) that is ready if the inner service is.
macro_rules! poll_ready {
    ($field:ident) => {
        /// Polls the inner service.
        #[inline]
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            self.$field.poll_ready(cx).map_err(Into::into)
        }
    };
}

/// Implements [`Clone`] field by field, where a derive would ask for too many bounds.
macro_rules! clone {
    (impl<$($param:ident $(: $bound:path)?),+> Clone for $Type:ident<$($arg:ident),+>
        { $($field:ident),+ }) => {
        impl<$($param $(: $bound)?),+> Clone for $Type<$($arg),+> {
            fn clone(&self) -> Self {
                Self {
                    $($field: self.$field.clone(),)+
                }
            }
        }
    };
}

/// Implements [`Debug`](std::fmt::Debug) by some fields, where a derive would ask for too many
/// bounds or show too much. A field without a value is the field of that name; `..` at the end
/// says that there is more. A second bound of a parameter goes into `where`.
///
/// ```text
/// debug!(impl<S: Debug, P> Debug for Retry<S, P> |self| { inner, attempts: self.attempts(), .. });
/// ```
macro_rules! debug {
    (impl $(<$($param:ident $(: $bound:path)?),+>)? Debug for $Type:ident $(<$($arg:tt),+>)?
        $(where $($bounded:ident: $more:path),+)?
        |$self:ident| { $($field:ident $(: $value:expr)?,)* .. }) => {
        impl $(<$($param $(: $bound)?),+>)? std::fmt::Debug for $Type $(<$($arg),+>)?
        $(where $($bounded: $more),+)? {
            fn fmt(&$self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Type))
                    $(.field(
                        stringify!($field),
                        &$crate::macros::debug!(@value $self.$field $(, $value)?),
                    ))*
                    .finish_non_exhaustive()
            }
        }
    };
    (@value $same_name:expr) => {
        $same_name
    };
    (@value $same_name:expr, $value:expr) => {
        $value
    };
}

/// Implements `Default` by `new`.
macro_rules! default {
    ($Type:ty) => {
        impl Default for $Type {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

/// Emits a `tracing` event at debug level, if the feature `tracing` is enabled. Begins with its
/// `target`; `guide/telemetry.md` has the table of all events.
macro_rules! event {
    ($($argument:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::debug!($($argument)+)
    };
}

/// Emits a `tracing` event at the level of a warning, if the feature `tracing` is enabled.
#[cfg(feature = "redis")]
macro_rules! warning {
    ($($argument:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::warn!($($argument)+)
    };
}

#[cfg(feature = "redis")]
pub(crate) use warning;
pub(crate) use {clone, debug, default, event, inner, layer, poll_ready};
