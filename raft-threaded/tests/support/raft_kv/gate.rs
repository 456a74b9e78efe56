//! A way to a node's peer port on which something is held back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::{Node, eventually};

/// Length and checksum in front of the first words.
const HEADER_BYTES: usize = 8;
/// The first words of whoever only asks who is there; a peer goes on with who it is.
const QUESTION_BYTES: usize = 12;

/// What is held back until the gate is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Whatever peers say; whoever only asks who is there is answered.
    Peers,
    /// The answer to whoever asks who is there: it comes late, and is true of when the question was asked.
    Answers,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    answered: bool,
}

/// The gate, which is open for as long as nothing is at the other end of `port`.
#[derive(Debug)]
pub struct Gate {
    pub port: u16,
    state: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait(&self) {
        let closed = self.state();
        drop(self.opened.wait_while(closed, |state| !state.open).unwrap());
    }
}

impl Gate {
    pub fn before(node: &Node, held: Held) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Shared::default());
        let (shared, peer) = (Arc::clone(&state), node.peer);
        spawn(move || {
            for from in listener.incoming() {
                let shared = Arc::clone(&shared);
                spawn(move || let_through(from?, peer, held, &shared));
            }
            Ok(())
        });
        Self { port, state }
    }

    pub fn open(&self) {
        self.state.state().open = true;
        self.state.opened.notify_all();
    }

    /// Waits until the node has said who it is to somebody who asked, whether or not the answer got through.
    pub fn wait_until_answered(&self) {
        eventually("a question who is there", || {
            self.state.state().answered.then_some(())
        });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a gate has a thread for each connection"
)]
fn spawn(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        // Either side may end whenever it likes.
        let _ = work();
    })
}

fn let_through(mut from: TcpStream, peer: u16, held: Held, gate: &Shared) -> io::Result<()> {
    let first = first_frame(&mut from)?;
    let asks = first.len() == HEADER_BYTES + QUESTION_BYTES;
    if held == Held::Peers && !asks {
        gate.wait();
    }
    let mut to = TcpStream::connect((Ipv4Addr::LOCALHOST, peer))?;
    to.write_all(&first)?;
    if asks {
        let answer = first_frame(&mut to)?;
        gate.state().answered = true;
        if held == Held::Answers {
            gate.wait();
        }
        return from.write_all(&answer);
    }
    pass(from, to)
}

/// The first frame of a connection, with its header.
fn first_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame)?;
    let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
    frame.resize(HEADER_BYTES + length as usize, 0);
    from.read_exact(&mut frame[HEADER_BYTES..])?;
    Ok(frame)
}

/// Hands on what either side says until both have ended.
fn pass(from: TcpStream, to: TcpStream) -> io::Result<()> {
    let (mut there, mut back) = (to.try_clone()?, from.try_clone()?);
    let answers = spawn(move || {
        io::copy(&mut &to, &mut back)?;
        back.shutdown(Shutdown::Write)
    });
    io::copy(&mut &from, &mut there)?;
    there.shutdown(Shutdown::Write)?;
    drop(answers.join());
    Ok(())
}
