//! What clients want of a cluster.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use raft_core::replica::StateMachine;

use crate::machine::Machine;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<C, Q> {
    /// Something that changes the state, through the log.
    Command(C),
    /// A linearizable look at it.
    Query(Q),
}

impl<C, Q> Request<C, Q> {
    /// What changes the state, if that is what is asked for.
    pub(crate) fn command(self) -> Option<C> {
        match self {
            Self::Command(command) => Some(command),
            Self::Query(_) => None,
        }
    }
}

/// Chance, from a seed.
#[derive(Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// What the numbers say determines every draw.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&stream.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).unwrap_or(0)]
    }
}

/// A state machine, what clients do with it, and what must hold of it.
///
/// The machine is what the nodes run; the model is what it is compared with, and is the same machine
/// unless there is a better one. A state machine that is its own model is still shown to be deterministic,
/// and its clients to be served linearizably.
pub trait Workload {
    /// What is replicated.
    type Machine: Machine + 'static;

    /// The machine as every node's life begins with it.
    fn machine(&self) -> Self::Machine;

    /// What the machine's answers are compared with; the machine itself unless said otherwise.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would hide that it is any machine"
    )]
    fn model(
        &self,
    ) -> Box<
        dyn StateMachine<
                Command = <Self::Machine as StateMachine>::Command,
                Query = <Self::Machine as StateMachine>::Query,
                Reply = <Self::Machine as StateMachine>::Reply,
            >,
    > {
        Box::new(self.machine())
    }

    /// What a client asks for next.
    fn request(
        &self,
        draw: &mut Draw,
    ) -> Request<<Self::Machine as StateMachine>::Command, <Self::Machine as StateMachine>::Query>;

    /// A rule of the machine's own, looked at whenever it has executed something.
    ///
    /// # Errors
    ///
    /// What is wrong, in a sentence.
    fn check(&self, machine: &Self::Machine) -> Result<(), String> {
        let _ = machine;
        Ok(())
    }
}
