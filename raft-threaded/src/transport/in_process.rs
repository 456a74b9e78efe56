//! Peers in the same process: messages are handed over as they are.
//!
//! Always holds: whoever has a desk is who its node says it is, so nobody introduces himself; and what does not
//! find its desk, or finds it full, is lost, as on any other transport.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::event::Event;
use mio::{Registry, Token};
use raft_core::{Configuration, Envelope, Identity, Member, NodeId, Time};

use super::ask::AskError;
use super::hello::Introduction;
use super::{Inquiry, Transport, TransportEvent};
use crate::runtime::inbox::Bell;

/// Messages that may wait for one node. Most share the entries of their sender's log, so it is their number that
/// takes memory; commands that are handed to the leader and parts of snapshots have bytes of their own, of which
/// there are only as many under way as the node's options allow.
const WAITING_MAX: usize = 4_096;

/// Where the nodes of a process leave messages for each other.
#[derive(Clone, Default)]
pub(crate) struct Exchange {
    desks: Arc<Mutex<Desks>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Desks {
    desks: BTreeMap<Member, Desk>,
    /// Those who neither hear anybody nor are heard.
    cut_off: BTreeSet<NodeId>,
}

/// Where one node's messages wait for it.
struct Desk {
    owner: Introduction,
    waiting: VecDeque<Box<Envelope>>,
    bell: Arc<Bell>,
}

impl Desks {
    /// The desk of somebody who is reached from there.
    fn reached(&mut self, from: NodeId, to: Member) -> Option<&mut Desk> {
        let cut_off = self.cut_off.contains(&from) || self.cut_off.contains(&to.node);
        self.desks.get_mut(&to).filter(|_| !cut_off)
    }

    /// The node that an address of [`address_of`] names.
    fn at(&self, address: &str) -> Option<&Desk> {
        let mut desks = self.desks.values();
        desks.find(|desk| address_of(desk.owner.identity.member.node) == address)
    }
}

/// Where a node is looked for.
pub(crate) fn address_of(node: NodeId) -> String {
    format!("in-process:{node}")
}

impl Exchange {
    fn desks(&self) -> MutexGuard<'_, Desks> {
        // Nothing that is done under the lock leaves it half done.
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a desk, unless a node of that id has one.
    pub(crate) fn join(&self, owner: Introduction, bell: Arc<Bell>) -> Option<Port> {
        let mut desks = self.desks();
        if desks.at(&address_of(owner.identity.member.node)).is_some() {
            return None;
        }
        let desk = Desk {
            owner,
            waiting: VecDeque::new(),
            bell,
        };
        desks.desks.insert(owner.identity.member, desk);
        Some(Port {
            exchange: self.clone(),
            own: owner,
            outgoing: Vec::new(),
            taken: VecDeque::new(),
        })
    }

    /// From now on a node neither hears anybody nor is heard: what is on its way is lost, too.
    pub(crate) fn cut_off(&self, node: NodeId) {
        let mut desks = self.desks();
        desks.cut_off.insert(node);
        for desk in desks.desks.values_mut() {
            if desk.owner.identity.member.node == node {
                desk.waiting.clear();
            } else {
                desk.waiting
                    .retain(|envelope| envelope.from.member.node != node);
            }
        }
    }

    /// It does again.
    pub(crate) fn reconnect(&self, node: NodeId) {
        self.desks().cut_off.remove(&node);
    }
}

impl Inquiry for Exchange {
    fn who_is(&self, address: &str, _patience: Duration) -> Result<Introduction, AskError> {
        let desks = self.desks();
        let desk = desks.at(address);
        let desk = desk.filter(|d| !desks.cut_off.contains(&d.owner.identity.member.node));
        desk.map(|desk| desk.owner).ok_or_else(|| {
            let nobody = io::Error::new(ErrorKind::NotFound, "no such server runs in the network");
            AskError::Io(nobody)
        })
    }
}

/// A node's end of the exchange; its desk is gone with it.
#[derive(Debug)]
pub(crate) struct Port {
    exchange: Exchange,
    own: Introduction,
    /// What leaves with the next flush.
    #[expect(clippy::vec_box, reason = "they come in boxes, and leave in them")]
    outgoing: Vec<Box<Envelope>>,
    /// Empty, in memory that is used again.
    taken: VecDeque<Box<Envelope>>,
}

impl Port {
    /// The node is in another life now: it has read its log.
    pub(crate) fn introduce(&mut self, own: Introduction) {
        if let Some(desk) = self.exchange.desks().desks.get_mut(&own.identity.member) {
            desk.owner = own;
        }
        self.own = own;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.exchange
            .desks()
            .desks
            .remove(&self.own.identity.member);
    }
}

impl Transport for Port {
    /// Everybody in the process is found by who he is.
    fn set_members(&mut self, _configuration: &Configuration, _now: Time) {}

    fn set_identity(&mut self, identity: Identity, _now: Time, _registry: &Registry) {
        let before = self.own.identity.member;
        self.own.identity = identity;
        let mut desks = self.exchange.desks();
        if let Some(mut desk) = desks.desks.remove(&before) {
            if before != identity.member {
                // What waits there was meant for the member that this node no longer is.
                desk.waiting.clear();
            }
            desk.owner = self.own;
            desks.desks.insert(identity.member, desk);
        }
    }

    fn identity(&self) -> Identity {
        self.own.identity
    }

    fn reaches(&self, member: Member) -> bool {
        let from = self.own.identity.member.node;
        self.exchange.desks().reached(from, member).is_some()
    }

    fn send(&mut self, envelope: Box<Envelope>, _events: &mut Vec<TransportEvent>) {
        self.outgoing.push(envelope);
    }

    fn flush(&mut self, _now: Time, _registry: &Registry, events: &mut Vec<TransportEvent>) {
        if self.outgoing.is_empty() {
            return;
        }
        let from = self.own.identity.member.node;
        let mut desks = self.exchange.desks();
        for envelope in self.outgoing.drain(..) {
            let to = envelope.to;
            match desks.reached(from, to) {
                Some(desk) if desk.waiting.len() < WAITING_MAX => {
                    desk.waiting.push_back(envelope);
                    desk.bell.ring();
                }
                Some(_) | None => events.push(TransportEvent::Unreachable(to)),
            }
        }
    }

    fn receive(&mut self, _now: Time, _registry: &Registry, events: &mut Vec<TransportEvent>) {
        let own = self.own.identity.member;
        if let Some(desk) = self.exchange.desks().desks.get_mut(&own) {
            core::mem::swap(&mut desk.waiting, &mut self.taken);
        }
        events.extend(self.taken.drain(..).map(TransportEvent::Received));
    }

    fn owns(&self, _token: Token) -> bool {
        false
    }

    fn on_ready(
        &mut self,
        _event: &Event,
        _now: Time,
        _registry: &Registry,
        _events: &mut Vec<TransportEvent>,
    ) {
        unreachable!("there are no sockets")
    }

    fn resolved(
        &mut self,
        _whom: (Member, &str),
        _addresses: &Result<Vec<SocketAddr>, String>,
        _now: Time,
        _registry: &Registry,
    ) {
        unreachable!("no names are looked up")
    }

    fn tick(&mut self, _now: Time, _registry: &Registry, _events: &mut Vec<TransportEvent>) {}

    fn next_deadline(&self) -> Option<Time> {
        None
    }

    fn inquiry(&self) -> Box<dyn Inquiry> {
        Box::new(self.exchange.clone())
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;
    use raft_core::{Body, Boot, ClusterId, GroupId, Session, StorageId, Term};

    use super::*;

    fn identity(node: u64, store: u128) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(7),
            member: Member {
                node: NodeId(node),
                store: StorageId(store),
            },
        }
    }

    /// An exchange with one node of each of these ids, whose store ids are the same.
    fn exchange<const N: usize>(nodes: [u64; N]) -> (Exchange, Poll, [Port; N]) {
        let poll = Poll::new().unwrap();
        let bell = Bell::new(poll.registry(), Token(0)).unwrap();
        let exchange = Exchange::default();
        let ports = nodes.map(|node| {
            let owner = Introduction {
                identity: identity(node, node.into()),
                boot: Boot(1),
            };
            exchange.join(owner, Arc::clone(&bell)).unwrap()
        });
        (exchange, poll, ports)
    }

    fn send(port: &mut Port, poll: &Poll, to: Member, count: usize) -> Vec<TransportEvent> {
        let mut events = Vec::new();
        for counter in 0..count {
            let envelope = Box::new(Envelope {
                from: port.identity(),
                boot: Boot(1),
                to,
                term: Term(1),
                session: Session {
                    counter: counter as u64,
                    ..Session::default()
                },
                body: Body::StaleTerm,
            });
            port.send(envelope, &mut events);
        }
        port.flush(Time(0), poll.registry(), &mut events);
        events
    }

    fn received(port: &mut Port, poll: &Poll) -> Vec<u64> {
        let mut events = Vec::new();
        port.receive(Time(0), poll.registry(), &mut events);
        let messages = events.into_iter().map(|event| match event {
            TransportEvent::Received(envelope) => envelope.session.counter,
            TransportEvent::Unreachable(_) | TransportEvent::Resolve(..) => panic!("{event:?}"),
        });
        messages.collect()
    }

    fn lost(events: &[TransportEvent]) -> usize {
        let lost = events.iter();
        lost.filter(|event| matches!(event, TransportEvent::Unreachable(_)))
            .count()
    }

    #[test]
    fn messages_arrive_in_order_and_what_is_too_much_is_lost() {
        let (_, poll, [mut one, mut two]) = exchange([1, 2]);
        let to = two.identity().member;
        assert!(send(&mut one, &poll, to, 3).is_empty());
        assert_eq!(received(&mut two, &poll), [0, 1, 2]);
        assert_eq!(lost(&send(&mut one, &poll, to, WAITING_MAX + 2)), 2);
        assert_eq!(received(&mut two, &poll).len(), WAITING_MAX);
        assert!(
            send(&mut one, &poll, to, 1).is_empty(),
            "there is room again"
        );
    }

    #[test]
    fn nobody_is_reached_who_is_cut_off_or_gone_or_another_member() {
        let (exchange, poll, [mut one, mut two]) = exchange([1, 2]);
        let to = two.identity().member;
        exchange.cut_off(NodeId(1));
        assert!(!one.reaches(to) && !two.reaches(one.identity().member));
        assert_eq!(lost(&send(&mut one, &poll, to, 1)), 1);
        exchange.reconnect(NodeId(1));
        assert!(send(&mut one, &poll, to, 1).is_empty());
        two.set_identity(identity(2, 99), Time(0), poll.registry());
        assert_eq!(
            received(&mut two, &poll),
            [0; 0],
            "it was for the former one"
        );
        assert_eq!(lost(&send(&mut one, &poll, to, 1)), 1);
        let found = exchange.who_is(&address_of(NodeId(2)), Duration::ZERO);
        assert_eq!(found.unwrap().identity, identity(2, 99));
        drop(two);
        assert!(
            exchange
                .who_is(&address_of(NodeId(2)), Duration::ZERO)
                .is_err()
        );
    }

    /// Found by review: what lay there already was still heard.
    #[test]
    fn what_was_on_its_way_from_or_to_a_node_that_is_cut_off_is_lost() {
        let (exchange, poll, [mut one, mut two, mut three]) = exchange([1, 2, 3]);
        let members = [&one, &two].map(|port| port.identity().member);
        assert!(send(&mut one, &poll, members[1], 1).is_empty());
        assert!(send(&mut two, &poll, members[0], 2).is_empty());
        assert!(send(&mut three, &poll, members[1], 3).is_empty());
        exchange.cut_off(NodeId(1));
        exchange.reconnect(NodeId(1));
        assert_eq!(received(&mut one, &poll), [0; 0]);
        assert_eq!(received(&mut two, &poll), [0, 1, 2], "the third was heard");
    }

    #[test]
    fn a_node_has_one_desk_whatever_its_store_is() {
        let (exchange, _, [one]) = exchange([1]);
        let twin = Introduction {
            identity: identity(1, 99),
            boot: Boot(1),
        };
        let poll = Poll::new().unwrap();
        let bell = Bell::new(poll.registry(), Token(0)).unwrap();
        assert!(exchange.join(twin, Arc::clone(&bell)).is_none());
        drop(one);
        assert!(exchange.join(twin, bell).is_some());
    }
}
