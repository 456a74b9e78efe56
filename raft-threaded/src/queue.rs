//! Many commands under way, and one thread that waits for their replies.

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};
use raft_core::replica::StateMachine;

use crate::client::Client;
use crate::error::ClientError;
use crate::runtime::calls::Call;
use crate::runtime::waiter::{Completion, Replies};

/// After how many commands the server is told of them though nobody waits: less than may wait for it, so that one
/// with nothing else to do refuses none.
const UNTOLD_MAX: usize = 1_024;

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
    /// How many were submitted that nobody was told of.
    untold: usize,
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
            untold: 0,
        }
    }

    /// How many commands have no reply yet, or one that was not taken.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Queues a command; it leaves as soon as a [`Queue::wait`] finds no reply there, or with [`Queue::flush`], if
    /// not before: a program that does something else first flushes.
    ///
    /// # Errors
    ///
    /// The command was not taken, and no reply will come: too many wait, or the server has stopped. Each taken
    /// one has a reply, which means the same as from [`Client::propose`].
    pub fn submit(&mut self, token: u64, command: S::Command) -> Result<(), ClientError> {
        let completion = Completion::queued(token, Arc::clone(&self.replies));
        self.client.put(Call::Submit(command, completion))?;
        self.under_way += 1;
        self.untold += 1;
        if self.untold >= UNTOLD_MAX {
            self.flush();
        }
        Ok(())
    }

    /// Lets go what was submitted, without waiting.
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.untold) > 0 {
            self.client.ring();
        }
    }

    /// The next reply there is, in whatever order, with the token of its command; lets go what was submitted and
    /// waits if there is none, and says `None` if nothing is under way.
    ///
    /// Never called by a callback of [`Client::submit`] or by a state machine: what it waits for would wait for it.
    pub fn wait(&mut self) -> Option<(u64, Result<S::Reply, ClientError>)> {
        if self.under_way == 0 {
            return None;
        }
        let mut reply = self.replied.try_recv().ok();
        if reply.is_none() && core::mem::take(&mut self.untold) > 0 {
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

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};
    use raft_core::replica::{Applied, Serde};

    use super::*;
    use crate::runtime::around::Doors;
    use crate::runtime::inbox::{self, Bell, Inbox};

    struct Nothing;

    impl StateMachine for Nothing {
        type Command = Serde<u64>;
        type Query = ();
        type Reply = ();

        fn apply(&mut self, _entry: Applied<Serde<u64>>) {}

        fn query(&self, (): &()) {}

        type Image = Serde<()>;

        fn image(&self) -> Serde<()> {
            Serde(())
        }

        fn restore(&mut self, _image: Serde<()>) {}
    }

    /// A server that has room for so many calls and looks for them only when it is told.
    struct Told {
        queue: Queue<Nothing>,
        bell: Arc<Bell>,
        calls: Inbox<Call<Nothing>>,
        _poll: Poll,
    }

    fn told(room: usize) -> Told {
        let poll = Poll::new().unwrap();
        let bell = Bell::new(poll.registry(), Token(0)).unwrap();
        let (outlet, calls) = inbox::inbox(room, &bell);
        let (_, stopped) = crossbeam_channel::bounded(0);
        let doors = Doors {
            calls: outlet,
            stopped,
            host: None,
        };
        Told {
            queue: Client::new(doors).queue(),
            bell,
            calls,
            _poll: poll,
        }
    }

    /// Found by review: a queue that nobody waited for filled the inbox of a server that could have emptied it.
    #[test]
    fn a_server_is_told_of_many_commands_though_nobody_waits() {
        let mut told = told(2 * UNTOLD_MAX);
        for _ in 0..2 {
            told.bell.answer();
            for token in 1..UNTOLD_MAX {
                told.queue.submit(token as u64, Serde(1)).unwrap();
            }
            assert!(!told.bell.is_rung(), "more may come");
            told.queue.submit(0, Serde(1)).unwrap();
            assert!(told.bell.is_rung());
        }
    }

    #[test]
    fn whoever_finds_no_room_tells_the_server_to_make_some() {
        let Told {
            mut queue,
            bell,
            calls,
            ..
        } = told(1);
        queue.submit(1, Serde(1)).unwrap();
        assert!(!bell.is_rung());
        assert_eq!(queue.submit(2, Serde(1)), Err(ClientError::Overloaded));
        assert!(bell.is_rung());
        drop(calls.take());
        queue.submit(2, Serde(1)).unwrap();
        assert_eq!(queue.wait(), Some((1, Err(ClientError::Stopped))));
        assert_eq!(queue.under_way(), 1, "what was refused is not under way");
    }
}
