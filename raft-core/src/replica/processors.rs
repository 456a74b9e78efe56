//! A ready-made state machine of named handlers.
//!
//! Always holds: what is enqueued is known to the node that takes it, and what a handler says, error or
//! not, is the reply.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;

use super::command::{Command, CommandError, Serde, decode_command, decode_reply, encode_reply};
use super::{Applied, StateMachine};

/// A state, and what changes it and looks at it, by name.
///
/// This is how the processors of *consensual* look here. There, a node is made with
/// `processors={'deposit': deposit}`, and `enqueue('deposit', parameters)` appends to the log and answers
/// at once; here [`Processors::with`] names a handler, [`Processors::enqueue`] makes the command that
/// [`Replica::propose`](super::Replica::propose) replicates, and the answer is the handler's, when it is
/// committed.
///
/// Every node must have the same handlers under the same names: a new one is deployed everywhere before it
/// is used. Handlers must depend on nothing but the state and their parameters, see
/// [`StateMachine::apply`].
///
/// ```
/// use raft_core::replica::{Applied, Processors, StateMachine};
/// use raft_core::EntryId;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Default, Serialize, Deserialize)]
/// struct Account {
///     balance: u64,
/// }
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// enum Refused {
///     Overdrawn { balance: u64 },
/// }
///
/// let mut account = Processors::new(Account::default())
///     .with("deposit", |account: &mut Account, amount: u64| -> Result<u64, Refused> {
///         account.balance += amount;
///         Ok(account.balance)
///     })
///     .with("withdraw", |account: &mut Account, amount: u64| -> Result<u64, Refused> {
///         let balance = account.balance;
///         account.balance = balance.checked_sub(amount).ok_or(Refused::Overdrawn { balance })?;
///         Ok(account.balance)
///     })
///     .with_reader("balance", |account: &Account, (): ()| -> Result<u64, Refused> {
///         Ok(account.balance)
///     });
///
/// // `Replica::propose` replicates a command and comes back with the reply; here is no cluster.
/// let id = EntryId::ZERO;
/// let command = account.enqueue("deposit", &5_u64)?;
/// let reply = account.apply(Applied { id, command });
/// assert_eq!(reply.read::<u64, Refused>()?, Ok(5));
///
/// let command = account.enqueue("withdraw", &7_u64)?;
/// let reply = account.apply(Applied { id, command });
/// assert_eq!(reply.read::<u64, Refused>()?, Err(Refused::Overdrawn { balance: 5 }));
///
/// let unknown = account.enqueue("deposti", &5_u64).unwrap_err();
/// assert_eq!(unknown.to_string(), "unknown action \"deposti\", expected one of: deposit, withdraw");
///
/// let reply = account.query(&account.ask("balance", &())?);
/// assert_eq!(reply.read::<u64, Refused>()?, Ok(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Processors<State> {
    state: State,
    processors: BTreeMap<String, Handler<Handle<State>>>,
    readers: BTreeMap<String, Handler<Look<State>>>,
}

type Handle<State> = dyn Fn(&mut State, &[u8]) -> ProcessorReply + Send + Sync;
type Look<State> = dyn Fn(&State, &[u8]) -> ProcessorReply + Send + Sync;

/// Whether parameters decode.
type Accepts = fn(&[u8]) -> Result<(), CommandError>;

struct Handler<F: ?Sized> {
    accepts: Accepts,
    run: Box<F>,
}

/// A handler's name, and its parameters as bytes: what is written to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    action: String,
    parameters: Vec<u8>,
}

impl Call {
    /// Which handler is called.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }
}

impl Command for Call {
    fn encode(&self) -> Bytes {
        encode_reply(self)
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        codec::encode_value(self, out);
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        decode_command(bytes)
    }
}

/// Why something was not enqueued; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// No handler has this name.
    #[error("unknown action {action:?}, expected one of: {}", known.join(", "))]
    UnknownAction {
        /// The name.
        action: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The handler takes other parameters.
    #[error("action {action:?} takes other parameters: {error}")]
    Parameters {
        /// The handler's name.
        action: String,
        /// What is wrong with them.
        error: CommandError,
    },
}

/// What a handler answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorReply {
    /// The result's bytes.
    outcome: Result<Vec<u8>, Failure>,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The handler's own error, as bytes.
    Refused(Vec<u8>),
    /// This node has no handler of that name: not all nodes run the same program.
    UnknownAction(String),
    /// The handler on this node takes other parameters: not all nodes run the same program.
    Parameters(String),
}

/// A reply that is not what a handler answered, or not of the type it is read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The command was committed, and the replica that answered has no handler of that name.
    #[error("action {0:?} is committed, and unknown to the replica that answered")]
    UnknownAction(String),
    /// The command was committed, and the handler takes other parameters.
    #[error("a committed action was called with other parameters than it takes: {0}")]
    Parameters(String),
    /// The result is of another type.
    #[error("the result is of another type")]
    OtherType,
}

impl ProcessorReply {
    fn of<R: Serialize, E: Serialize>(result: &Result<R, E>) -> Self {
        let outcome = match result {
            Ok(result) => Ok(codec::value_bytes(result)),
            Err(error) => Err(Failure::Refused(codec::value_bytes(error))),
        };
        Self { outcome }
    }

    const fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
        }
    }

    /// The handler's result, or its own error.
    ///
    /// # Errors
    ///
    /// If no handler answered, or it answers with other types than these.
    pub fn read<R, E>(&self) -> Result<Result<R, E>, ReplyError>
    where
        R: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        match &self.outcome {
            Ok(bytes) => Ok(Ok(read(bytes)?)),
            Err(Failure::Refused(bytes)) => Ok(Err(read(bytes)?)),
            Err(Failure::UnknownAction(action)) => Err(ReplyError::UnknownAction(action.clone())),
            Err(Failure::Parameters(error)) => Err(ReplyError::Parameters(error.clone())),
        }
    }

    /// Why there is no result, if there is none.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().err()
    }
}

fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, ReplyError> {
    codec::decode_value(bytes).map_err(|_| ReplyError::OtherType)
}

impl<State> Processors<State> {
    /// A state that nothing changes yet.
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self {
            state,
            processors: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// Names a handler that changes the state.
    ///
    /// # Panics
    ///
    /// If another one has this name.
    #[must_use]
    pub fn with<P, R, E>(
        mut self,
        action: &str,
        handler: impl Fn(&mut State, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: Serialize + DeserializeOwned,
        R: Serialize,
        E: Serialize,
    {
        let handle = move |state: &mut State, bytes: &[u8]| match decode_command(bytes) {
            Ok(parameters) => ProcessorReply::of(&handler(state, parameters)),
            Err(CommandError(error)) => ProcessorReply::failed(Failure::Parameters(error)),
        };
        let processor = Handler::<Handle<State>> {
            accepts: |bytes| decode_command::<P>(bytes).map(|_| ()),
            run: Box::new(handle),
        };
        let before = self.processors.insert(action.to_string(), processor);
        assert!(before.is_none(), "there are two handlers for {action:?}");
        self
    }

    /// Names a handler that looks at the state: a linearizable read, off the log.
    ///
    /// # Panics
    ///
    /// If another one has this name.
    #[must_use]
    pub fn with_reader<P, R, E>(
        mut self,
        name: &str,
        reader: impl Fn(&State, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: Serialize + DeserializeOwned,
        R: Serialize,
        E: Serialize,
    {
        let look = move |state: &State, bytes: &[u8]| match decode_command(bytes) {
            Ok(parameters) => ProcessorReply::of(&reader(state, parameters)),
            Err(CommandError(error)) => ProcessorReply::failed(Failure::Parameters(error)),
        };
        let reader = Handler::<Look<State>> {
            accepts: |bytes| decode_command::<P>(bytes).map(|_| ()),
            run: Box::new(look),
        };
        let before = self.readers.insert(name.to_string(), reader);
        assert!(before.is_none(), "there are two readers for {name:?}");
        self
    }

    /// The state as it is now.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The command that calls a handler: for [`Replica::propose`](super::Replica::propose).
    ///
    /// # Errors
    ///
    /// If there is no such handler, or it takes other parameters, so that nothing of the kind is ever
    /// written to the log.
    pub fn enqueue<P: Serialize>(
        &self,
        action: &str,
        parameters: &P,
    ) -> Result<Call, EnqueueError> {
        call(action, parameters, &self.processors)
    }

    /// The query that calls a reader: for [`Replica::query`](super::Replica::query).
    ///
    /// # Errors
    ///
    /// If there is no such reader, or it takes other parameters.
    pub fn ask<P: Serialize>(&self, name: &str, parameters: &P) -> Result<Call, EnqueueError> {
        call(name, parameters, &self.readers)
    }
}

fn call<P: Serialize, F: ?Sized>(
    action: &str,
    parameters: &P,
    handlers: &BTreeMap<String, Handler<F>>,
) -> Result<Call, EnqueueError> {
    let handler = handlers.get(action);
    let action = action.to_string();
    let Some(handler) = handler else {
        let known = handlers.keys().cloned().collect();
        return Err(EnqueueError::UnknownAction { action, known });
    };
    let parameters = codec::value_bytes(parameters);
    match (handler.accepts)(&parameters) {
        Ok(()) => Ok(Call { action, parameters }),
        Err(error) => Err(EnqueueError::Parameters { action, error }),
    }
}

impl<State> StateMachine for Processors<State>
where
    State: Clone + Serialize + DeserializeOwned + Send + 'static,
{
    type Command = Call;
    type Query = Call;
    type Reply = ProcessorReply;

    fn apply(&mut self, entry: Applied<Call>) -> ProcessorReply {
        let Call { action, parameters } = entry.command;
        match self.processors.get(&action) {
            Some(processor) => (processor.run)(&mut self.state, &parameters),
            None => ProcessorReply::failed(Failure::UnknownAction(action)),
        }
    }

    fn query(&self, query: &Call) -> ProcessorReply {
        match self.readers.get(&query.action) {
            Some(reader) => (reader.run)(&self.state, &query.parameters),
            None => ProcessorReply::failed(Failure::UnknownAction(query.action.clone())),
        }
    }

    fn encode_reply(reply: &ProcessorReply) -> Option<Bytes> {
        Some(encode_reply(reply))
    }

    fn decode_reply(bytes: &Bytes) -> Option<ProcessorReply> {
        decode_reply(bytes)
    }

    type Image = Serde<State>;

    fn image(&self) -> Serde<State> {
        Serde(self.state.clone())
    }

    fn restore(&mut self, image: Serde<State>) {
        self.state = image.0;
    }
}

impl<State: fmt::Debug> fmt::Debug for Processors<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processors")
            .field("state", &self.state)
            .field("processors", &self.processors.keys())
            .field("readers", &self.readers.keys())
            .finish()
    }
}
