//! What the body of a request says of the tokens that it may use, in the form of any API that is known.

mod member;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use self::member::Member;
use super::{
    count::{Count, Reading},
    model,
};
use crate::provider::plain::{Look, Plain};

/// What a body says of the tokens that it may use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sketch {
    /// What there is to tokenize.
    pub(super) count: Count,
    /// Whether it has a member of those that hold prompts.
    pub(super) is_known: bool,
    /// Whether it asks for vectors, which are no tokens.
    pub(super) is_embedding: bool,
    /// The most tokens of one answer.
    pub(super) most: Option<u64>,
    /// How many answers are asked for, at least 1.
    pub(super) answers: u64,
}

/// What has been read of a body.
#[derive(Default)]
struct Draft {
    count: Count,
    is_known: bool,
    /// A member that no request for vectors has.
    completes: bool,
    /// A member that no other request has, or a model with such a name.
    embeds: bool,
    /// By `max_completion_tokens`, `max_output_tokens`, `max_tokens`, `maxOutputTokens` and `maxTokens`, in this order.
    most: [Option<u64>; 5],
    choices: u64,
    prompts: u64,
}

/// Reads the whole body.
struct Body<'a>(&'a mut Draft);

/// Reads Gemini's `generationConfig`, or Bedrock's `inferenceConfig`.
struct Config<'a>(&'a mut Draft);

// ===== impl Sketch =====

impl Sketch {
    /// Reads a body; `None` where it is not an object of JSON, is nested too deeply, or has a number out of range.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let mut draft = Draft::default();
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        Body(&mut draft).deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        let most = draft.most.into_iter().flatten().next();
        Some(Self {
            count: draft.count,
            is_known: draft.is_known,
            is_embedding: draft.embeds && !draft.completes && most.is_none(),
            most,
            answers: draft.choices.max(1).saturating_mul(draft.prompts.max(1)),
        })
    }
}

// ===== impl Draft =====

impl Draft {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: Member,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.is_known |= member.has_prompt();
        match member {
            Member::Text => map.next_value_seed(self.count.walk(Reading::Turns)),
            Member::Turns => {
                self.completes = true;
                map.next_value_seed(self.count.walk(Reading::Turns))
            }
            Member::Prompt => {
                self.completes = true;
                let before = self.count.prompts;
                map.next_value_seed(self.count.walk(Reading::Prompt))?;
                self.prompts += self.count.prompts - before;
                Ok(())
            }
            Member::Input => {
                let (prompts, tokens) = (self.count.prompts, self.count.tokens);
                map.next_value_seed(self.count.walk(Reading::Prompt))?;
                // The list that a completion takes is one of turns.
                self.embeds |= self.count.prompts > prompts || self.count.tokens > tokens;
                Ok(())
            }
            Member::Content => {
                self.embeds = true;
                map.next_value_seed(self.count.walk(Reading::Turns))
            }
            Member::Json => map.next_value_seed(self.count.walk(Reading::Json)),
            Member::Most(place) => {
                self.most[place] = map.next_value_seed(Look(number))?;
                Ok(())
            }
            Member::Choices => {
                let choices = map.next_value_seed(Look(number))?;
                self.choices = self.choices.max(choices.unwrap_or(0));
                Ok(())
            }
            Member::Config => map.next_value_seed(Config(self)),
            Member::Embeds => {
                self.embeds |=
                    map.next_value_seed(Look(|value: Plain<'_>| value != Plain::Null))?;
                Ok(())
            }
            Member::Model => {
                self.embeds |= map.next_value_seed(Look(model::makes_vectors))?;
                Ok(())
            }
            Member::Other => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

fn number(value: Plain<'_>) -> Option<u64> {
    match value {
        Plain::Number(number) => Some(number),
        _ => None,
    }
}

// ===== readers =====

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(Look(Member::of))? {
            self.0.member(member, &mut map)?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Config<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Config<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(Look(Member::of_config))? {
            self.0.member(member, &mut map)?;
        }
        Ok(())
    }
}
