//! The structured fields of the IETF's drafts (RFC 9651).
//!
//! A field that breaks the grammar is `None` as a whole, as RFC 9651 requires. So is any field
//! without the feature `provider`.

#[cfg(feature = "provider")]
use sfv::{BareItem, Dictionary, List, ListEntry, Parser, key_ref};

/// Further members are dropped.
#[cfg(feature = "provider")]
const MOST: usize = 2 * crate::http::headers::rate_limit::limits::RateLimits::MOST;

/// A member of a list, with the parameters of any draft.
#[derive(Debug)]
pub(super) struct Member {
    /// The member itself, if it is a string or a token.
    pub(super) name: Option<String>,
    /// The member itself, if it is an integer.
    pub(super) number: Option<i64>,
    /// The quota of a policy.
    pub(super) q: Option<i64>,
    /// The unit of that quota.
    pub(super) qu: Option<String>,
    /// The window of a policy, or the time to a reset.
    pub(super) w: Option<i64>,
    /// The remainder, which a later draft calls `a`.
    pub(super) r: Option<i64>,
    /// The time to a reset.
    pub(super) t: Option<i64>,
}

#[cfg(feature = "provider")]
pub(super) fn list(text: &str) -> Option<Vec<Member>> {
    let list: List = Parser::new(text).parse().ok()?;
    let mut members = list.iter().map(member).collect::<Option<Vec<_>>>()?;
    members.truncate(MOST);
    Some(members)
}

/// Parses the limit, the remainder and the reset of draft 07.
#[cfg(feature = "provider")]
pub(super) fn dictionary(text: &str) -> Option<[Option<i64>; 3]> {
    let members: Dictionary = Parser::new(text).parse().ok()?;
    let number = |key| match members.get(key_ref(key)) {
        Some(ListEntry::Item(item)) => Some(number(&item.bare_item)),
        Some(ListEntry::InnerList(_)) => None,
        None => Some(None),
    };
    Some([number("limit")?, number("remaining")?, number("reset")?])
}

/// Inner lists are invalid in these fields.
#[cfg(feature = "provider")]
fn member(entry: &ListEntry) -> Option<Member> {
    let ListEntry::Item(item) = entry else {
        return None;
    };
    let parameter = |key| item.params.get(key_ref(key));
    let number_of = |key| parameter(key).and_then(number);
    Some(Member {
        name: name(&item.bare_item),
        number: number(&item.bare_item),
        q: number_of("q"),
        qu: parameter("qu").and_then(name),
        w: number_of("w"),
        r: number_of("r").or(number_of("a")),
        t: number_of("t"),
    })
}

#[cfg(feature = "provider")]
fn number(item: &BareItem) -> Option<i64> {
    item.as_integer().map(i64::from)
}

#[cfg(feature = "provider")]
fn name(item: &BareItem) -> Option<String> {
    let string = item.as_string().map(|text| text.as_str());
    let token = || item.as_token().map(|text| text.as_str());
    string.or_else(token).map(str::to_owned)
}

#[cfg(not(feature = "provider"))]
pub(super) fn list(_: &str) -> Option<Vec<Member>> {
    None
}

#[cfg(not(feature = "provider"))]
pub(super) fn dictionary(_: &str) -> Option<[Option<i64>; 3]> {
    None
}
