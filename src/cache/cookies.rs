//! Cookies that say nothing of who is asking.

use http::HeaderValue;

/// Set on every answer by what stands in front of a server, to tell one machine from another.
const OF_PROXIES: [&[u8]; 8] = [
    b"__cf_bm",
    b"_cfuvid",
    b"__cflb",
    b"AWSALB",
    b"AWSALBCORS",
    b"AWSALBTG",
    b"AWSALBTGCORS",
    b"GCLB",
];

/// Whether this `Set-Cookie` is one of those.
pub(super) fn is_of_a_proxy(cookie: &HeaderValue) -> bool {
    let name = cookie.as_bytes().split(|byte| *byte == b'=').next();
    name.is_some_and(|name| OF_PROXIES.contains(&name.trim_ascii()))
}
