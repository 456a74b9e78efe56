//! Where a peer is looked for after its connections have come and gone.

use std::net::{Ipv4Addr, TcpListener};

use mio::Poll;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Somebody who takes connections, and where.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn connect(peer: &mut Outgoing, now: Time, poll: &mut Poll) {
    assert_eq!(peer.dial(now, poll.registry()), Need::Nothing);
    let mut events = mio::Events::with_capacity(8);
    while !peer.is_established() {
        poll.poll(&mut events, None).unwrap();
        assert!(peer.flush(now, poll.registry()), "it is taken");
    }
}

fn peer_at(address: &str) -> Outgoing {
    let mut peer = Outgoing::new(address.to_string(), Token(1));
    peer.set_hello(b"hello");
    peer
}

/// A follower has nothing to say to another one: their connection was written to when it was made, and then no
/// more.
#[test]
fn a_connection_that_is_idle_tells_where_a_peer_is() {
    let mut poll = Poll::new().unwrap();
    let ((_before, before), (_after, after)) = (listener(), listener());
    let mut peer = peer_at(&before);
    connect(&mut peer, Time(0), &mut poll);
    peer.move_to(&after, None, Time(10 * SECOND));
    connect(&mut peer, Time(10 * SECOND), &mut poll);
    peer.move_to("mistaken:1", None, Time(20 * SECOND));
    assert_eq!(peer.places(), ["mistaken:1", &before, &after]);
}

/// An address was mistaken for one at which something took connections and said nothing, and was mistaken once
/// more: then nobody knew where the peer was.
#[test]
fn a_peer_that_answered_is_not_forgotten_for_somebody_who_is_silent() {
    let mut poll = Poll::new().unwrap();
    let ((_there, there), (_silent, silent)) = (listener(), listener());
    let mut peer = peer_at(&there);
    connect(&mut peer, Time(0), &mut poll);
    peer.answered(Time(5 * SECOND));
    peer.move_to(&silent, None, Time(10 * SECOND));
    connect(&mut peer, Time(10 * SECOND), &mut poll);
    // An answer to what went to the other place may be late.
    peer.answered(Time(10 * SECOND));
    peer.move_to("mistaken:1", None, Time(20 * SECOND));
    assert_eq!(peer.places(), ["mistaken:1", &there, &silent]);
}

#[test]
fn a_peer_that_answers_is_where_it_answers() {
    let mut poll = Poll::new().unwrap();
    let ((_before, before), (_after, after)) = (listener(), listener());
    let mut peer = peer_at(&before);
    connect(&mut peer, Time(0), &mut poll);
    peer.move_to(&after, None, Time(10 * SECOND));
    connect(&mut peer, Time(10 * SECOND), &mut poll);
    peer.answered(Time(12 * SECOND));
    peer.move_to("mistaken:1", None, Time(20 * SECOND));
    assert_eq!(peer.places(), ["mistaken:1", &after]);
}
