//! What is taken of a limit, in either shape.

use super::MOST;
use crate::{
    Decision,
    algorithm::plain_window::{Period, Window},
    provider::{
        Shape,
        quota::{bucket::Bucket, tide::Tide},
    },
};

#[derive(Debug, Clone)]
pub(super) enum Memory {
    Bucket(Bucket, Tide),
    Window(Window, Period),
}

/// What is asked of a limit.
pub(super) struct Asked {
    /// What others wait for already.
    pub(super) ahead: u64,
    pub(super) cost: u64,
    /// What is held back for answers that have not ended.
    pub(super) reserved: u64,
    pub(super) now: u64,
    pub(super) in_turn: bool,
}

/// What a limit has.
pub(super) struct Room {
    /// The most that is taken at one instant.
    pub(super) capacity: u64,
    /// How much comes back in a period.
    pub(super) rate: u64,
    pub(super) period: u64,
}

// ===== impl Memory =====

impl Memory {
    pub(super) fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => Self::Bucket(Bucket::new(period, now), Tide::new(now)),
            Shape::Window => Self::Window(Window::default(), Period::in_parts(period)),
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        match self {
            Self::Bucket(bucket, _) => bucket.advance(now, rate),
            Self::Window(window, period) => window.advance(period.nanos, now),
        }
    }

    #[inline]
    pub(super) fn due(&self, asked: &Asked, room: &Room) -> Decision {
        let Asked {
            ahead,
            cost,
            reserved,
            now,
            in_turn,
        } = *asked;
        match self {
            Self::Bucket(bucket, _) => {
                let units = ahead.saturating_add(cost).saturating_add(reserved);
                match bucket.due(units.min(2 * MOST), room.capacity, room.rate, in_turn) {
                    0 => Decision::Admit,
                    // What is held back does not refill.
                    _ if reserved.saturating_add(cost) > room.capacity => Decision::WAIT_FOR_OTHERS,
                    wait => Decision::after(wait),
                }
            }
            Self::Window(window, _) => {
                let held = window.used().saturating_add(reserved);
                if held.saturating_add(ahead).saturating_add(cost) <= room.capacity {
                    return Decision::Admit;
                }
                let (laps, units) = (ahead / room.capacity, ahead % room.capacity + cost);
                let over = held.saturating_add(units).saturating_sub(room.capacity);
                let first = match window.gone_at(over, room.period) {
                    Some(gone_at) => gone_at.saturating_sub(now),
                    // It is held back for others, and they end when they end.
                    None if ahead == 0 => return Decision::WAIT_FOR_OTHERS,
                    // Those ahead of it start now at the earliest.
                    None => room.period,
                };
                Decision::after(room.period.saturating_mul(laps).saturating_add(first))
            }
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::Bucket(bucket, _) => bucket.take(units, in_turn),
            Self::Window(window, period) => window.take(period.start(now), units),
        }
    }

    /// Takes what was used without having been asked for, for what started at `at`. A bucket never has more than `most`
    /// taken by it.
    #[inline]
    pub(super) fn take_more(&mut self, at: u64, units: u64, most: u64) {
        match self {
            Self::Bucket(bucket, _) => bucket.take_up_to(units, most),
            Self::Window(window, period) => window.take(period.start(at), units),
        }
    }

    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) {
        match self {
            Self::Bucket(bucket, _) => bucket.give_back(at, units),
            Self::Window(window, period) => window.give_back(period.start(at), units),
        }
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::Bucket(bucket, _) => bucket.used(),
            Self::Window(window, _) => window.used(),
        }
    }

    /// Nanoseconds until nothing is taken any more.
    pub(super) fn resets_in(&self, rate: u64, now: u64) -> u64 {
        match self {
            Self::Bucket(bucket, _) => bucket.resets_in(rate),
            Self::Window(window, period) => window.empty_at(period.nanos).saturating_sub(now),
        }
    }
}
