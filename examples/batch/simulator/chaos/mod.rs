//! What goes wrong with requests that were let in, and with which of them.

mod mishap;

pub(crate) use self::mishap::Mishap;
use super::tokens::scatter;

/// A share of the requests that come to grief. Which ones is chance, but the same chance in every
/// run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chaos {
    /// The same seed draws the same for the same requests in the same order.
    pub(crate) seed: u64,
    /// Of each thousand requests, how many meet each [`Mishap`].
    per_mille: [u64; Mishap::ALL.len()],
}

// ===== impl Chaos =====

impl Chaos {
    /// A bad day of a provider's: of a hundred requests sixteen fail, and three streams more.
    pub(crate) const fn bad_day(seed: u64) -> Self {
        Self::calm(seed)
            .with(Mishap::ServerError, 50)
            .with(Mishap::Unavailable, 50)
            .with(Mishap::Overloaded, 20)
            .with(Mishap::ResetBeforeHead, 10)
            .with(Mishap::ResetAfterHead, 10)
            .with(Mishap::StallBeforeHead, 5)
            .with(Mishap::StallAfterHead, 5)
            .with(Mishap::ErrorStream, 20)
            .with(Mishap::CutStream, 10)
    }

    /// Nothing goes wrong yet.
    pub(crate) const fn calm(seed: u64) -> Self {
        Self {
            seed,
            per_mille: [0; Mishap::ALL.len()],
        }
    }

    /// So many of a thousand requests meet this.
    pub(crate) const fn with(mut self, mishap: Mishap, per_mille: u64) -> Self {
        self.per_mille[mishap as usize] = per_mille;
        self
    }

    /// Draws the mishap of the request of this `number`. Mishaps of streams happen to streams only.
    pub(crate) fn draw(&self, number: u64, streams: bool) -> Option<Mishap> {
        let mut place = scatter(scatter(self.seed).wrapping_add(number)) % 1_000;
        let drawn = Mishap::ALL.into_iter().find(|mishap| {
            let share = self.per_mille[*mishap as usize];
            let is_here = place < share;
            place = place.saturating_sub(share);
            is_here
        });
        drawn.filter(|mishap| streams || !mishap.is_of_streams())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(chaos: Chaos, streams: bool) -> impl Iterator<Item = Option<Mishap>> {
        (1..=100_000).map(move |number| chaos.draw(number, streams))
    }

    #[test]
    fn each_befalls_its_share_and_what_is_of_streams_befalls_no_other() {
        let chaos = Chaos::bad_day(1);
        for streams in [true, false] {
            for mishap in Mishap::ALL {
                let met = drawn(chaos, streams).filter(|met| *met == Some(mishap));
                let met = met.count() as u64;
                let share = chaos.per_mille[mishap as usize];
                let expected = if streams || !mishap.is_of_streams() {
                    share * 90..=share * 110
                } else {
                    0..=0
                };
                assert!(expected.contains(&met), "{mishap:?}: {met}");
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_draws_others() {
        let day = |seed| drawn(Chaos::bad_day(seed), true);
        assert!(day(7).eq(day(7)));
        assert!(day(7).ne(day(8)));
        // Nor the same ones a little later.
        assert!(day(7).skip(1).ne(day(8).take(99_999)));
    }

    #[test]
    fn all_or_none_can_be_asked_for() {
        assert!(drawn(Chaos::calm(1), true).all(|met| met.is_none()));
        let all = Chaos::calm(1).with(Mishap::CutStream, 1_000);
        assert!(drawn(all, true).all(|met| met == Some(Mishap::CutStream)));
        assert!(drawn(all, false).all(|met| met.is_none()));
        // What is more than all takes no more than that.
        let more = all.with(Mishap::ServerError, u64::MAX);
        assert!(drawn(more, true).all(|met| met == Some(Mishap::ServerError)));
    }
}
