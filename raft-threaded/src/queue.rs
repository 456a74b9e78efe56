//! Many commands under way, and one thread that waits for their replies.

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};
use raft_core::replica::StateMachine;

use crate::client::Client;
use crate::error::ClientError;
use crate::runtime::calls::Call;
use crate::runtime::waiter::{Completion, Replies};

/// Commands under way, told apart by tokens of the program's own: any number of them, one thread, and one wake
/// for all that were submitted since it waited last.
///
/// Made by [`Client::queue`].
///
/// ```
/// # use raft_core::replica::{Serde, StateMachine};
/// # use raft_threaded::{Client, ClientError};
/// # fn all<S>(client: &Client<S>) -> Result<(), ClientError>
/// # where
/// #     S: StateMachine<Command = Serde<u64>, Reply = u64>,
/// # {
/// let mut queue = client.queue();
/// for amount in 1..=10 {
///     queue.submit(amount, Serde(amount))?;
/// }
/// while let Some((amount, reply)) = queue.wait() {
///     println!("{amount}: {}", reply?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Queue<S: StateMachine> {
    client: Client<S>,
    replies: Arc<Replies<S::Reply>>,
    replied: Receiver<(u64, Result<S::Reply, ClientError>)>,
    under_way: usize,
    /// Something was submitted that nobody was told of.
    untold: bool,
}

impl<S: StateMachine> fmt::Debug for Queue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut queue = f.debug_struct("Queue");
        queue
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

impl<S: StateMachine> Queue<S> {
    pub(crate) fn new(client: Client<S>) -> Self {
        let (replies, replied) = unbounded();
        Self {
            client,
            replies: Arc::new(replies),
            replied,
            under_way: 0,
            untold: false,
        }
    }

    /// How many commands have no reply yet, or one that was not taken.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Queues a command; it leaves with the next [`Queue::wait`] or [`Queue::flush`], if not before.
    ///
    /// # Errors
    ///
    /// The command was not taken, and no reply will come: too many wait, or the server has stopped. Each taken
    /// one has a reply, which means the same as from [`Client::propose`].
    pub fn submit(&mut self, token: u64, command: S::Command) -> Result<(), ClientError> {
        let completion = Completion::queued(token, Arc::clone(&self.replies));
        self.client.put(Call::Submit(command, completion))?;
        self.under_way += 1;
        self.untold = true;
        Ok(())
    }

    /// Lets go what was submitted, without waiting.
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.untold) {
            self.client.ring();
        }
    }

    /// The next reply there is, in whatever order, with the token of its command; waits for one if there is none,
    /// and says `None` if nothing is under way.
    pub fn wait(&mut self) -> Option<(u64, Result<S::Reply, ClientError>)> {
        if self.under_way == 0 {
            return None;
        }
        let mut reply = self.replied.try_recv().ok();
        if reply.is_none() && core::mem::take(&mut self.untold) {
            self.client.drive();
        }
        // A server that stops answers all that is left, and this end of the channel is open as long as the other.
        reply = reply.or_else(|| self.replied.recv().ok());
        self.under_way -= 1;
        reply
    }
}

impl<S: StateMachine> Drop for Queue<S> {
    fn drop(&mut self) {
        self.flush();
    }
}
