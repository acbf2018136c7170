//! The algorithms against simulated backends.

use std::time::Duration;

use super::super::{
    Adaptive,
    control::Control,
    window::{Sample, SampleOutcome},
};
use super::backend::{Backend, Phase, Refuses, Run};

fn follows(settings: &Adaptive, phases: &[Phase]) {
    let mut backend = Backend::new(settings, 0);
    for phase in phases {
        let Run {
            answered, limit, ..
        } = backend.run(*phase);
        let ratio = limit / phase.workers as f64;
        println!(
            "{answered:.3} of what {} could do, limit {limit:.1}",
            phase.workers
        );
        assert!(
            answered > 0.75,
            "{answered} of what {} could do",
            phase.workers
        );
        assert!(
            (0.75..1.25).contains(&ratio),
            "{limit} for {}",
            phase.workers
        );
    }
}

#[test]
fn gradient_with_varying_latency() {
    let phase = |workers, to_first_byte| Phase {
        lasts: to_first_byte * 1_000.0,
        workers,
        to_first_byte,
        rest: 0.0,
        refuses: Refuses::NOTHING,
        load: 3.0,
    };
    let phases = [
        phase(10, 0.01),
        phase(40, 0.01),
        phase(200, 0.01),
        phase(30, 0.05),
    ];
    follows(&Adaptive::gradient(), &phases);
}

#[test]
fn gradient_with_long_streams() {
    let phase = |workers| Phase {
        lasts: 3_000.0,
        workers,
        to_first_byte: 0.5,
        rest: 9.5,
        refuses: Refuses::NOTHING,
        load: 3.0,
    };
    follows(&Adaptive::gradient(), &[phase(20), phase(60), phase(20)]);
}

const FAST: Phase = Phase {
    lasts: 40.0,
    workers: 50,
    to_first_byte: 0.1,
    rest: 0.0,
    refuses: Refuses::NOTHING,
    load: 3.0,
};

fn both() -> [Adaptive; 2] {
    [
        Adaptive::gradient(),
        Adaptive::aimd(Duration::from_millis(150)),
    ]
}

/// Returns the mean results of the phases over several runs.
fn on_average(settings: &Adaptive, phases: &[Phase]) -> Vec<Run> {
    let seeds = 0..4;
    let runs: Vec<Vec<Run>> = seeds
        .map(|seed| {
            let mut backend = Backend::new(settings, seed);
            phases.iter().map(|phase| backend.run(*phase)).collect()
        })
        .collect();
    let mean = |phase: usize, of: fn(&Run) -> f64| {
        runs.iter().map(|run| of(&run[phase])).sum::<f64>() / runs.len() as f64
    };
    (0..phases.len())
        .map(|phase| Run {
            answered: mean(phase, |run| run.answered),
            limit: mean(phase, |run| run.limit),
            refused: mean(phase, |run| run.refused),
        })
        .inspect(|run| println!("{run:.2?}"))
        .collect()
}

const fn refusing(refuses: Refuses) -> Phase {
    Phase { refuses, ..FAST }
}

#[test]
fn a_few_rejections_do_not_lower_the_limit() {
    for settings in both() {
        for part in [0.003, 0.01, 0.02, 0.05, 0.1] {
            println!("{part}");
            let broken = refusing(Refuses::part(part));
            let runs = on_average(&settings, &[FAST, broken, broken]);
            assert!(runs[1].answered > 0.8, "{part}: {runs:?}");
            assert!(runs[2].answered > 0.85, "{part}: {runs:?}");
        }
    }
}

#[test]
fn nor_do_rejections_of_light_load() {
    let calm = Phase { load: 0.5, ..FAST };
    for settings in both() {
        for part in [0.02, 0.05, 0.1] {
            println!("{part}");
            let refuses = Refuses::part(part);
            let broken = Phase { refuses, ..calm };
            let runs = on_average(&settings, &[calm, broken, broken]);
            assert!(runs[2].answered > 0.9 * (1.0 - part), "{part}: {runs:?}");
        }
    }
}

/// The documented rule: more than a fifth of rejections counts as overload.
#[test]
fn many_rejections_keep_the_limit_low() {
    for settings in both() {
        let broken = refusing(Refuses::part(0.4));
        let runs = on_average(&settings, &[FAST, broken, FAST, FAST]);
        assert!(runs[1].limit < 3.0, "{runs:?}");
        assert!(runs[3].answered > 0.85, "{runs:?}");
    }
}

#[test]
fn limit_falls_if_most_requests_are_rejected() {
    for settings in both() {
        for before in [0.0, 0.1, 0.2] {
            println!("{before}");
            let outage = refusing(Refuses::part(0.9));
            let broken = refusing(Refuses::part(before));
            let runs = on_average(&settings, &[broken, broken, outage, FAST, FAST]);
            assert!(runs[2].limit < 2.0, "{before}: {runs:?}");
            assert!(runs[4].answered > 0.85, "{before}: {runs:?}");
        }
    }
}

#[test]
fn manually_lowered_limit_does_not_return() {
    for settings in both() {
        let mut control = Control::new(&settings.initial(100), 0);
        let round_trip = |control: &mut Control, trip: u64| {
            let in_flight = control.limit();
            let started = trip * 200_000_000;
            let now = started + 100_000_000;
            for number in 0..in_flight.max(40) {
                let is_refused = number % 2 == 0;
                let outcome =
                    [SampleOutcome::Answered, SampleOutcome::Overloaded][usize::from(is_refused)];
                let idle = 0;
                let sample = Sample {
                    started,
                    idle,
                    now,
                    in_flight,
                    outcome,
                };
                control.sample(&sample);
            }
        };
        round_trip(&mut control, 1);
        assert!(control.limit() < 100);
        control.force(5, 350_000_000);
        for trip in 2..7 {
            round_trip(&mut control, trip);
            assert!(control.limit() <= 5, "{}", control.limit());
        }
    }
}

#[test]
fn limit_stays_below_the_server_limit() {
    let broken = refusing(Refuses::part(0.1));
    for settings in both() {
        for caps in [[20, 35, 10], [45, 30, 20], [35, 20, 7]] {
            println!("{caps:?}");
            let [first, second, third] = caps.map(|cap| refusing(Refuses::over(cap)));
            let runs = on_average(&settings, &[first, broken, FAST, second, third]);
            for (run, cap) in [(0, caps[0]), (3, caps[1]), (4, caps[2])] {
                let (limit, cap) = (runs[run].limit, cap as f64);
                assert!(limit < cap * 1.15, "{limit} where {cap} are refused");
                assert!(runs[run].answered > 0.75, "{cap}: {runs:?}");
            }
        }
    }
}

/// Fewer requests in flight can't show the cause of the rejections if the limit rejects none.
#[test]
fn server_limit_with_little_excess_load() {
    for settings in both() {
        for cap in [45, 30] {
            println!("{cap}");
            let calm = Phase { load: 1.2, ..FAST };
            let refuses = Refuses::over(cap);
            let capped = Phase { refuses, ..calm };
            let runs = on_average(&settings, &[calm, capped]);
            assert!(runs[1].limit < cap as f64 * 1.25, "{cap}: {runs:?}");
        }
    }
}

#[test]
fn server_limit_with_other_rejections() {
    for settings in both() {
        let part = 0.1;
        let broken = refusing(Refuses::part(part));
        let capped = Refuses {
            part,
            ..Refuses::over(20)
        };
        let runs = on_average(&settings, &[broken, broken, refusing(capped)]);
        assert!(runs[2].limit < 22.0, "{runs:?}");
        assert!(runs[2].answered > 0.2, "{runs:?}");
    }
}

#[test]
fn of_many_at_once_it_is_no_other() {
    for settings in both() {
        for part in [0.02, 0.05, 0.1] {
            println!("{part}");
            let workers = 500;
            let lasts = 20.0;
            let refuses = Refuses::part(part);
            let broken = Phase {
                workers,
                lasts,
                refuses,
                ..FAST
            };
            let mut backend = Backend::new(&settings, 0);
            backend.run(broken);
            let run = backend.run(broken);
            assert!(run.answered > 0.8, "{part}: {run:?}");
        }
    }
}

/// Each client makes little difference, so that none can tell an overloaded server from a broken
/// one.
#[test]
fn several_clients_do_not_ask_a_server_to_death() {
    for settings in both() {
        for clients in [10, 40] {
            for (takes, least) in [(0.1, 0.85), (1.0, 0.45)] {
                let mut backend = Backend::shared(&settings, 0, clients);
                let capped = refusing(Refuses {
                    takes,
                    ..Refuses::over(45)
                });
                backend.run(capped);
                let run = backend.run(capped);
                println!("{clients}, {takes}: {run:.2?}");
                assert!(run.answered > least, "{clients}, {takes}: {run:?}");
                assert!(run.refused < 0.55, "{clients}, {takes}: {run:?}");
            }
        }
    }
}
