//! The structured fields of the IETF's drafts (RFC 9651).
//!
//! A field that breaks the grammar is `None` as a whole, as the grammar's page asks.

use std::{borrow::Cow, convert::Infallible, fmt};

use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor,
        Never, ParameterVisitor,
    },
};

/// Members past this are not kept; there are no more limits to keep either.
const MOST: usize = 2 * crate::RateLimits::MOST;

/// What a member of a list is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// A string or a token.
    Name(Cow<'a, str>),
    Number(i64),
    #[default]
    Other,
}

/// A member of a list, with the parameters that any draft has.
#[derive(Debug, Default)]
pub(super) struct Member<'a> {
    pub(super) head: Head<'a>,
    /// The quota of a policy.
    pub(super) q: Option<i64>,
    /// The unit of that quota.
    pub(super) qu: Option<Cow<'a, str>>,
    /// The window of a policy, or the time to a reset.
    pub(super) w: Option<i64>,
    /// What remains.
    pub(super) r: Option<i64>,
    /// The same in a later draft.
    pub(super) a: Option<i64>,
    /// The time to a reset.
    pub(super) t: Option<i64>,
}

/// The three members of draft 07.
#[derive(Debug, Default)]
pub(super) struct Trio {
    pub(super) limit: Option<i64>,
    pub(super) remaining: Option<i64>,
    pub(super) reset: Option<i64>,
}

pub(super) fn list(text: &str) -> Option<Vec<Member<'_>>> {
    let mut members = Members(Vec::new());
    Parser::new(text)
        .parse_list_with_visitor(&mut members)
        .ok()?;
    members.0.truncate(MOST);
    Some(members.0)
}

pub(super) fn dictionary(text: &str) -> Option<Trio> {
    let mut trio = Trio::default();
    Parser::new(text)
        .parse_dictionary_with_visitor(&mut trio)
        .ok()?;
    Some(trio)
}

struct Members<'a>(Vec<Member<'a>>);

struct Whole<'a>(&'a mut Option<i64>);

/// A list within a list has no place in these fields.
#[derive(Debug)]
pub(super) struct Nested;

// ===== impl Members =====

impl<'de> ListVisitor<'de> for Members<'de> {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Self::Error> {
        // The last place is for all that aren't kept.
        self.0.truncate(MOST);
        self.0.push(Member::default());
        Ok(self.0.last_mut())
    }
}

impl<'de> ItemVisitor<'de> for &mut Member<'de> {
    type Error = Nested;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Self::Error> {
        self.head = match item {
            BareItemFromInput::Integer(number) => Head::Number(number.into()),
            item => name(item).map_or(Head::Other, Head::Name),
        };
        Ok(self)
    }
}

impl<'de> EntryVisitor<'de> for &mut Member<'de> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Err::<Never, _>(Nested)
    }
}

impl<'de> ParameterVisitor<'de> for &mut Member<'de> {
    type Error = Infallible;

    // Of a parameter that is there twice the last counts, also where it is of the wrong type.
    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Self::Error> {
        let number = match key.as_str() {
            "qu" => {
                self.qu = name(value);
                return Ok(());
            }
            "q" => &mut self.q,
            "w" => &mut self.w,
            "r" => &mut self.r,
            "a" => &mut self.a,
            "t" => &mut self.t,
            _ => return Ok(()),
        };
        *number = value.as_integer().map(i64::from);
        Ok(())
    }
}

// ===== impl Trio =====

impl<'de> DictionaryVisitor<'de> for Trio {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        Ok(match key.as_str() {
            "limit" => Some(Whole(&mut self.limit)),
            "remaining" => Some(Whole(&mut self.remaining)),
            "reset" => Some(Whole(&mut self.reset)),
            _ => None,
        })
    }
}

impl<'de> ItemVisitor<'de> for Whole<'_> {
    type Error = Nested;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Self::Error> {
        *self.0 = item.as_integer().map(i64::from);
        Ok(Ignored)
    }
}

impl<'de> EntryVisitor<'de> for Whole<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Err::<Never, _>(Nested)
    }
}

// ===== impl Nested =====

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list within a list")
    }
}

impl std::error::Error for Nested {}

fn name(item: BareItemFromInput<'_>) -> Option<Cow<'_, str>> {
    Some(match item {
        BareItemFromInput::String(Cow::Borrowed(text)) => Cow::Borrowed(text.as_str()),
        BareItemFromInput::String(Cow::Owned(text)) => Cow::Owned(text.into()),
        BareItemFromInput::Token(text) => Cow::Borrowed(text.as_str()),
        _ => return None,
    })
}
