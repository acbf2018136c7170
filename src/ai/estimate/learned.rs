//! Learns the error of estimates for each model from the usage in responses.

use std::sync::Mutex;

use crate::{
    ai::tokens::{TokenUsage, Tokens},
    sync::unpoisoned,
};

/// Models with a longer name are ignored.
pub(super) const LONGEST_NAME: usize = 256;

/// The ratios of the most recent models.
///
/// A response can at most raise an estimate of input to four times its value, or lower an estimate
/// to nothing.
#[derive(Debug, Default)]
pub(crate) struct LearnedRatios {
    /// The ratios of input and output by model, the most recent one last.
    models: Mutex<Vec<ModelRatios>>,
}

type ModelRatios = (Box<str>, Ratio, Ratio);

/// Tokens used per estimated token: the running mean, and the mean deviation from it.
///
/// In units of 1/65,536, at most [`Ratio::LARGEST`].
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    mean: i64,
    deviation: i64,
    samples: u8,
}

// ===== impl LearnedRatios =====

impl LearnedRatios {
    /// The number of models. The least recently used one is evicted.
    const MODELS: usize = 64;

    /// Learns from one response. An estimate of 0 is ignored, and so is a name that is too long.
    pub(crate) fn observe(&self, model: &str, estimated: Tokens, used: TokenUsage) {
        if model.len() > LONGEST_NAME {
            return;
        }
        let mut models = unpoisoned(self.models.lock());
        if find(&mut models, model).is_none() {
            if models.len() == Self::MODELS {
                models.remove(0);
            }
            models.push((model.into(), Ratio::default(), Ratio::default()));
        }
        if let Some((_, input, output)) = models.last_mut() {
            input.observe(estimated.input, used.input);
            output.observe(estimated.output, used.output);
        }
    }

    /// Returns the corrected estimate: the mean ratio plus twice its deviation; unchanged if there
    /// are too few samples. The output is never raised: it is the limit of the request.
    pub(crate) fn correct(&self, model: &str, estimated: Tokens) -> Tokens {
        let mut models = unpoisoned(self.models.lock());
        let Some((_, input, output)) = find(&mut models, model) else {
            return estimated;
        };
        let output = output.correct(estimated.output).min(estimated.output);
        Tokens::new(input.correct(estimated.input), output)
    }
}

/// Moves a model to the end, if it exists.
fn find<'a>(models: &'a mut [ModelRatios], name: &str) -> Option<&'a mut ModelRatios> {
    // From the end: most requests use the last model.
    let place = models.iter().rposition(|(model, ..)| **model == *name)?;
    models[place..].rotate_left(1);
    models.last_mut()
}

// ===== impl Ratio =====

impl Ratio {
    const ONE: i64 = 1 << 16;
    /// The largest ratio of one sample.
    const LARGEST: i64 = 4 * Self::ONE;
    /// The number of samples before the ratio is used.
    const ENOUGH: u8 = 8;
    /// A sample weighs as much as the samples before it, up to this number.
    const MEMORY: u8 = 32;

    fn observe(&mut self, estimated: u64, used: u64) {
        if estimated == 0 {
            return;
        }
        let ratio = u128::from(used) * Self::ONE as u128 / u128::from(estimated);
        let ratio = ratio.min(Self::LARGEST as u128) as i64;
        self.samples = (self.samples + 1).min(Self::MEMORY);
        let weight = i64::from(self.samples);
        self.mean += (ratio - self.mean) / weight;
        // From the new mean, so that the first deviation is 0.
        self.deviation += ((ratio - self.mean).abs() - self.deviation) / weight;
    }

    /// Two deviations above the mean, rounded up.
    fn correct(&self, estimated: u64) -> u64 {
        if self.samples < Self::ENOUGH {
            return estimated;
        }
        let ratio = (self.mean + 2 * self.deviation).clamp(0, Self::LARGEST);
        let tokens = (u128::from(estimated) * ratio as u128).div_ceil(Self::ONE as u128);
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn usage(input: u64, output: u64) -> TokenUsage {
        TokenUsage {
            input,
            output,
            ..TokenUsage::default()
        }
    }

    fn taught(samples: &[(u64, u64)]) -> LearnedRatios {
        let learned = LearnedRatios::default();
        for (input, output) in samples {
            learned.observe("m", Tokens::new(100, 1_000), usage(*input, *output));
        }
        learned
    }

    #[test]
    fn too_few_samples_change_nothing() {
        let estimated = Tokens::new(100, 1_000);
        assert_eq!(taught(&[(50, 100); 7]).correct("m", estimated), estimated);
        let learned = taught(&[(50, 100); 8]);
        assert_eq!(learned.correct("m", estimated), Tokens::new(50, 100));
        assert_eq!(learned.correct("other", estimated), estimated);
    }

    #[test]
    fn steady_ratios_are_exact_and_others_have_a_margin() {
        let steady = taught(&[(130, 400); 50]);
        let corrected = steady.correct("m", Tokens::new(10, 500));
        // Rounded up, including the loss in 1/65,536.
        assert_eq!(corrected, Tokens::new(13, 200));

        let mut changing = [(130, 200); 50];
        changing
            .iter_mut()
            .step_by(2)
            .for_each(|sample| sample.1 = 400);
        let corrected = taught(&changing).correct("m", Tokens::new(100, 1_000));
        assert!((480..=520).contains(&corrected.output), "{corrected:?}");
    }

    #[test]
    fn old_ratios_fade() {
        let mut samples = vec![(100, 900); 50];
        samples.extend([(100, 100); 400]);
        let corrected = taught(&samples).correct("m", Tokens::new(100, 1_000));
        assert!((100..=120).contains(&corrected.output), "{corrected:?}");
    }

    #[test]
    fn only_input_is_raised() {
        let learned = taught(&[(300, 3_000); 8]);
        let corrected = learned.correct("m", Tokens::new(100, 1_000));
        assert_eq!(corrected, Tokens::new(300, 1_000));
    }

    #[test]
    fn absurd_usage_is_bounded() {
        let learned = taught(&[(u64::MAX, u64::MAX); 100]);
        let corrected = learned.correct("m", Tokens::new(100, 1_000));
        assert_eq!(corrected, Tokens::new(400, 1_000));
        let corrected = learned.correct("m", Tokens::new(u64::MAX, u64::MAX));
        assert_eq!(corrected, Tokens::new(u64::MAX, u64::MAX));
        // The effect is temporary.
        for _ in 0..300 {
            learned.observe("m", Tokens::new(100, 1_000), usage(100, 1_000));
        }
        assert!(learned.correct("m", Tokens::new(100, 0)).input <= 101);
    }

    #[test]
    fn zero_estimates_are_ignored() {
        let learned = LearnedRatios::default();
        for _ in 0..20 {
            learned.observe("m", Tokens::new(0, 10), usage(5, 5));
        }
        let corrected = learned.correct("m", Tokens::new(100, 100));
        assert_eq!(corrected, Tokens::new(100, 50));
    }

    #[test]
    fn long_names_are_ignored() {
        let learned = LearnedRatios::default();
        learned.observe(&"m".repeat(257), Tokens::new(1, 1), usage(1, 1));
        assert!(unpoisoned(learned.models.lock()).is_empty());
        learned.observe(&"m".repeat(256), Tokens::new(1, 1), usage(1, 1));
        assert_eq!(unpoisoned(learned.models.lock()).len(), 1);
    }

    proptest! {
        #[test]
        fn keeps_the_most_recent_models(
            asked in prop::collection::vec((0..90_u8, any::<bool>()), 0..400),
        ) {
            let learned = LearnedRatios::default();
            let mut kept = VecDeque::new();
            for (name, is_observed) in asked {
                let model = name.to_string();
                let was_there = kept.contains(&name);
                kept.retain(|other| *other != name);
                if is_observed {
                    learned.observe(&model, Tokens::new(1, 1), usage(1, 1));
                } else {
                    learned.correct(&model, Tokens::new(1, 1));
                }
                if is_observed || was_there {
                    kept.push_back(name);
                }
                if kept.len() > 64 {
                    kept.pop_front();
                }
            }
            let models = unpoisoned(learned.models.lock());
            let names: Vec<_> = models.iter().map(|(name, ..)| name.to_string()).collect();
            let expected: Vec<_> = kept.iter().map(u8::to_string).collect();
            prop_assert_eq!(names, expected);
        }

        #[test]
        fn agrees_with_a_float_model(
            samples in prop::collection::vec((1..5_000_u64, 0..50_000_u64), 0..100),
            estimated in 0..1_000_000_u64,
        ) {
            let learned = LearnedRatios::default();
            let (mut mean, mut deviation) = (0.0_f64, 0.0);
            for (index, (guess, used)) in samples.iter().enumerate() {
                learned.observe("m", Tokens::new(*guess, 0), usage(*used, 0));
                let ratio = (*used as f64 / *guess as f64).min(4.0);
                let weight = (index as f64 + 1.0).min(32.0);
                mean += (ratio - mean) / weight;
                deviation += ((ratio - mean).abs() - deviation) / weight;
            }
            let corrected = learned.correct("m", Tokens::new(estimated, 0)).input as f64;
            let estimated = estimated as f64;
            let expected = if samples.len() < 8 {
                estimated
            } else {
                estimated * (mean + 2.0 * deviation).min(4.0)
            };
            // The rounding errors add up to at most the length of the memory.
            let off = (corrected - expected).abs();
            let most = 1.0 + estimated * 4.0 * 32.0 / 65_536.0;
            prop_assert!(off <= most, "{corrected} for {expected}");
        }

        #[test]
        fn anything_may_be_reported(
            samples in prop::collection::vec(any::<[u64; 4]>(), 0..40),
            asked in any::<(u64, u64)>(),
        ) {
            let learned = LearnedRatios::default();
            for [input, output, used_input, used_output] in samples {
                learned.observe("m", Tokens::new(input, output), usage(used_input, used_output));
            }
            let corrected = learned.correct("m", Tokens::new(asked.0, asked.1));
            prop_assert!(corrected.input <= asked.0.saturating_mul(4));
            prop_assert!(corrected.output <= asked.1);
        }
    }
}
