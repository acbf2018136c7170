//! The cache key.

use std::sync::Arc;

use http::{HeaderName, header::CONTENT_TYPE};

use super::{completions::is_stateless, json::append_canonical, noise::is_noise};
use crate::{
    http::{PeekBody, RequestHead, headers::encoding::type_says},
    payload::json::Json,
};

/// A keyed hash of a request. Equal requests have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey([u8; 32]);

/// What is part of the key.
#[derive(Clone)]
pub(super) struct KeyPolicy {
    /// The key of the hash.
    secret: [u8; 32],
    ignored: Vec<HeaderName>,
    identities: Vec<Identity>,
}

/// Returns the identity behind a request. Without one the request is not cached.
type Identity = Arc<dyn Fn(&dyn RequestHead) -> Option<Vec<u8>> + Send + Sync>;

/// Fields, each with its length before it, and the body.
struct KeyFields(Vec<u8>);

// ===== impl KeyPolicy =====

impl KeyPolicy {
    pub(super) fn new() -> Self {
        Self {
            secret: rand::random(),
            ignored: Vec::new(),
            identities: Vec::new(),
        }
    }

    /// The layer's clones share a store. A new secret keeps keys of different policies apart.
    pub(super) fn ignore(&mut self, name: HeaderName) {
        self.secret = rand::random();
        self.ignored.push(name);
    }

    pub(super) fn add_identity(&mut self, identity: Identity) {
        self.secret = rand::random();
        self.identities.push(identity);
    }

    /// Returns whether requests that differ in this header have different keys.
    pub(super) fn includes(&self, name: &HeaderName) -> bool {
        !is_noise(name) && !self.ignored.contains(name)
    }

    /// Returns `None` if the body cannot be read without consuming it, an identity is missing, or
    /// the request has to be [stateless](is_stateless) and is not.
    pub(super) fn key<R: RequestHead + PeekBody>(
        &self,
        request: &R,
        must_be_stateless: bool,
    ) -> Option<CacheKey> {
        let headers = request.headers();
        let body_len = request.peek(<[u8]>::len)?;
        let mut fields = KeyFields(Vec::with_capacity(512 + body_len));
        fields.add(request.method().as_str().as_bytes());
        fields.add_option(request.scheme().map(str::as_bytes));
        fields.add(request.authority().unwrap_or_default().as_bytes());
        fields.add(request.path().as_bytes());
        fields.add_option(request.query().map(str::as_bytes));
        for identity in &self.identities {
            fields.add(&identity(request)?);
        }
        let mut names: Vec<_> = headers.keys().filter(|name| self.includes(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            fields.add(name.as_str().as_bytes());
            for value in headers.get_all(name) {
                fields.add_option(Some(value.as_bytes()));
            }
            fields.add_option(None);
        }
        // No name is empty, so a body can't look like one more header.
        fields.add(b"");
        let is_json = !headers.contains_key(CONTENT_TYPE) || type_says(headers, b"json");
        let is_stateless = request.peek(|body| {
            let json = is_json.then(|| Json::parse(body)).flatten();
            fields.add_body(body, json)
                && json.is_some_and(|json| is_stateless(request.path(), json))
        })?;
        let key = || blake3::keyed_hash(&self.secret, &fields.0);
        (is_stateless || !must_be_stateless).then(|| CacheKey(*key().as_bytes()))
    }
}

// ===== impl KeyFields =====

impl KeyFields {
    /// Must be the last field. Returns whether it is the canonical form.
    fn add_body(&mut self, body: &[u8], json: Option<Json<'_>>) -> bool {
        let start = self.0.len();
        self.0.push(1);
        let json = json.filter(|json| json.is_object() || json.is_array());
        let is_canonical = json.is_some_and(|json| append_canonical(json, &mut self.0));
        if !is_canonical {
            self.0.truncate(start);
            self.0.push(0);
            self.0.extend_from_slice(body);
        }
        is_canonical
    }

    fn add(&mut self, field: &[u8]) {
        self.0
            .extend_from_slice(&(field.len() as u64).to_le_bytes());
        self.0.extend_from_slice(field);
    }

    fn add_option(&mut self, field: Option<&[u8]>) {
        self.0.push(u8::from(field.is_some()));
        self.add(field.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn key_of(policy: &KeyPolicy, request: &Request<&'static str>) -> CacheKey {
        policy.key(request, false).unwrap()
    }

    fn post(uri: &str, body: &'static str) -> Request<&'static str> {
        Request::post(uri).body(body).unwrap()
    }

    #[test]
    fn only_equal_requests_have_equal_keys() {
        let policy = KeyPolicy::new();
        let with = |name: &'static str, value: &'static str| {
            let mut request = post("http://a/b?c", "{}");
            request
                .headers_mut()
                .append(name, HeaderValue::from_static(value));
            request
        };
        let mut twice = with("accept", "a");
        twice
            .headers_mut()
            .append("accept", HeaderValue::from_static("b"));
        let requests = [
            post("http://a/b?c", "{}"),
            post("http://a/b?c", ""),
            post("http://a/b?c", "[]"),
            post("http://a/b?c", "{"),
            post("http://a/b?", "{}"),
            post("http://a/b", "{}"),
            post("https://a/b", "{}"),
            post("http://a/bc", "{}"),
            post("http://ab/c", "{}"),
            post("/b?c", "{}"),
            Request::put("http://a/b?c").body("{}").unwrap(),
            with("accept", "a"),
            with("accept", ""),
            with("accept", "ab"),
            twice,
            with("authorization", "a"),
            with("authorization", "b"),
            with("x-api-key", "a"),
            with("api-key", "a"),
            with("x-goog-api-key", "a"),
            with("cookie", "a"),
            with("anthropic-beta", "a"),
        ];
        for (index, one) in requests.iter().enumerate() {
            assert_eq!(key_of(&policy, one), key_of(&policy, one));
            for other in &requests[..index] {
                assert_ne!(
                    key_of(&policy, one),
                    key_of(&policy, other),
                    "{one:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn keys_depend_on_the_secret() {
        let request = post("http://a/b?c", "{}");
        assert_ne!(
            key_of(&KeyPolicy::new(), &request),
            key_of(&KeyPolicy::new(), &request)
        );
    }

    #[test]
    fn a_header_counts_unless_it_is_ignored() {
        let policy = KeyPolicy::new();
        let mut traced = post("/", "");
        traced
            .headers_mut()
            .insert("x-trace", HeaderValue::from_static("1"));
        assert_ne!(key_of(&policy, &traced), key_of(&policy, &post("/", "")));
        let mut ignoring = policy.clone();
        ignoring.ignore(HeaderName::from_static("x-trace"));
        assert_eq!(
            key_of(&ignoring, &traced),
            key_of(&ignoring, &post("/", ""))
        );
        // Clones of a layer share a store.
        assert_ne!(
            key_of(&ignoring, &post("/", "")),
            key_of(&policy, &post("/", ""))
        );
    }

    #[test]
    fn only_what_may_be_json_is_read_as_such() {
        let policy = KeyPolicy::new();
        let typed = |content_type: &'static str, body| {
            let mut request = post("/", body);
            let value = HeaderValue::from_static(content_type);
            request.headers_mut().insert(CONTENT_TYPE, value);
            key_of(&policy, &request)
        };
        for json in [
            "application/json",
            "Application/problem+JSON; charset=utf-8",
        ] {
            assert_eq!(typed(json, "[1, 2]"), typed(json, "[1,2]"));
        }
        assert_ne!(typed("text/plain", "[1, 2]"), typed("text/plain", "[1,2]"));
        assert_eq!(
            key_of(&policy, &post("/", "[1, 2]")),
            key_of(&policy, &post("/", "[1,2]"))
        );
    }

    #[test]
    fn a_body_is_not_read_as_a_header() {
        let policy = KeyPolicy::new();
        // The length of this name begins with a zero byte, as a body that is not JSON does.
        let name = HeaderName::from_bytes(&[b'x'; 256]).unwrap();
        let mut with_header = Request::post("/").body("rest".to_owned()).unwrap();
        with_header
            .headers_mut()
            .insert(name.clone(), HeaderValue::from_static("s"));
        let mut fields = KeyFields(Vec::new());
        fields.add(name.as_str().as_bytes());
        fields.add_option(Some(b"s"));
        fields.add_option(None);
        fields.add_body(b"rest", None);
        let forged = String::from_utf8(fields.0[1..].to_vec()).unwrap();
        let forged = Request::post("/").body(forged).unwrap();
        assert_ne!(policy.key(&with_header, false), policy.key(&forged, false));
    }
}
