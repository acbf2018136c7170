//! The leases of a concurrency limit in memory: step for step what `redis/lua/lease.lua` does.

use crate::limit::store::call::{Lease, LeaseReply, micros};

/// The slots of each process. Instants are microseconds.
#[derive(Debug, Default)]
pub(crate) struct SlotState {
    /// No process gets more than it holds before.
    opens: u64,
    processes: Vec<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    id: u64,
    expires: u64,
    slots: u64,
    wanted: u64,
    /// When it last was given a slot, or lost one.
    since: u64,
}

// ===== impl SlotState =====

impl SlotState {
    /// Carries out `lease` at `now`, in nanoseconds since 1970.
    pub(crate) fn lease(&mut self, lease: &Lease, now: u64) -> LeaseReply {
        let now = now / 1_000;
        let [expires, grace] = [lease.expires, lease.grace].map(|time| now + micros(time));
        let must_be_there = lease.held > 0 || lease.has_seen;
        self.opens = match self.processes.is_empty() && must_be_there {
            // It was lost.
            true => grace,
            false => self.opens.min(grace),
        };
        let wanted = lease.wanted;
        let own = self
            .processes
            .iter()
            .find(|process| process.id == lease.process);
        let (before, mut since) = own.map_or((0, now), |own| (own.slots, own.since.min(now)));
        if before >= wanted {
            since = now;
        }
        for process in &mut self.processes {
            process.expires = process.expires.min(expires);
            process.since = process.since.min(now);
        }
        self.processes
            .retain(|process| process.id != lease.process && process.expires > now);

        let sum = |number: fn(&Process) -> u64| self.processes.iter().map(number).sum::<u64>();
        let sharing = sum(|process| u64::from(process.wanted > 0)) + u64::from(wanted > 0);
        // Equal shares; the rest goes to the processes with the fewest slots, and the longest wait.
        let share = lease.limit / sharing.max(1);
        let waits = |process: &Process| process.wanted > process.slots;
        let ahead =
            |process: &Process| waits(process) && (process.slots, process.since) < (before, since);
        let over = self
            .processes
            .iter()
            .map(|process| process.slots.saturating_sub(share));
        let over: u64 = over.sum();
        let ahead = self
            .processes
            .iter()
            .filter(|process| ahead(process))
            .count() as u64;
        let fair = share + u64::from(lease.limit - share * sharing > over + ahead);
        let slots = wanted
            .min(fair.max(lease.limit.saturating_sub(sum(|process| process.wanted))))
            .min(lease.limit.saturating_sub(sum(|process| process.slots)));
        let slots = if now < self.opens {
            slots.min(lease.held)
        } else {
            slots
        };
        if slots != before {
            since = now;
        }
        let others_wait = self.processes.iter().any(waits);
        if wanted > 0 || slots.max(lease.held) > 0 {
            self.processes.push(Process {
                id: lease.process,
                expires,
                slots: slots.max(lease.held),
                wanted,
                since,
            });
        }
        LeaseReply { slots, others_wait }
    }
}

mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A process asks, and holds all that it gets.
    fn ask(state: &mut SlotState, at: u64, process: u64, held: u64, wanted: u64) -> (u64, bool) {
        let lease = Lease {
            name: "".into(),
            process,
            limit: 50,
            held,
            wanted,
            expires: Duration::from_secs(10),
            has_seen: held > 0,
            grace: Duration::from_secs(1),
        };
        let leased = state.lease(&lease, at * SECOND);
        (leased.slots, leased.others_wait)
    }

    #[test]
    fn a_holder_yields_what_another_wants() {
        let mut state = SlotState::default();
        assert_eq!(ask(&mut state, 0, 1, 0, 50), (50, false));
        assert_eq!(ask(&mut state, 1, 2, 0, 10), (0, false));
        assert_eq!(ask(&mut state, 2, 1, 50, 60), (40, true));
        // Only once they have ended.
        assert_eq!(ask(&mut state, 2, 2, 0, 10), (0, true));
        assert_eq!(ask(&mut state, 3, 1, 43, 60), (40, true));
        assert_eq!(ask(&mut state, 3, 2, 0, 10), (7, true));
        assert_eq!(ask(&mut state, 4, 1, 40, 60), (40, true));
        assert_eq!(ask(&mut state, 4, 2, 7, 10), (10, true));
    }

    #[test]
    fn a_process_that_is_gone_loses_its_slots() {
        let mut state = SlotState::default();
        assert_eq!(ask(&mut state, 0, 1, 0, 50), (50, false));
        assert_eq!(ask(&mut state, 9, 2, 0, 50).0, 0);
        assert_eq!(ask(&mut state, 10, 2, 0, 50), (50, false));
        // It comes back, and holds them still: nothing more starts.
        assert_eq!(ask(&mut state, 11, 1, 50, 50).0, 0);
    }

    #[test]
    fn all_get_equal_shares() {
        let mut state = SlotState::default();
        let mut held = [0; 3];
        for at in 0..20 {
            for (process, held) in held.iter_mut().enumerate() {
                let slots = ask(&mut state, at, process as u64, *held, 100).0;
                *held = slots;
            }
            assert!(held.iter().sum::<u64>() <= 50, "{held:?}");
        }
        assert!(held.iter().all(|held| (16..=17).contains(held)), "{held:?}");
    }

    #[test]
    fn the_only_slot_goes_round() {
        let mut state = SlotState::default();
        let (mut holder, mut served) = (None, [0; 3]);
        for at in 0..90 {
            let process = at % 3;
            let held = u64::from(holder == Some(process));
            let lease = Lease {
                name: "".into(),
                process,
                limit: 1,
                // Its request ends.
                held: 0,
                wanted: 2,
                expires: Duration::from_secs(10),
                has_seen: false,
                grace: Duration::ZERO,
            };
            let slots = state.lease(&lease, at * SECOND).slots;
            if slots > held {
                served[usize::try_from(process).unwrap()] += 1;
            }
            holder = if slots > 0 {
                Some(process)
            } else {
                holder.filter(|&it| it != process)
            };
        }
        assert!(served.iter().all(|served| *served >= 7), "{served:?}");
    }

    #[test]
    fn nobody_gets_more_if_the_state_was_lost() {
        let mut state = SlotState::default();
        let seen = Lease {
            name: "".into(),
            process: 3,
            limit: 50,
            held: 0,
            wanted: 50,
            expires: Duration::from_secs(10),
            has_seen: true,
            grace: Duration::from_secs(1),
        };
        assert_eq!(state.lease(&seen, 0).slots, 0);
        state.lease(&Lease { wanted: 0, ..seen }, 0);
        assert_eq!(ask(&mut state, 0, 1, 30, 50).0, 30);
        assert_eq!(ask(&mut state, 0, 2, 20, 40).0, 20);
        assert_eq!(ask(&mut state, 2, 2, 20, 40).0, 20);
        assert_eq!(ask(&mut state, 2, 1, 10, 10).0, 10);
        assert_eq!(ask(&mut state, 3, 2, 20, 40).0, 40);
    }
}
