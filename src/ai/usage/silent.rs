//! Skips events without usage: searching for the name is much cheaper than parsing.

use std::sync::LazyLock;

use memchr::{memmem::Finder, memrchr_iter};

/// The common prefix of the names of usage objects.
const NAME: &[u8] = b"\"usage";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

/// Returns the length of the complete events without usage at the beginning of `bytes`.
pub(super) fn silent_events(bytes: &[u8]) -> usize {
    last_event_end(&bytes[..find_usage(bytes).unwrap_or(bytes.len())])
}

/// Returns the position of the first usage that is not `null`.
fn find_usage(bytes: &[u8]) -> Option<usize> {
    let mut found = FINDER.find_iter(bytes);
    found.find(|at| {
        let after = &bytes[at + NAME.len()..];
        !after.starts_with(b"\":null") && !after.starts_with(b"\": null")
    })
}

/// Returns the end of the last complete event, after an empty line. An event that ends in a
/// carriage return is not found.
fn last_event_end(bytes: &[u8]) -> usize {
    let mut feeds = memrchr_iter(b'\n', bytes);
    let end = feeds.find(|at| bytes[..*at].ends_with(b"\n") || bytes[..*at].ends_with(b"\n\r"));
    end.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_the_last_event() {
        let table: &[(&str, usize)] = &[
            ("", 0),
            ("\n", 0),
            ("a\n", 0),
            ("a\nb\n", 0),
            ("a\r\n", 0),
            ("a\r\nb", 0),
            ("a\n\n", 3),
            ("a\n\nb", 3),
            ("a\n\nb\n", 3),
            ("a\n\nb\n\n", 6),
            ("a\r\n\r\n", 5),
            ("a\r\n\r\nb\r\n", 5),
            ("a\n\r\nb", 4),
            ("a\r\n\nb", 4),
        ];
        for (bytes, expected) in table {
            assert_eq!(last_event_end(bytes.as_bytes()), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn null_usage_is_not_found() {
        let table: &[(&str, Option<usize>)] = &[
            ("", None),
            ("usage", None),
            ("\"usag", None),
            ("{\"usage\":null}", None),
            ("{\"usage\": null}", None),
            ("{\"usage\":null,\"usage\":{}}", Some(14)),
            ("{\"usage\":nul", Some(1)),
            ("{\"usage\" :null}", Some(1)),
            ("{\"usageMetadata\":null}", Some(1)),
            ("{\"usage\":{}}", Some(1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(find_usage(bytes.as_bytes()), *expected, "{bytes:?}");
        }
    }
}
