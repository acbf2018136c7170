/// The size of a cache, and how many requests it responded to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUsage {
    /// Responses in the store. Some may be too old to be used.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Requests that got a response from the store.
    pub hits: u64,
    /// Requests that called the inner service, except [bypassed](super::Status::Bypass) ones.
    pub misses: u64,
    /// Requests that got the response to another request at the same time.
    pub collapsed: u64,
}
