//! Attachments that are interrupted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "a gate has a thread for each connection"
)]

mod support;

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use support::{Cluster, Node, check, eventually, let_lead, run, set};

/// A way to a node's peer port on which nobody gets through but the first, who only asks who is there, until it
/// is opened.
struct Gate {
    port: u16,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn before(node: &Node) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new((Mutex::new(false), Condvar::new()));
        let (gate, peer) = (Arc::clone(&open), node.peer);
        thread::spawn(move || {
            for (place, from) in listener.incoming().enumerate() {
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    if place > 0 {
                        let closed = gate.0.lock().unwrap();
                        drop(gate.1.wait_while(closed, |open| !*open).unwrap());
                    }
                    pass(from?, TcpStream::connect((Ipv4Addr::LOCALHOST, peer))?)
                });
            }
        });
        Self { port, open }
    }

    fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

/// Hands on what either side says until both have ended.
fn pass(from: TcpStream, to: TcpStream) -> io::Result<()> {
    let (mut there, mut back) = (to.try_clone()?, from.try_clone()?);
    let answers = thread::spawn(move || {
        let copied = io::copy(&mut &to, &mut back);
        let _ = back.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut &from, &mut there)?;
    there.shutdown(Shutdown::Write)?;
    drop(answers.join());
    Ok(())
}

/// Lets somebody attach a node by way of `asked`, does `interrupt` as soon as it is a learner, and lets it catch up
/// then.
fn attach_meanwhile(cluster: &mut Cluster, asked: usize, interrupt: impl FnOnce(&mut Cluster)) {
    let to = cluster.nodes[asked].to();
    let joiner = cluster.add_joiner();
    let gate = Gate::before(&cluster.nodes[joiner]);
    let place = format!("4=127.0.0.1:{}", gate.port);
    let attach = thread::spawn(move || run(&["attach", "--to", &to, &place]));
    eventually("the node to be a learner", || {
        (cluster.nodes[asked].status("learners")? == "[4]").then_some(())
    });
    interrupt(cluster);
    gate.open();
    let ran = attach.join().unwrap();
    assert!(ran.success, "{}", ran.err);
    eventually("the node to vote", || {
        (cluster.nodes[asked].status("voters")? == "[1,2,3,4]").then_some(())
    });
    check(cluster, joiner, "before");
}

/// The new leader knew nothing of the order: the node stayed a learner, and whoever had ordered it was told that
/// the outcome is not known.
#[test]
fn an_attachment_whose_leader_leaves_goes_on_under_the_next() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let next = (leader + 1) % 3;
    attach_meanwhile(&mut cluster, leader, |cluster| {
        let_lead(cluster, leader, next)
    });
}

#[test]
fn an_attachment_whose_leader_dies_goes_on_under_the_next() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    attach_meanwhile(&mut cluster, (leader + 1) % 3, |cluster| {
        cluster.nodes[leader].kill();
        cluster.wait_for_leader();
    });
}
