//! `Cache-Control` and `Expires`.

use http::{
    HeaderMap,
    header::{CACHE_CONTROL, EXPIRES, PRAGMA},
};

use crate::http::headers::{date, integer, list};

/// The directives of a request or response. If one occurs twice, the stricter one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    /// In seconds, and 0 if it cannot be parsed.
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
}

// ===== impl Directives =====

impl Directives {
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let mut directives = Self::read(headers);
        if !headers.contains_key(CACHE_CONTROL) {
            let mut pragmas = headers.get_all(PRAGMA).iter();
            directives.no_cache =
                pragmas.any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }

    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for directive in list(headers, &CACHE_CONTROL) {
            let mut parts = directive.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let value = parts.next().unwrap_or_default();
            match &*name.to_ascii_lowercase() {
                b"no-store" => directives.no_store = true,
                b"no-cache" => directives.no_cache = true,
                b"private" => directives.private = true,
                b"max-age" => shorten(&mut directives.max_age, value),
                b"s-maxage" => shorten(&mut directives.s_maxage, value),
                _ => {}
            }
        }
        directives
    }
}

fn shorten(age: &mut Option<u64>, value: &[u8]) {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let value = value.strip_suffix(b"\"").unwrap_or(value);
    let seconds = integer(value).unwrap_or(0);
    *age = Some(age.map_or(seconds, |age| age.min(seconds)));
}

/// Returns the seconds from the response's `Date` to its `Expires`. A date that cannot be read has
/// passed (RFC 9111 §5.3).
pub(super) fn expires(fields: &HeaderMap) -> Option<u64> {
    let now = date::wall;
    let expires = fields.get(EXPIRES)?.to_str().ok();
    let expires = expires.and_then(|text| date::date(text.trim(), &now));
    let sent = || date::sent(fields, &now).unwrap_or_else(now);
    Some(expires.map_or(0, |expires| date::since(sent(), expires).as_secs()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Directives {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        Directives::of_request(&headers)
    }

    #[test]
    fn stricter_directive_of_all_lines_counts() {
        let nothing = Directives::default();
        let max_age = |seconds| Directives {
            max_age: Some(seconds),
            ..nothing
        };
        let no_store = Directives {
            no_store: true,
            ..nothing
        };
        let table: &[(&[&'static str], Directives)] = &[
            (&[], nothing),
            (&["", ",,", "public, immutable"], nothing),
            (&["No-Store"], no_store),
            (&["public", " x=1 ,no-store"], no_store),
            (&["max-age=60"], max_age(60)),
            (&["max-age = \"60\""], max_age(60)),
            (&["max-age=60, max-age=5", "max-age=7"], max_age(5)),
            (
                &["max-age=99999999999999999999999999999"],
                max_age(u64::MAX),
            ),
            (&["max-age=-1"], max_age(0)),
            (&["max-age"], max_age(0)),
            (&["max-age=soon"], max_age(0)),
            (
                &["private=\"x\", no-cache=\"set-cookie\", s-maxage=1"],
                Directives {
                    private: true,
                    no_cache: true,
                    s_maxage: Some(1),
                    ..nothing
                },
            ),
        ];
        for (values, expected) in table {
            assert_eq!(read(values), *expected, "{values:?}");
        }
    }

    #[test]
    fn an_old_pragma_counts_where_there_is_nothing_newer() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        assert!(Directives::of_request(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
        assert!(!Directives::of_request(&headers).no_cache);
    }
}
