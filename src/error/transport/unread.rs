//! Errors of clients whose feature is not enabled.

use std::error::Error;
#[cfg(feature = "tracing")]
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// The crates of clients, the feature that classifies their errors, and whether it is enabled. The
/// `Debug` text of their errors starts with the name of the crate; without the feature there is no
/// type to compare with.
const CLIENTS: [(&str, &str, bool); 3] = [
    ("hyper", "hyper", cfg!(feature = "hyper")),
    ("hyper_util", "hyper", cfg!(feature = "hyper")),
    ("reqwest", "reqwest", cfg!(feature = "reqwest")),
];

/// Warns, once per process, if an error has no outcome because a feature is not enabled.
#[cfg(feature = "tracing")]
pub(in crate::error) fn warn<'a>(errors: impl Iterator<Item = &'a (dyn Error + 'static)>) {
    static WARNED: Once = Once::new();
    static LOOKS: AtomicU32 = AtomicU32::new(8);
    let is_known = CLIENTS.iter().all(|(.., is_enabled)| *is_enabled);
    if is_known || WARNED.is_completed() || !take_one(&LOOKS) {
        return;
    }
    if let Some((feature, false)) = errors.filter_map(client).next() {
        WARNED.call_once(|| {
            tracing::warn!(
                target: "tower_throttle::error",
                feature,
                "connection errors are not classified, and not retried, without a feature of \
                 tower-throttle"
            );
        });
    }
}

/// Takes one of what is left, since to format an error is slow.
fn take_one(left: &AtomicU32) -> bool {
    let one_less = |left: u32| left.checked_sub(1);
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    taken.is_ok()
}

/// Returns the feature that classifies the errors of the client that this error comes from, and
/// whether it is enabled.
fn client(error: &(dyn Error + 'static)) -> Option<(&'static str, bool)> {
    let text = format!("{error:?}");
    let (name, _) = text.split_once("::")?;
    let client = CLIENTS.iter().find(|(crate_name, ..)| *crate_name == name);
    client.map(|(_, feature, is_enabled)| (*feature, *is_enabled))
}

#[cfg(all(test, feature = "hyper", feature = "reqwest"))]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};

    use super::*;
    use crate::error::BoxError;

    #[test]
    fn only_the_first_errors_are_formatted() {
        let left = AtomicU32::new(2);
        let taken = [(); 4].map(|()| take_one(&left));
        assert_eq!(taken, [true, true, false, false]);
    }

    #[tokio::test]
    async fn errors_name_their_feature() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = "http://127.0.0.1:1/";
        let hyper = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let error: BoxError = hyper.get(url.parse().unwrap()).await.unwrap_err().into();
        assert_eq!(client(&*error), Some(("hyper", true)));
        let reqwest = reqwest::Client::builder().no_proxy().build().unwrap();
        let error: BoxError = reqwest.get(url).send().await.unwrap_err().into();
        assert_eq!(client(&*error), Some(("reqwest", true)));
        let other: BoxError = "hyper::".into();
        assert_eq!(client(&*other), None);
    }
}
