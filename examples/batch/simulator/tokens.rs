//! How many tokens a request reserves, and how many it uses.

/// The most words that are written, however many a request allows.
const LONGEST_ANSWER: u64 = 32_768;
/// The length of a short response.
const SHORT_ANSWER: u64 = 12;

/// Tokens of a prompt and of its response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// How much of what they reserve requests really use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UsageShare {
    /// The prompt as estimated, and responses of 12 words, or of fewer if the request allows no
    /// more.
    #[default]
    Short,
    /// Between `from` and `to` thousandths of what was reserved, of the prompt and of the response,
    /// each drawn evenly. The same seed draws the same for the same requests in the same order.
    Drawn { from: u64, to: u64, seed: u64 },
}

// ===== impl Tokens =====

impl Tokens {
    pub(crate) fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

// ===== impl UsageShare =====

impl UsageShare {
    /// What the request of this `number` will have used at the end of its response.
    pub(crate) fn draw(self, number: u64, reserved: Tokens) -> Tokens {
        let (input, output) = match self {
            Self::Short => (reserved.input, SHORT_ANSWER),
            Self::Drawn { from, to, seed } => {
                let chance = seed.wrapping_add(number.wrapping_mul(2));
                let draw = |units: u64, chance: u64| {
                    let least = per_mille(units, from);
                    let most = per_mille(units, to).max(least);
                    let choices = (most - least).saturating_add(1);
                    least + scatter(chance) % choices
                };
                let input = draw(reserved.input, chance);
                (input, draw(reserved.output, chance.wrapping_add(1)))
            }
        };
        Tokens {
            input,
            output: output.min(reserved.output).min(LONGEST_ANSWER),
        }
    }
}

/// `share` thousandths of `units`, rounded down.
pub(crate) fn per_mille(units: u64, share: u64) -> u64 {
    u64::try_from(u128::from(units) * u128::from(share) / 1_000).unwrap_or(u64::MAX)
}

/// A number that looks like chance: the output function of SplitMix64.
pub(super) fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVED: Tokens = Tokens {
        input: 100,
        output: 1_000,
    };

    fn drawn(from: u64, to: u64, seed: u64) -> impl Iterator<Item = Tokens> {
        let share = UsageShare::Drawn { from, to, seed };
        (0..2_000).map(move |number| share.draw(number, RESERVED))
    }

    #[test]
    fn what_is_drawn_is_spread_evenly_over_all_that_is_allowed() {
        let all: Vec<_> = drawn(300, 700, 1).collect();
        let outputs = all.iter().map(|used| used.output);
        let inputs = all.iter().map(|used| used.input);
        let ends = |of: &mut dyn Iterator<Item = u64>| {
            let (mut least, mut most, mut sum) = (u64::MAX, 0, 0);
            for n in of {
                (least, most, sum) = (least.min(n), most.max(n), sum + n);
            }
            (least, most, sum / 2_000)
        };
        let (least, most, mean) = ends(&mut outputs.into_iter());
        assert!((300..305).contains(&least) && (696..=700).contains(&most));
        assert!((490..510).contains(&mean), "{mean}");
        let (least, most, mean) = ends(&mut inputs.into_iter());
        assert_eq!((least, most), (30, 70));
        assert!((49..=50).contains(&mean), "{mean}");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_draws_other_numbers() {
        assert!(drawn(0, 1_000, 7).eq(drawn(0, 1_000, 7)));
        assert!(drawn(0, 1_000, 7).ne(drawn(0, 1_000, 8)));
    }

    #[test]
    fn no_answer_is_longer_than_allowed_or_than_can_be_written() {
        for used in drawn(1_500, 2_000, 0) {
            assert_eq!(used.output, 1_000);
            assert!((150..=200).contains(&used.input));
        }
        let most = Tokens {
            input: u64::MAX,
            output: u64::MAX,
        };
        for share in [
            UsageShare::Short,
            UsageShare::Drawn {
                from: 0,
                to: u64::MAX,
                seed: u64::MAX,
            },
        ] {
            assert!(share.draw(u64::MAX, most).output <= LONGEST_ANSWER);
        }
    }
}
