//! What makes two requests equal.

use std::fmt;

use http::{HeaderMap, HeaderName, header::CONTENT_TYPE};

use super::{canonical, role::Role};
use crate::{PeekBody, RequestHead, header::type_says};

/// What equal requests have in common, and nobody can read a request out of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// Makes keys that only this layer can make.
#[derive(Clone)]
pub(super) struct Keyring {
    secret: [u8; 32],
}

/// Fields, each told from the next by its length.
struct Fields(Vec<u8>);

// ===== impl Keyring =====

impl Keyring {
    pub(super) fn random() -> Self {
        Self {
            secret: rand::random(),
        }
    }

    /// The key of a request, or `None` where its body can't be looked at.
    pub(super) fn key<R: RequestHead + PeekBody>(
        &self,
        request: &R,
        chosen: &[HeaderName],
        per_caller: bool,
    ) -> Option<Key> {
        let headers = request.headers();
        let mut fields = Fields(Vec::new());
        let is_json = says_json(headers);
        request.peek(|body| fields.body(body, is_json))?;
        fields.add(request.method().as_str().as_bytes());
        fields.add_option(request.scheme().map(str::as_bytes));
        fields.add(request.authority().unwrap_or_default().as_bytes());
        fields.add(request.path().as_bytes());
        fields.add_option(request.query().map(str::as_bytes));
        // Layers that were told differently, and share what they keep, have no key in common.
        fields.0.push(u8::from(per_caller));
        fields.add(&chosen.len().to_le_bytes());
        for name in chosen {
            fields.add(name.as_str().as_bytes());
        }
        let counts = |name: &HeaderName| {
            let mut roles = headers
                .get_all(name)
                .iter()
                .map(|value| Role::of(name, value));
            chosen.contains(name)
                || roles.any(|role| role == Some(Role::What) || per_caller && role.is_some())
        };
        let mut names: Vec<_> = headers.keys().filter(|name| counts(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            fields.add(name.as_str().as_bytes());
            fields.header(headers, name);
        }
        Some(self.hash(&fields))
    }

    /// What these headers of a request come to.
    pub(super) fn digest(&self, headers: &HeaderMap, names: &[HeaderName]) -> Key {
        let mut fields = Fields(Vec::new());
        for name in names {
            fields.header(headers, name);
        }
        self.hash(&fields)
    }

    fn hash(&self, fields: &Fields) -> Key {
        Key(*blake3::keyed_hash(&self.secret, &fields.0).as_bytes())
    }
}

/// Whether the body may be read as JSON: unless it says that it is something else.
fn says_json(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_TYPE) || type_says(headers, b"json")
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

// ===== impl Key =====

impl Key {
    /// Eight bytes of it, which are as good as random.
    pub(super) fn prefix(&self) -> u64 {
        let (first, _) = self.0.split_at(8);
        first
            .iter()
            .fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:016x})", self.prefix())
    }
}

// ===== impl Fields =====

impl Fields {
    /// The first one.
    fn body(&mut self, body: &[u8], is_json: bool) {
        const LENGTH: usize = size_of::<u64>();
        self.0.reserve(body.len() + 512);
        self.0.extend_from_slice(&[0; LENGTH]);
        let is_json = is_json && canonical::append(body, &mut self.0);
        if !is_json {
            self.0.extend_from_slice(body);
        }
        let length = (self.0.len() - LENGTH) as u64;
        self.0[..LENGTH].copy_from_slice(&length.to_le_bytes());
        self.0.push(u8::from(is_json));
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

    /// All lines of a header, or that there is none.
    fn header(&mut self, headers: &HeaderMap, name: &HeaderName) {
        for value in headers.get_all(name) {
            self.add_option(Some(value.as_bytes()));
        }
        self.0.push(0);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, header::AUTHORIZATION};

    use super::*;

    fn key_of(ring: &Keyring, request: &Request<&'static str>) -> Key {
        ring.key(request, &[], true).unwrap()
    }

    fn post(uri: &str, body: &'static str) -> Request<&'static str> {
        Request::post(uri).body(body).unwrap()
    }

    #[test]
    fn a_request_is_equal_to_itself_and_to_nothing_that_differs() {
        let ring = Keyring::random();
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
            assert_eq!(key_of(&ring, one), key_of(&ring, one));
            for other in &requests[..index] {
                assert_ne!(
                    key_of(&ring, one),
                    key_of(&ring, other),
                    "{one:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn nobody_else_makes_the_same_keys() {
        let request = post("http://a/b?c", "{}");
        assert_ne!(
            key_of(&Keyring::random(), &request),
            key_of(&Keyring::random(), &request)
        );
    }

    #[test]
    fn a_header_counts_only_if_it_is_known_or_chosen() {
        let ring = Keyring::random();
        let mut traced = post("/", "");
        traced
            .headers_mut()
            .insert("x-trace", HeaderValue::from_static("1"));
        assert_eq!(key_of(&ring, &traced), key_of(&ring, &post("/", "")));
        let chosen = [HeaderName::from_static("x-trace")];
        let key = |request: &Request<_>| ring.key(request, &chosen, true);
        assert_ne!(key(&traced), key(&post("/", "")));
    }

    #[test]
    fn only_what_may_be_json_is_read_as_such() {
        let ring = Keyring::random();
        let typed = |content_type: &'static str, body| {
            let mut request = post("/", body);
            let value = HeaderValue::from_static(content_type);
            request.headers_mut().insert(CONTENT_TYPE, value);
            key_of(&ring, &request)
        };
        for json in [
            "application/json",
            "Application/problem+JSON; charset=utf-8",
        ] {
            assert_eq!(typed(json, "[1, 2]"), typed(json, "[1,2]"));
        }
        assert_ne!(typed("text/plain", "[1, 2]"), typed("text/plain", "[1,2]"));
        assert_eq!(
            key_of(&ring, &post("/", "[1, 2]")),
            key_of(&ring, &post("/", "[1,2]"))
        );
    }

    #[test]
    fn callers_share_only_where_they_are_told_to() {
        let ring = Keyring::random();
        let by = |caller: &'static str| {
            let mut request = post("/", "");
            let value = HeaderValue::from_static(caller);
            request.headers_mut().insert(AUTHORIZATION, value);
            request
        };
        let shared = |request: &Request<_>| ring.key(request, &[], false);
        assert_eq!(shared(&by("a")), shared(&by("b")));
        assert_ne!(key_of(&ring, &by("a")), key_of(&ring, &by("b")));
    }
}
