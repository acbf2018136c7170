//! A client that sees the provider's books: no other is faster.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{Ledger, Limits, Rejection, Tokens};

/// How long it takes for `count` requests of so many tokens each, of which at most `workers` are in
/// flight.
pub(crate) fn least_time(limits: &Limits, tokens: Tokens, count: u64, workers: u64) -> Duration {
    let mut ledger = Ledger::new(&Limits {
        counts_rejected: false,
        ..limits.clone()
    });
    let start = Instant::now();
    let (mut now, mut sent) = (start, 0);
    // By the end of the response and the number of the request.
    let mut in_flight = BTreeMap::new();
    loop {
        let mut next = in_flight.first_key_value().map(|((end, _), _)| *end);
        if sent < count && (in_flight.len() as u64) < workers {
            match ledger.arrive(now, tokens) {
                Ok(admission) => {
                    sent += 1;
                    in_flight.insert((now + limits.latency_of(sent), sent), admission);
                    continue;
                }
                Err(Rejection::Limited { retry_after, .. }) => {
                    let room = now + retry_after;
                    next = Some(next.map_or(room, |end| end.min(room)));
                }
                Err(_) => return Duration::MAX,
            }
        }
        let Some(at) = next else {
            return now - start;
        };
        now = at;
        while let Some(first) = in_flight.first_entry().filter(|it| it.key().0 <= now) {
            let ((_, number), admission) = first.remove_entry();
            ledger.end(now, &admission, limits.usage.draw(number, tokens));
        }
    }
}
