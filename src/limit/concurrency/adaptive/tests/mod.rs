//! The algorithms with arbitrary samples.

mod backend;
mod loads;

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Adaptive,
    control::Control,
    window::{Sample, SampleOutcome},
};

fn settings() -> impl Strategy<Value = Adaptive> {
    let kind = prop_oneof![
        Just(Adaptive::gradient()),
        any::<u64>().prop_map(|nanos| Adaptive::aimd(Duration::from_nanos(nanos))),
    ];
    let numbers = (
        any::<f64>(),
        any::<f64>(),
        any::<[usize; 3]>(),
        any::<bool>(),
    );
    (kind, numbers).prop_map(|(kind, (tolerance, backoff, sizes, is_small))| {
        let [min, max, initial] = sizes.map(|size| if is_small { size % 100 } else { size });
        kind.tolerance(tolerance)
            .backoff(backoff)
            .min(min)
            .max(max)
            .initial(initial)
    })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..1_000_000_000_u64]
}

fn sample() -> impl Strategy<Value = Sample> {
    let outcome = prop_oneof![
        Just(SampleOutcome::Answered),
        Just(SampleOutcome::Overloaded),
        Just(SampleOutcome::Dropped)
    ];
    let in_flight = prop_oneof![any::<usize>(), 0..100_usize];
    (time(), time(), time(), in_flight, outcome).prop_map(
        |(started, idle, now, in_flight, outcome)| Sample {
            started,
            idle,
            now,
            in_flight,
            outcome,
        },
    )
}

proptest! {
    /// Also if the clock goes back, and if no request can have been in flight.
    #[test]
    fn the_limit_is_a_number_within_its_bounds(
        settings in settings(),
        samples in proptest::collection::vec((sample(), 1..200_usize), 0..60),
    ) {
        let mut control = Control::new(&settings, 0);
        for (sample, times) in samples {
            for _ in 0..times {
                control.sample(&sample);
                let limit = control.limit();
                prop_assert!(limit >= 1 && limit >= settings.min && limit <= settings.max);
            }
        }
        control.force(usize::MAX, 0);
        prop_assert_eq!(control.limit(), settings.max);
        control.force(0, 0);
        prop_assert_eq!(control.limit(), settings.min);
    }

    #[test]
    fn responses_to_a_few_do_not_raise_the_limit(
        took in 1..1_000_000_000_u64,
        in_flight in 1..70_usize,
    ) {
        for settings in [Adaptive::gradient(), Adaptive::aimd(Duration::from_secs(1))] {
            let mut control = Control::new(&settings.initial(100), 0);
            for number in 0..500 {
                let started = number * took;
                let outcome = SampleOutcome::Answered;
                let now = started + took;
                control.sample(&Sample { started, idle: 0, now, in_flight, outcome });
            }
            prop_assert_eq!(control.limit(), 100);
        }
    }

    /// For example after the machine was suspended.
    #[test]
    fn one_very_slow_response_does_not_block_changes(
        hours in 1..10_000_u64,
        in_flight in 75..101_usize,
    ) {
        let mut control = Control::new(&Adaptive::gradient().initial(100), 0);
        let outcome = SampleOutcome::Answered;
        let mut now = hours * 3_600_000_000_000;
        for _ in 0..100 {
            control.sample(&Sample { started: 1, idle: 0, now, in_flight, outcome });
        }
        for _ in 0..10_000 {
            let started = now;
            now += 1_000_000;
            control.sample(&Sample { started, idle: 0, now, in_flight, outcome });
        }
        prop_assert!(control.limit() > 100);
    }

    /// All failures within a round trip are one step.
    #[test]
    fn failures_lower_the_limit_once_in_a_round_trip(failures in 26..2_000_u64) {
        let mut control = Control::new(&Adaptive::gradient().initial(100), 0);
        for number in 0..failures {
            let now = 20_000_000 + number;
            let outcome = SampleOutcome::Overloaded;
            let sample = Sample { started: 1, idle: 0, now, in_flight: 100, outcome };
            control.sample(&sample);
        }
        prop_assert_eq!(control.limit(), 90);
    }
}
