//! Runs from seeds: their courses, what they find in a user's state machine, what they cost in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use raft_core::Span;
use raft_core::replica::{Applied, Serde, StateMachine};
use raft_sim::{
    Draw, Happening, Invariant, Profile, RegisterWorkload, Request, Simulation, Verdict, Workload,
};

const SECOND: u64 = 1_000_000_000;

fn registers(profile: Profile) -> Simulation<RegisterWorkload> {
    Simulation::new(RegisterWorkload)
        .time(Span(10 * SECOND))
        .profile(profile)
}

/// P4: debug or release, here or elsewhere. A change of the simulator, or of the protocol, changes these;
/// then look whether it should have.
#[test]
fn a_seed_takes_the_same_course_everywhere() {
    let course = |profile, seed| registers(profile).run(seed).hash;
    assert_eq!(course(Profile::Tolerated, 3), course(Profile::Tolerated, 3));
    assert_ne!(course(Profile::Tolerated, 3), course(Profile::Tolerated, 4));
    let found = Profile::ALL.map(|profile| {
        let hashes = (0..4).map(|seed| course(profile, seed));
        let hash = hashes.fold(0_u64, |sum, hash| sum.rotate_left(1) ^ hash);
        format!("{profile} {hash:016x}")
    });
    assert_eq!(found, COURSES);
}

const COURSES: [&str; 5] = [
    "quiet 29d11538fb2f978b",
    "tolerated dc832c4491e066a6",
    "detected f0016022c41b78d5",
    "outside 839fba21b06ea612",
    "reference a9b885d1db7b4473",
];

#[test]
fn what_is_tolerated_breaks_no_rule_and_proves_something() {
    registers(Profile::Tolerated).check(0..60);
}

#[test]
fn what_is_detected_breaks_no_rule_and_stores_drop_out() {
    let simulation = registers(Profile::Detected);
    let mut quarantined = 0;
    for seed in 0..60 {
        let report = simulation.run(seed);
        report.assert_clean();
        quarantined += report.hits.get("quarantined").unwrap_or(&0);
    }
    assert!(quarantined > 0, "no store was ever damaged");
}

/// Nothing can be demanded of a cluster whose disks lie, but that it does not panic, and speaks up where it
/// can know.
#[test]
fn what_is_outside_does_not_panic_and_raises_alerts() {
    let simulation = registers(Profile::Outside);
    let (mut excused, mut alerted) = (0, 0);
    for seed in 0..60 {
        let report = simulation.run(seed);
        report.assert_clean();
        if report.excused.is_some() {
            excused += 1;
            alerted += u64::from(report.alerts > 0);
        }
    }
    assert!(excused > 0, "no disk ever lied");
    assert!(
        2 * alerted > excused,
        "{alerted} of {excused} runs raised an alert"
    );
}

#[test]
fn a_run_in_which_nothing_is_committed_says_that_it_proves_nothing() {
    let report = registers(Profile::Outside).time(Span(1)).run(0);
    assert_eq!(report.committed, 0, "{report}");
    assert_eq!(report.verdict, Verdict::Hollow);
}

/// Adds, and once in a while something that the log does not say.
struct Forgetful(u64);

static LIVES: AtomicU64 = AtomicU64::new(0);

impl StateMachine for Forgetful {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
        self.0 += entry.command.0;
        self.0
    }

    fn query(&self, (): &()) -> u64 {
        self.0
    }

    type Image = Serde<u64>;

    fn image(&self) -> Serde<u64> {
        Serde(self.0)
    }

    fn restore(&mut self, image: Serde<u64>) {
        self.0 = image.0;
    }
}

struct Adding;

impl Workload for Adding {
    type Machine = Forgetful;

    /// Every life begins with another number: as if it came from a clock, or from a hash map.
    fn machine(&self) -> Forgetful {
        Forgetful(LIVES.fetch_add(1, Ordering::Relaxed) % 3)
    }

    fn request(&self, draw: &mut Draw) -> Request<Serde<u64>, ()> {
        Request::Command(Serde(draw.below(100)))
    }
}

#[test]
fn a_state_machine_that_is_not_deterministic_is_caught_with_the_first_diverging_index() {
    let simulation = Simulation::new(Adding).nodes(3).profile(Profile::Quiet);
    let report = simulation.run(1);
    let violation = report.violation.unwrap();
    assert_eq!(violation.invariant, Invariant::I19);
    assert!(
        violation
            .text
            .starts_with("the state machines diverge at entry 2:"),
        "{violation}"
    );
}

/// A model that knows better: the machine loses every tenth addition.
struct Lossy(u64, u64);

impl StateMachine for Lossy {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
        self.1 += 1;
        if !self.1.is_multiple_of(10) {
            self.0 += entry.command.0;
        }
        self.0
    }

    fn query(&self, (): &()) -> u64 {
        self.0
    }

    type Image = Serde<(u64, u64)>;

    fn image(&self) -> Serde<(u64, u64)> {
        Serde((self.0, self.1))
    }

    fn restore(&mut self, image: Serde<(u64, u64)>) {
        (self.0, self.1) = image.0;
    }
}

struct AgainstAModel;

impl Workload for AgainstAModel {
    type Machine = Lossy;

    fn machine(&self) -> Lossy {
        Lossy(0, 0)
    }

    fn model(&self) -> Box<dyn StateMachine<Command = Serde<u64>, Query = (), Reply = u64>> {
        Box::new(Forgetful(0))
    }

    fn request(&self, _: &mut Draw) -> Request<Serde<u64>, ()> {
        Request::Command(Serde(1))
    }
}

#[test]
fn a_machine_that_differs_from_its_model_is_caught_where_it_does() {
    let report = Simulation::new(AgainstAModel)
        .profile(Profile::Quiet)
        .run(2);
    let violation = report.violation.unwrap();
    assert!(violation.text.contains("entry 11:"), "{violation}");
}

/// Panics at its fifth command.
struct Panicking(u64);

impl StateMachine for Panicking {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _: Applied<Serde<u64>>) {
        self.0 += 1;
        assert!(self.0 < 5, "five is too much");
    }

    fn query(&self, (): &()) {}

    type Image = Serde<u64>;

    fn image(&self) -> Serde<u64> {
        Serde(self.0)
    }

    fn restore(&mut self, image: Serde<u64>) {
        self.0 = image.0;
    }
}

struct FiveTimes;

impl Workload for FiveTimes {
    type Machine = Panicking;

    fn machine(&self) -> Panicking {
        Panicking(0)
    }

    fn request(&self, _: &mut Draw) -> Request<Serde<u64>, ()> {
        Request::Command(Serde(1))
    }

    fn check(&self, machine: &Panicking) -> Result<(), String> {
        if machine.0 == 4 {
            Err("four is enough".to_string())
        } else {
            Ok(())
        }
    }
}

#[test]
fn rules_and_panics_of_a_users_machine_are_findings() {
    let report = Simulation::new(FiveTimes)
        .nodes(1)
        .profile(Profile::Quiet)
        .run(0);
    let violation = report.violation.unwrap();
    assert_eq!(violation.invariant, Invariant::Own);
    assert_eq!(violation.text, "four is enough");
}

/// What the judge remembers is bounded by what nodes can still reach, not by the length of a run.
#[test]
fn a_run_of_twice_the_length_takes_no_more_memory_for_the_judge() {
    let remembered = |minutes: u64| {
        let simulation = Simulation::new(RegisterWorkload)
            .profile(Profile::Reference)
            .time(Span(minutes * 60 * SECOND));
        simulation.run(5).remembered
    };
    let (short, long) = (remembered(10), remembered(20));
    assert!(
        long < short + short / 5,
        "{short} facts after 10 minutes, {long} after 20"
    );
}

#[test]
fn a_trace_tells_who_led_and_what_was_asked() {
    let (report, trace) = registers(Profile::Tolerated).trace(7);
    assert_eq!(
        report.hash,
        registers(Profile::Tolerated).run(7).hash,
        "looking changes nothing"
    );
    let kinds = [
        "role", "log", "commit", "durable", "message", "ask", "answer", "up",
    ];
    for kind in kinds {
        assert!(
            trace.events.iter().any(|event| event.what.kind() == kind),
            "{kind}"
        );
    }
    assert!(trace.events.is_sorted_by_key(|event| event.at));
    let led = trace.events.iter().filter(
        |event| matches!(&event.what, Happening::Role { role, .. } if role.as_str() == "leader"),
    );
    assert_eq!(led.count() as u64, report.elections);
}
