//! Whom this node writes to: the members of its configuration, and whoever spoke to it and is none.
//!
//! A node that is being attached knows no addresses, and one that was away for long knows old ones: they
//! answer whoever dials them where that one says it is. Members that were removed are kept for a while, so
//! that they can be told.
//!
//! Always holds: a member is looked for where the configuration says, and only if it is not there, where
//! it said itself, where it answered last, and where connections to it lasted since.

use std::collections::BTreeMap;

use mio::Token;
use raft_core::{ClusterId, Configuration, Identity, Member, Span, Time};

use super::hello::{Hello, Introduction, Opening};
use super::outgoing::Outgoing;

/// How long somebody who is no member is kept after the last word to or from it.
const GUEST_PATIENCE: Span = Span(30_000_000_000);

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connection: Outgoing,
    /// Its place in the configuration; nothing for one that is no member, or no longer.
    configured: Option<String>,
    /// Where it said it is.
    told: Option<String>,
    /// The cluster in whose name it spoke, for a node that belongs to none.
    cluster: ClusterId,
    /// Something was sent to it since that was last looked at.
    used: bool,
    /// When it is given up, should it be no member.
    until: Time,
}

/// Everybody this node writes to.
#[derive(Debug)]
pub(super) struct Peers {
    own: Introduction,
    /// Where this node is reached, as the configuration says.
    address: String,
    peers: BTreeMap<Member, Peer>,
    owners: BTreeMap<Token, Member>,
}

impl Peers {
    pub(super) const fn new(own: Introduction) -> Self {
        Self {
            own,
            address: String::new(),
            peers: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Who this node is.
    pub(super) const fn own(&self) -> &Introduction {
        &self.own
    }

    pub(super) fn get_mut(&mut self, member: Member) -> Option<&mut Outgoing> {
        let peer = self.peers.get_mut(&member)?;
        Some(&mut peer.connection)
    }

    /// The same for somebody who is told something: whoever is no member is kept for that.
    pub(super) fn addressed(&mut self, member: Member) -> Option<&mut Outgoing> {
        let peer = self.peers.get_mut(&member)?;
        peer.used = true;
        Some(&mut peer.connection)
    }

    pub(super) fn by_token(&mut self, token: Token) -> Option<(Member, &mut Outgoing)> {
        let member = *self.owners.get(&token)?;
        let peer = self.peers.get_mut(&member)?;
        Some((member, &mut peer.connection))
    }

    /// Whether a message to this member is likely to arrive.
    pub(super) fn reaches(&self, member: Member) -> bool {
        let peer = self.peers.get(&member);
        peer.is_some_and(|peer| peer.connection.is_established())
    }

    /// Those who are connected.
    pub(super) fn listening(&self) -> impl Iterator<Item = Member> {
        let open = self.peers.iter().filter(|(_, p)| p.connection.is_open());
        open.map(|(member, _)| *member)
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = &Outgoing> {
        self.peers.values().map(|peer| &peer.connection)
    }

    pub(super) fn connections_mut(&mut self) -> impl Iterator<Item = (Member, &mut Outgoing)> {
        let peers = self.peers.iter_mut();
        peers.map(|(member, peer)| (*member, &mut peer.connection))
    }

    /// This node belongs to another cluster from now on, or is another member: then nobody of before is of
    /// any concern.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        if self.own.identity.member != identity.member {
            self.peers.clear();
            self.owners.clear();
        }
        self.own.identity = identity;
        self.refresh_hellos();
    }

    /// The configuration in force says who the members are, and where.
    pub(super) fn set_members(
        &mut self,
        configuration: &Configuration,
        now: Time,
        mut token: impl FnMut() -> Token,
    ) {
        let own = self.own.identity.member;
        let address = configuration.addresses.get(&own);
        self.address = address.cloned().unwrap_or_default();
        for (member, peer) in &mut self.peers {
            peer.set_place(configuration.addresses.get(member), now);
        }
        for (member, address) in &configuration.addresses {
            if *member != own && !self.peers.contains_key(member) {
                let mut peer = Peer::new(address, token());
                peer.configured = Some(address.clone());
                self.owners.insert(peer.connection.token(), *member);
                self.peers.insert(*member, peer);
            }
        }
        self.refresh_hellos();
    }

    /// Somebody dialed this node and said where it is.
    pub(super) fn greeted(&mut self, hello: &Hello, now: Time, token: impl FnOnce() -> Token) {
        if hello.address.is_empty() || hello.from.member == self.own.identity.member {
            return;
        }
        let member = hello.from.member;
        let owners = &mut self.owners;
        let peer = self.peers.entry(member).or_insert_with(|| {
            let peer = Peer::new(&hello.address, token());
            owners.insert(peer.connection.token(), member);
            peer
        });
        peer.cluster = hello.from.cluster;
        peer.told = Some(hello.address.clone());
        let place = peer.configured.as_deref().unwrap_or(&hello.address);
        peer.connection.set_places(place, peer.told.as_deref(), now);
        self.refresh_hellos();
    }

    /// Gives up those who are no members and neither speak nor are spoken to.
    pub(super) fn forget_guests(&mut self, now: Time, speaking: impl Fn(Member) -> bool) {
        if self.peers.values().all(|peer| peer.configured.is_some()) {
            return;
        }
        self.peers.retain(|member, peer| {
            if core::mem::take(&mut peer.used) || speaking(*member) || peer.until == Time(0) {
                peer.until = now + GUEST_PATIENCE;
            }
            peer.configured.is_some() || now < peer.until
        });
        if self.owners.len() > self.peers.len() {
            let peers = &self.peers;
            self.owners.retain(|_, member| peers.contains_key(member));
        }
    }

    /// What is said first changed: those who are dialed hear it then, those who listen already hear it next.
    fn refresh_hellos(&mut self) {
        for (member, peer) in &mut self.peers {
            let own = self.own.identity;
            let cluster = match own.cluster {
                ClusterId::NONE => peer.cluster,
                cluster => cluster,
            };
            let hello = Hello {
                from: Identity { cluster, ..own },
                boot: self.own.boot,
                to: *member,
                address: self.address.clone(),
            };
            peer.connection.set_hello(&Opening::Peer(hello).encode());
        }
    }
}

impl Peer {
    fn new(address: &str, token: Token) -> Self {
        Self {
            connection: Outgoing::new(address.to_string(), token),
            configured: None,
            told: None,
            cluster: ClusterId::NONE,
            used: false,
            until: Time(0),
        }
    }

    /// Where the configuration in force says it is, if it says anything.
    fn set_place(&mut self, address: Option<&String>, now: Time) {
        if let Some(address) = address
            && self.configured.as_ref() != Some(address)
        {
            self.connection.move_to(address, self.told.as_deref(), now);
        }
        self.configured = address.cloned();
        self.until = Time(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Boot, GroupId, NodeId, StorageId};

    const SECOND: u64 = 1_000_000_000;

    fn member(node: u64) -> Member {
        Member {
            node: NodeId(node),
            store: StorageId(node.into()),
        }
    }

    fn identity(cluster: u128, node: u64) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(cluster),
            member: member(node),
        }
    }

    fn own(cluster: u128) -> Introduction {
        Introduction {
            identity: identity(cluster, 1),
            boot: Boot(1),
        }
    }

    fn members(places: &[(u64, &str)]) -> Configuration {
        let ids = places.iter().map(|(node, _)| member(*node));
        let mut configuration = Configuration::of_voters(ids);
        for (node, place) in places {
            let place = (*place).to_string();
            configuration.addresses.insert(member(*node), place);
        }
        configuration
    }

    fn hello(node: u64, address: &str) -> Hello {
        Hello {
            from: identity(7, node),
            boot: Boot(1),
            to: member(1),
            address: address.to_string(),
        }
    }

    fn place(peers: &Peers, node: u64) -> Option<Vec<&str>> {
        let peer = peers.peers.get(&member(node))?;
        Some(peer.connection.places())
    }

    fn at<const N: usize>(places: [&'static str; N]) -> Option<Vec<&'static str>> {
        Some(places.to_vec())
    }

    #[test]
    fn a_member_is_looked_for_where_the_configuration_says_and_else_where_it_says() {
        let mut peers = Peers::new(own(7));
        let configuration = members(&[(1, "a:1"), (2, "b:1")]);
        peers.set_members(&configuration, Time(0), || Token(2));
        assert_eq!(place(&peers, 1), None, "not itself");
        assert_eq!(place(&peers, 2), at(["b:1"]));
        peers.greeted(&hello(2, "b:2"), Time(0), || unreachable!("it is known"));
        assert_eq!(place(&peers, 2), at(["b:1", "b:2"]));
        peers.set_members(&members(&[(1, "a:1"), (2, "b:3")]), Time(0), || Token(3));
        assert_eq!(place(&peers, 2), at(["b:3", "b:2"]));
    }

    #[test]
    fn whoever_speaks_is_answered_where_it_says_until_it_is_silent_for_long() {
        let mut peers = Peers::new(own(0));
        peers.greeted(&hello(2, ""), Time(0), || {
            unreachable!("it does not say where it is")
        });
        peers.greeted(&hello(2, "b:2"), Time(0), || Token(2));
        assert_eq!(place(&peers, 2), at(["b:2"]));
        let speaking = |asked| asked == member(2);
        peers.forget_guests(Time(SECOND), speaking);
        peers.forget_guests(Time(100 * SECOND), speaking);
        peers.forget_guests(Time(120 * SECOND), |_| false);
        assert!(place(&peers, 2).is_some(), "not yet");
        peers.forget_guests(Time(131 * SECOND), |_| false);
        assert_eq!(place(&peers, 2), None);
        assert!(peers.by_token(Token(2)).is_none());
    }

    /// It has to be told first.
    #[test]
    fn a_member_that_was_removed_is_kept_for_a_while() {
        let mut peers = Peers::new(own(7));
        peers.set_members(&members(&[(1, "a:1"), (2, "b:1")]), Time(0), || Token(2));
        peers.set_members(&members(&[(1, "a:1")]), Time(0), || Token(3));
        peers.forget_guests(Time(SECOND), |_| false);
        assert!(peers.addressed(member(2)).is_some());
        // Something was sent to it just now.
        peers.forget_guests(Time(40 * SECOND), |_| false);
        assert!(place(&peers, 2).is_some());
        // Its name was looked up, or its connection tried again, which tells it nothing.
        assert!(peers.get_mut(member(2)).is_some());
        peers.forget_guests(Time(71 * SECOND), |_| false);
        assert_eq!(place(&peers, 2), None);
    }

    #[test]
    fn a_node_that_left_its_cluster_knows_nobody_of_it() {
        let mut peers = Peers::new(own(7));
        peers.set_members(&members(&[(1, "a:1"), (2, "b:1")]), Time(0), || Token(2));
        let mut alone = identity(8, 1);
        alone.member.store = StorageId(99);
        peers.set_identity(alone);
        assert_eq!(place(&peers, 2), None);
        assert!(peers.by_token(Token(2)).is_none());
    }
}
