//! The headers in which proxies say where a request came from, read from the end.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::hop;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Header in which proxies write where a request came from.
///
/// It must be one that the trusted proxies write. Clients can write any other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, to which each proxy appends the address that connected to it.
    #[default]
    XForwardedFor,
    /// `Forwarded`, to which each proxy appends an element with a `for=`, as in RFC 7239.
    Forwarded,
    /// `X-Real-IP`, a single address, which the one proxy directly in front sets.
    ///
    /// It does not show who wrote it: the proxy must overwrite what clients send.
    XRealIp,
}

// ===== impl ForwardedBy =====

impl ForwardedBy {
    /// What each proxy wrote, the last one first; `None` is an entry that can't be read.
    pub(super) fn hops(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + '_ {
        let (name, quoted) = match self {
            Self::XForwardedFor => (&X_FORWARDED_FOR, false),
            Self::Forwarded => (&FORWARDED, true),
            Self::XRealIp => (&X_REAL_IP, false),
        };
        let lines = headers.get_all(name).iter().rev();
        let entries = lines.flat_map(move |line| Elements {
            rest: Some(line.as_bytes()),
            separator: b',',
            quoted,
        });
        entries.map(move |entry| match self {
            Self::Forwarded => hop::address(forwarded_for(entry)?),
            Self::XForwardedFor | Self::XRealIp => hop::address(entry),
        })
    }
}

/// The value of the one `for=` of an element of `Forwarded`, without its quotes.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    let pairs = Elements {
        rest: Some(element),
        separator: b';',
        quoted: true,
    };
    let mut found = None;
    for pair in pairs {
        let Some((name, value)) = pair.trim_ascii().split_at_checked(4) else {
            continue;
        };
        // If there are two, the proxy's is not known.
        if name.eq_ignore_ascii_case(b"for=") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value {
        [b'"', inner @ .., b'"'] => Some(inner),
        _ => Some(value),
    }
}

/// The elements of a line from the right to the left.
///
/// A quote that a client leaves open must not hide what a proxy appends: from the right, a
/// well-formed element is found whole, whatever is before it.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
    quoted: bool,
}

// ===== impl Elements =====

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest.take()?;
        let mut inside = false;
        for (at, byte) in line.iter().enumerate().rev() {
            if *byte == b'"' && self.quoted {
                // The quote that ends a text comes first, and none that begins one follows a
                // backslash.
                inside = !inside || line[..at].ends_with(b"\\");
            } else if *byte == self.separator && !inside {
                self.rest = Some(&line[..at]);
                return Some(&line[at + 1..]);
            }
        }
        Some(line)
    }
}
