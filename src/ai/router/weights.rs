//! Smooth weighted round robin: the turns of a target are spread as evenly as possible.

use std::sync::Mutex;

use crate::sync::unpoisoned;

/// How far each target is behind its turns.
#[derive(Debug, Default)]
pub(super) struct Weights(Mutex<Vec<i64>>);

// ===== impl Weights =====

impl Weights {
    /// Removes the next target from `able`, which has the index and the weight of each target with
    /// room.
    pub(super) fn pick(&self, able: &mut Vec<(usize, u32)>) -> Option<usize> {
        let mut due = unpoisoned(self.0.lock());
        let len = able.iter().map(|(target, _)| target + 1).max()?;
        let len = len.max(due.len());
        due.resize(len, 0);
        let mut total = 0_i64;
        for (target, weight) in &*able {
            total = total.saturating_add((*weight).into());
            due[*target] = due[*target].saturating_add((*weight).into());
        }
        // A weight of 0 is used only if there is no other. Of equals, the first.
        let rank = |place: &usize| (able[*place].1 > 0, due[able[*place].0]);
        let place = (0..able.len()).rev().max_by_key(rank)?;
        let next = able.remove(place).0;
        due[next] = due[next].saturating_sub(total);
        Some(next)
    }
}

/// A clone has turns of its own.
impl Clone for Weights {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn turns_are_spread() {
        let weights = Weights::default();
        let able = [(0, 5), (1, 1), (2, 1)];
        let picks: Vec<_> = (0..14)
            .map(|_| weights.pick(&mut able.to_vec()).unwrap())
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn zero_weight_is_a_last_resort() {
        let weights = Weights::default();
        for _ in 0..5 {
            assert_eq!(weights.pick(&mut vec![(0, 0), (1, 3)]), Some(1));
        }
        assert_eq!(weights.pick(&mut vec![(0, 0)]), Some(0));
        assert_eq!(weights.pick(&mut vec![(1, 0), (0, 0)]), Some(1));
        assert_eq!(weights.pick(&mut vec![]), None);
    }

    proptest! {
        #[test]
        fn turns_follow_the_weights(given in prop::collection::vec(1_u32..20, 1..6)) {
            let weights = Weights::default();
            let able: Vec<_> = given.iter().copied().enumerate().collect();
            let total: u32 = given.iter().sum();
            let mut picked = vec![0; given.len()];
            for _ in 0..total {
                picked[weights.pick(&mut able.clone()).unwrap()] += 1;
            }
            prop_assert_eq!(picked, given);
        }

        #[test]
        fn picks_a_target_with_room(
            rounds in prop::collection::vec(
                prop::collection::vec((0_usize..4, any::<u32>()), 0..4),
                0..50,
            ),
        ) {
            let weights = Weights::default();
            for mut able in rounds {
                let is_any = !able.is_empty();
                prop_assert_eq!(weights.pick(&mut able).is_some(), is_any);
            }
        }
    }
}
