use std::time::Duration;

use tower_layer::Layer;

use super::StreamErrorService;

/// Makes errors that come late, or badly labelled, what they are.
///
/// See the [module docs](crate::stream_errors) for an example and the order of layers.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct StreamErrorLayer {
    pub(super) patience: Duration,
    pub(super) json: bool,
}

// ===== impl StreamErrorLayer =====

impl StreamErrorLayer {
    /// A layer that waits for 30 s for the first content of a stream, and leaves JSON alone.
    pub const fn new() -> Self {
        Self {
            patience: Duration::from_secs(30),
            json: false,
        }
    }

    /// How long the beginning of an answer is held back at most, from when it first has to be waited for. 30 s unless told
    /// otherwise. Past that it is passed on as it is.
    ///
    /// A model that reasons may say nothing for minutes, and who reads its answer should see that it lives: 30 s is half of what
    /// proxies and clients commonly wait for a byte. An error that comes before content comes within seconds mostly.
    ///
    /// [`Duration::ZERO`] holds nothing back that isn't there yet.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether answers that are JSON, and no streams, are read too: an object that has an `error` and no content is one
    /// under whatever status, and gets its status as a stream does. No, unless told otherwise.
    ///
    /// They are held back until all of them is there, which is no loss to whoever reads them whole. One that turns out to be
    /// larger than 64 KiB, to be anything but an object, or to take longer than the [patience](StreamErrorLayer::patience), is
    /// passed on as it is.
    pub const fn json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }
}

impl Default for StreamErrorLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for StreamErrorLayer {
    type Service = StreamErrorService<S>;

    fn layer(&self, inner: S) -> StreamErrorService<S> {
        StreamErrorService {
            inner,
            layer: *self,
        }
    }
}
