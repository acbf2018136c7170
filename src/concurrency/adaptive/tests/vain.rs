//! Which refusals are held to be of load.

use super::super::refusals::Refusals;

/// Requests between two steps.
const OF: usize = 100;

struct Server {
    refusals: Refusals,
    limit: f64,
    backoff: f64,
    is_least: bool,
}

impl Server {
    fn new() -> Self {
        let refusals = Refusals::new(0.9);
        let limit = 100.0;
        let backoff = 0.9;
        Self {
            refusals,
            limit,
            backoff,
            is_least: false,
        }
    }

    fn at_the_least() -> Self {
        Self {
            limit: 1.0,
            is_least: true,
            ..Self::new()
        }
    }

    /// So many are in flight, of which a part is refused, by the limit. Returns where the limit went back to, if it did.
    fn steps(&mut self, count: usize, busy: f64, part: impl Fn(f64) -> f64) -> Option<f64> {
        (0..count).find_map(|_| {
            let in_flight = self.limit.min(busy);
            let refused = (part(self.limit) * OF as f64).round() as usize;
            for number in 0..OF {
                let is_refused = number < refused;
                self.refusals
                    .count(self.limit, self.is_least, in_flight as usize, is_refused);
            }
            let are_many = self.refusals.are_many(refused, OF);
            let back = self.refusals.step(self.limit, self.is_least, are_many);
            self.limit = back.unwrap_or(self.limit * if are_many { self.backoff } else { 1.0 });
            back
        })
    }
}

#[test]
fn the_same_part_of_less_is_not_of_load() {
    for part in [0.01, 0.1, 0.25] {
        let mut server = Server::new();
        assert_eq!(server.steps(30, 100.0, |_| part), Some(100.0), "{part}");
        assert_eq!(server.steps(30, 100.0, |_| part), None);
        assert_eq!(server.limit, 100.0, "{part}");
    }
}

#[test]
fn less_than_half_of_the_part_of_two_thirds_is_of_load() {
    let part = |limit: f64| if limit > 67.0 { 0.2 } else { 0.08 };
    assert_eq!(Server::new().steps(10, 100.0, part), None);
    let part = |limit: f64| if limit > 67.0 { 0.2 } else { 0.12 };
    assert_eq!(Server::new().steps(10, 100.0, part), Some(100.0));
}

#[test]
fn more_than_a_quarter_is_of_load() {
    assert_eq!(Server::new().steps(100, 100.0, |_| 0.3), None);
    let part = |limit: f64| if limit > 67.0 { 0.2 } else { 0.3 };
    assert_eq!(Server::new().steps(10, 100.0, part), None);
    let part = |limit: f64| if limit > 67.0 { 0.3 } else { 0.2 };
    assert_eq!(Server::new().steps(10, 100.0, part), None);
}

#[test]
fn a_limit_that_nobody_reaches_shows_nothing() {
    let mut server = Server::new();
    assert_eq!(server.steps(10, 30.0, |_| 0.2), None);
    assert!(server.limit < 50.0);
    assert_eq!(server.steps(10, 30.0, |_| 0.2), Some(100.0));
}

#[test]
fn what_is_refused_at_the_least_limit_is_not_of_load() {
    let mut server = Server::at_the_least();
    let mut step = |refused| server.steps(1, 1.0, |_| refused);
    // Counted from the second step on; fewer than ten say nothing.
    let steps = [step(0.6), step(0.09), step(0.0), step(0.02)];
    assert_eq!(steps, [None, None, None, Some(1.0)]);
}

#[test]
fn what_an_outage_has_refused_before_is_not_usual() {
    let mut server = Server::new();
    server.steps(4, 100.0, |_| 0.9);
    server = Server {
        refusals: server.refusals,
        ..Server::at_the_least()
    };
    assert_eq!(server.steps(10, 100.0, |_| 0.1), Some(100.0));
    assert!(!server.refusals.are_many(20, OF));
    assert!(server.refusals.are_many(65, OF));
}

#[test]
fn more_than_there_always_are_is_of_load() {
    let mut server = Server::new();
    assert_eq!(server.steps(30, 100.0, |_| 0.1), Some(100.0));
    server.steps(1, 100.0, |_| 0.3);
    assert_eq!(server.limit, 100.0);
    server.steps(1, 100.0, |_| 0.4);
    assert_eq!(server.limit, 90.0);
}

#[test]
fn more_than_that_is_of_load_again() {
    let mut server = Server::new();
    assert_eq!(server.steps(30, 100.0, |_| 0.1), Some(100.0));
    server.steps(2, 100.0, |_| 0.31);
    assert!(server.limit < 100.0);
    // From then on each is, until it is tried again.
    let limit = server.limit;
    server.steps(1, 100.0, |_| 0.01);
    assert!(server.limit < limit);
}

#[test]
fn a_time_with_few_refusals_makes_them_of_load_again() {
    for few in [0.0, 0.01] {
        let mut server = Server::new();
        assert_eq!(server.steps(30, 100.0, |_| 0.2), Some(100.0));
        server.steps(3, 100.0, |_| few);
        server.steps(1, 100.0, |_| 0.1);
        assert_eq!(server.limit, 90.0, "{few}");
    }
}

/// Or a mistake would last as long as what it has brought about.
#[test]
fn after_a_while_it_is_tried_again() {
    for (part, steps) in [(0.2, 300), (0.01, 10_000)] {
        let mut server = Server::new();
        assert_eq!(server.steps(30, 100.0, |_| part), Some(100.0));
        server.steps(steps - 1, 100.0, |_| part);
        assert_eq!(server.limit, 100.0, "{part}");
        server.steps(5, 100.0, |_| part);
        assert!(server.limit < 100.0, "{part}");
    }
}

#[test]
fn a_large_limit_is_not_lowered_all_the_time() {
    let mut server = Server::new();
    server.limit = 10_000.0;
    assert_eq!(server.steps(30, 10_000.0, |_| 0.2), Some(10_000.0));
    assert_eq!(server.steps(5_999, 10_000.0, |_| 0.2), None);
    assert_eq!(server.limit, 10_000.0);
}

#[test]
fn a_limit_that_each_refusal_halves_is_compared_with_what_it_was() {
    for backoff in [0.1, 0.5, 0.66] {
        let mut server = Server::new();
        server.refusals = Refusals::new(backoff);
        server.backoff = backoff;
        server.limit = 10_000.0;
        assert_eq!(
            server.steps(10, 10_000.0, |_| 0.2),
            Some(10_000.0),
            "{backoff}"
        );
    }
}

#[test]
fn a_descent_ends_where_nothing_is_refused_for_long() {
    let mut server = Server::new();
    server.steps(1, 100.0, |_| 0.1);
    assert_eq!(server.limit, 90.0);
    server.steps(40, 100.0, |_| 0.0);
    assert_eq!(server.steps(30, 100.0, |_| 0.1), Some(90.0));
}

#[test]
fn where_nothing_is_refused_any_more_nothing_is_learned() {
    let mut server = Server::new();
    assert_eq!(server.steps(1, 100.0, |_| 0.05), None);
    assert_eq!(server.steps(1, 100.0, |_| 0.0), None);
    server.limit = 60.0;
    assert_eq!(server.steps(9, 100.0, |_| 0.0), None);
}

/// An earlier state of the other side is no measure for the present one.
#[test]
fn what_was_refused_long_ago_is_forgotten() {
    let mut server = Server::new();
    // Steps down, and up again by something else, but never to where they began.
    for _ in 0..20 {
        assert_eq!(server.steps(2, 100.0, |_| 0.05), None);
        server.limit = 95.0;
    }
    let part = |limit: f64| if limit > 67.0 { 0.5 } else { 0.1 };
    assert_eq!(server.steps(10, 100.0, part), None);
}
