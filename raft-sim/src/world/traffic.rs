//! What happens to messages between one node and another.

use raft_core::{Bytes, ClusterId, Envelope, NodeId, Span, Time, codec};
use rand_core::Rng;

use super::cluster::{Cluster, Flight, seat_of};
use super::events::What;
use crate::machine::Machine;
use crate::trace::Fate;

/// How long a message takes on a link that healed.
const HEALTHY_DELAY: Span = Span(500_000);
/// How many messages may come back much later.
const OLD_KEPT: usize = 64;
/// One in so many messages takes the way through its bytes; the others would say the same.
const ENCODED_ONE_IN: u64 = 64;

impl<S: Machine> Cluster<S> {
    pub(super) fn transmit(&mut self, envelope: Box<Envelope>) {
        let from = envelope.from.member.node;
        let chosen = || self.rng.next_u64() & 1 == 0;
        let to = self.links.place_of(envelope.to.node, chosen);
        let name = self.recorder.as_mut().map(|r| r.name(&envelope));
        let mut flight = Flight {
            envelope,
            to,
            sent: self.now(),
            name,
        };
        if self.links.is_cut(from, to) {
            self.odd.cut += 1;
            self.trace_message(&flight, to, Some(Fate::Cut));
            self.tell_cut(from, to);
            return;
        }
        if self.links.is_healthy(from, to) {
            self.arrive(flight, self.now() + HEALTHY_DELAY);
            return;
        }
        let network = self.network;
        let chance = self.rng.next_u64();
        if chance % 1_000 < network.lost_per_mille {
            self.odd.lost += 1;
            self.trace_message(&flight, to, Some(Fate::Lost));
            return;
        }
        if (chance / 1_000_000).is_multiple_of(ENCODED_ONE_IN) {
            *flight.envelope = through_bytes(&flight.envelope);
        }
        let spread = network.delay_max - network.delay_min + 1;
        if chance / 1_000 % 1_000 < network.repeated_per_mille {
            self.odd.repeated += 1;
            let late = network.delay_min + self.rng.next_u64() % spread;
            self.fly(flight.clone(), late);
        }
        if network.is_odd() && !self.transmit_odd(&flight) {
            return;
        }
        self.fly(flight, network.delay_min + (chance / 64_000_000) % spread);
    }

    /// A transport with connections notices, sooner or later, that what it was given cannot arrive.
    fn tell_cut(&mut self, from: NodeId, to: NodeId) {
        let share = self.network.told_per_mille;
        if share == 0 || self.rng.next_u64() % 1_000 >= share {
            return;
        }
        if let Some(boot) = self.boot(from) {
            let after = self.rng.next_u64() % (1 + self.network.delay_max);
            let told = What::Unreachable(from, boot, to);
            self.schedule(self.now() + Span(after), told);
        }
    }

    fn fly(&mut self, flight: Flight, delay: u64) {
        let mut departure = self.now();
        if self.network.nanos_per_byte > 0 {
            let (envelope, cost) = (&flight.envelope, self.network.nanos_per_byte);
            let left = self.links.departure(departure, envelope, flight.to, cost);
            let Some(left) = left else {
                self.odd.lost += 1;
                self.trace_message(&flight, flight.to, Some(Fate::Lost));
                return;
            };
            departure = left;
        }
        self.arrive(flight, departure + Span(delay));
    }

    fn arrive(&mut self, flight: Flight, at: Time) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.flights.push(None);
                u32::try_from(self.flights.len() - 1).expect("fewer messages than memory")
            }
        };
        self.flights[slot as usize] = Some(flight);
        self.schedule(at, What::Deliver(slot));
    }

    /// What a correct network does not do, and a real one does once in a while. False if the message itself
    /// does not arrive.
    fn transmit_odd(&mut self, flight: &Flight) -> bool {
        let (network, chance) = (self.network, self.rng.next_u64());
        if self.old.len() < OLD_KEPT {
            self.old.push(flight.clone());
        } else if chance.is_multiple_of(37) {
            let place = seat_of(NodeId(1 + (chance >> 40) % OLD_KEPT as u64));
            self.old[place] = flight.clone();
        }
        if (chance >> 8) % 1_000 < network.old_per_mille {
            let place = (chance >> 20) % self.old.len() as u64;
            let old = self.old[seat_of(NodeId(1 + place))].clone();
            if !self.links.is_cut(old.envelope.from.member.node, old.to) {
                self.odd.old += 1;
                self.fly(old, network.delay_min);
            }
        }
        if (chance >> 28) % 1_000 < network.stray_per_mille {
            self.odd.stray += 1;
            let mut stray = flight.clone();
            stray.name = None;
            if chance & 1 == 0 {
                stray.envelope.from.cluster = ClusterId(0xbad);
            } else {
                let nodes = self.seats.len() as u64;
                stray.to = NodeId(1 + (chance >> 32) % nodes);
            }
            self.fly(stray, network.delay_min);
        }
        if (chance >> 16) % 1_000 < network.flipped_per_mille {
            self.odd.flipped += 1;
            flip_a_bit(&flight.envelope, chance >> 24);
            self.trace_message(flight, flight.to, Some(Fate::Refused));
            return false;
        }
        true
    }
}

fn frame(envelope: &Envelope) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::encode_control(envelope, &mut frame);
    codec::encode_bulk(&envelope.body, &mut frame);
    frame
}

/// The message as it comes out of its bytes.
fn through_bytes(envelope: &Envelope) -> Envelope {
    let bytes = Bytes::from(frame(envelope));
    let decoded = codec::decode_envelope(&bytes).expect("what was sent decodes");
    assert_eq!(&decoded, envelope, "a message is what its bytes say");
    decoded
}

/// A frame's checksum refuses any single flipped bit; what is left to see is that decoding survives it.
fn flip_a_bit(envelope: &Envelope, chance: u64) {
    let mut frame = frame(envelope);
    let bit = chance % (frame.len() as u64 * 8);
    if let Some(byte) = frame.get_mut(usize::try_from(bit / 8).unwrap_or(0)) {
        *byte ^= 1 << (bit % 8);
    }
    let _ = codec::decode_envelope(&Bytes::from(frame));
}
