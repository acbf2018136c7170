//! A value of JSON at a glance: what a single word or number says, and nothing of what is nested.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The key by which `serde_json` passes on a number as it was written, where some crate of the build asks it to. It is
/// then what looks like an object with this key and the number as a string.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// A value without what is nested in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plain<'a> {
    Null,
    Bool(bool),
    Text(&'a str),
    /// A number that is not negative; a fraction rounded up, and what is too large for the type the most it holds.
    Number(u64),
    /// An array, an object or a negative number.
    Other,
}

/// Reads any value, and answers what the closure makes of it.
pub(super) struct Look<F>(pub(super) F);

/// Reads a number that is in a string, for a [`Look`].
///
/// A type of its own, since one `Look` inside of another would have the compiler build them without an end.
struct Written<F>(F);

fn is_number(key: Plain<'_>) -> bool {
    key == Plain::Text(NUMBER)
}

// ===== impl Plain =====

impl Plain<'_> {
    fn float(number: f64) -> Self {
        // The cast saturates.
        if number >= 0.0 {
            Self::Number(number.ceil() as u64)
        } else {
            Self::Other
        }
    }

    fn written(number: &str) -> Self {
        match number.parse() {
            Ok(number) => Self::Number(number),
            Err(_) => number.parse().map_or(Self::Other, Self::float),
        }
    }
}

// ===== impl Look =====

impl<'de, F, T> DeserializeSeed<'de> for Look<F>
where
    F: FnOnce(Plain<'_>) -> T,
{
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F, T> Visitor<'de> for Look<F>
where
    F: FnOnce(Plain<'_>) -> T,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(self.0(Plain::Null))
    }

    fn visit_bool<E>(self, bool: bool) -> Result<T, E> {
        Ok(self.0(Plain::Bool(bool)))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(self.0(Plain::Text(text)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(self.0(Plain::Number(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(self.0(
            u64::try_from(number).map_or(Plain::Other, Plain::Number),
        ))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(self.0(Plain::float(number)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.0(Plain::Other))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let is_number = map.next_key_seed(Look(is_number))?;
        if is_number == Some(true) {
            return map.next_value_seed(Written(self.0));
        }
        if is_number.is_some() {
            map.next_value::<IgnoredAny>()?;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        }
        Ok(self.0(Plain::Other))
    }
}

// ===== impl Written =====

impl<'de, F, T> DeserializeSeed<'de> for Written<F>
where
    F: FnOnce(Plain<'_>) -> T,
{
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, F, T> Visitor<'de> for Written<F>
where
    F: FnOnce(Plain<'_>) -> T,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in a string")
    }

    fn visit_str<E>(self, number: &str) -> Result<T, E> {
        Ok(self.0(Plain::written(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_is_read_to_its_end() {
        let table = [
            ("null", "Null"),
            ("true", "Bool(true)"),
            ("\"a\\u0062\"", "Text(\"ab\")"),
            ("7", "Number(7)"),
            ("-7", "Other"),
            ("-0", "Number(0)"),
            ("1e3", "Number(1000)"),
            ("1.5", "Number(2)"),
            ("-1.5", "Other"),
            ("18446744073709551615", "Number(18446744073709551615)"),
            ("18446744073709551616", "Number(18446744073709551615)"),
            ("1e300", "Number(18446744073709551615)"),
            ("[]", "Other"),
            ("[1,[2],{\"a\":[]}]", "Other"),
            ("{}", "Other"),
            ("{\"a\":1,\"b\":[{}]}", "Other"),
            ("{\"$serde_json::private::Number\":\"5\"}", "Number(5)"),
            (
                "{\"$serde_json::private::Number\":\"99e99\"}",
                "Number(18446744073709551615)",
            ),
            ("{\"$serde_json::private::Number\":\"-5\"}", "Other"),
            ("{\"$serde_json::private::Number\":\"NaN\"}", "Other"),
        ];
        for (json, expected) in table {
            let mut deserializer = serde_json::Deserializer::from_str(json);
            let seen = Look(|plain: Plain<'_>| format!("{plain:?}")).deserialize(&mut deserializer);
            assert_eq!(seen.unwrap(), expected, "{json}");
            deserializer.end().unwrap();
        }
    }

    #[test]
    fn what_is_cut_is_an_error() {
        for json in ["", "{", "[1,", "\"a", "{\"a\":1", "{\"a\" 1}", "nul"] {
            let mut deserializer = serde_json::Deserializer::from_str(json);
            let seen = Look(|plain: Plain<'_>| format!("{plain:?}")).deserialize(&mut deserializer);
            assert!(seen.is_err(), "{json}");
        }
    }
}
