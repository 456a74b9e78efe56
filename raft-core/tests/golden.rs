//! The bytes of messages and records, which other versions will have to read, and the course of a run,
//! which must be the same on every platform.

use raft_core::replica::write_part;
use raft_core::wal::{SnapshotStore, Wal, WalOptions};
use raft_core::{
    AppendOutcome, Body, Boot, Bytes, Cause, ClusterId, CompactLog, Configuration, Entry, EntryId,
    Envelope, GroupId, HardState, Identity, Index, Member, NodeId, Payload, Persist, PersistId,
    Round, Session, SnapshotMark, SnapshotMeta, Span, Status, StorageId, Term, codec,
};
use raft_sim::{Cluster, MemoryDisk, Network};

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(u128::from(node) + 0xa0),
    }
}

fn identity() -> Identity {
    Identity {
        group: GroupId(3),
        cluster: ClusterId(0x0c),
        member: member(1),
    }
}

/// Hexadecimal; long runs of zeros as their length.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for run in bytes.chunk_by(|one, other| one == other) {
        if run.len() > 16 && run[0] == 0 {
            out.push_str(&format!(" {}x00 ", run.len()));
        } else {
            run.iter()
                .for_each(|byte| out.push_str(&format!("{byte:02x}")));
        }
    }
    out
}

fn entries() -> Vec<Entry> {
    let id = |index| EntryId {
        term: Term(4),
        index: Index(index),
    };
    vec![
        Entry {
            id: id(8),
            payload: Payload::Noop,
        },
        Entry {
            id: id(9),
            payload: Payload::Command(Bytes::from_static(b"set")),
        },
        Entry {
            id: id(10),
            payload: Payload::Configuration(Configuration::of_voters([member(1)]).into()),
        },
    ]
}

/// `UPDATE_EXPECT=1` prints what to put here; a change needs a new version and a way to read the old.
fn check(name: &str, expected: &str, found: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        println!("{name}: {found}");
    } else {
        assert_eq!(found, expected, "{name}");
    }
}

fn frame(body: Body) -> String {
    let envelope = Envelope {
        from: identity(),
        boot: Boot(5),
        to: member(2),
        term: Term(4),
        session: Session {
            term: Term(4),
            added: Index(1),
            counter: 6,
        },
        body,
    };
    let mut bytes = Vec::new();
    codec::encode_control(&envelope, &mut bytes);
    codec::encode_bulk(&envelope.body, &mut bytes);
    assert_eq!(
        codec::decode_envelope(&Bytes::from(bytes.clone())),
        Ok(envelope)
    );
    hex(&bytes)
}

#[test]
fn messages_keep_their_bytes() {
    let previous = EntryId {
        term: Term(3),
        index: Index(7),
    };
    let append = Body::AppendEntries {
        previous,
        commit: Index(7),
        entries: entries().into(),
    };
    check("append", APPEND, &frame(append));
    let vote = Body::RequestVote {
        last: previous,
        cause: Cause::Timeout,
    };
    check("vote", VOTE, &frame(vote));
    let heartbeat = Body::Heartbeat {
        commit: Index(7),
        read_index: Index(8),
        round: Round(9),
        promise: Span(0),
        priority: 1,
    };
    check("heartbeat", HEARTBEAT, &frame(heartbeat));
    let matched = Body::AppendReply(AppendOutcome::Matched(Index(10)));
    check("matched", MATCHED, &frame(matched));
    let commands = vec![Bytes::from_static(b"a"), Bytes::from_static(b"")];
    let forward = Body::ForwardProposals { commands };
    check("forward", FORWARD, &frame(forward));
}

#[test]
fn a_segment_keeps_its_bytes() {
    let mut disk = MemoryDisk::new();
    Wal::create(
        &mut disk,
        identity(),
        &Configuration::of_voters([member(1)]),
    )
    .unwrap();
    let options = WalOptions {
        segment_bytes: 4 << 10,
        tail_bytes_max: 1 << 10,
    };
    let (mut wal, restored) = Wal::recover(disk.clone(), options).unwrap();
    let mut first = entries();
    for (place, entry) in first.iter_mut().enumerate() {
        entry.id.index = Index(place as u64 + 1);
    }
    wal.append(&Persist {
        id: PersistId(1),
        store: member(1).store,
        boot: restored.boot,
        hard_state: Some(Box::new(HardState {
            term: Term(4),
            voted_for: Some(member(1)),
            commit: Index(2),
            ..HardState::default()
        })),
        snapshot: None,
        identity: None,
        entries: first.into(),
    })
    .unwrap();
    wal.close().unwrap();
    let bytes = disk.file("00000000000000000002.wal").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    check("segment", SEGMENT, &hex(&bytes[..end]));
}

fn meta(index: u64) -> SnapshotMeta {
    let id = |index| EntryId {
        term: Term(4),
        index: Index(index),
    };
    SnapshotMeta {
        id: id(index),
        term: Term(4),
        configured: id(3),
        configuration: Configuration::of_voters([member(1)]).into(),
    }
}

/// An installed snapshot, another identity, a taken snapshot, and a log that begins later: what the records
/// say of each, and what the next segment begins with.
#[test]
fn changes_keep_their_bytes() {
    let mut disk = MemoryDisk::new();
    Wal::create(&mut disk, identity(), &Configuration::default()).unwrap();
    let options = WalOptions {
        segment_bytes: 4 << 10,
        tail_bytes_max: 1 << 10,
    };
    let (mut wal, restored) = Wal::recover(disk.clone(), options).unwrap();
    let mut persist = Persist {
        id: PersistId(1),
        store: member(1).store,
        boot: restored.boot,
        hard_state: None,
        snapshot: Some(Box::new(SnapshotMark::Installed(meta(7)))),
        identity: Some(Box::new(Identity {
            cluster: ClusterId(0x0d),
            ..identity()
        })),
        entries: entries().into(),
    };
    wal.append(&persist).unwrap();
    persist.snapshot = Some(Box::new(SnapshotMark::Taken(meta(9))));
    persist.identity = None;
    persist.entries = vec![].into();
    wal.append(&persist).unwrap();
    let base = meta(9);
    wal.compact(&CompactLog {
        base: base.id,
        configured: base.configured,
        configuration: base.configuration,
    })
    .unwrap();
    wal.close().unwrap();
    let bytes = disk.file("00000000000000000002.wal").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    check("changes", CHANGES, &hex(&bytes[512..end]));
}

#[test]
fn a_snapshot_keeps_its_bytes() {
    let disk = MemoryDisk::new();
    let mut store = SnapshotStore::open(disk.clone()).unwrap();
    store
        .take(&meta(9), &mut |sink| write_part(sink, b"all there is"))
        .unwrap();
    let name = "snapshot-00000000000000000009-00000000000000000004.snap";
    check("snapshot", SNAPSHOT, &hex(&disk.file(name).unwrap()));
}

/// What a status says; how a node keeps it is nobody's business.
fn told(status: Status<'_>) -> String {
    let text = format!("{status:?}");
    let said = text.split(", role_state: ").next();
    let peers: Vec<_> = status.peers().zip(status.replication()).collect();
    format!("{} {peers:?}", said.unwrap_or_default())
}

/// P4: the same inputs, the same outputs, bit for bit.
#[test]
fn a_run_of_a_cluster_takes_the_same_course_everywhere() {
    let run = |seed| {
        let mut cluster = Cluster::<Journal>::new(5, seed, Network::bad());
        for step in 0..300 {
            let node = NodeId(1 + cluster.draw(5));
            if cluster.is_running(node) && step % 17 == 3 {
                cluster.lose_power(node);
            } else if cluster.is_running(node) {
                cluster.propose(node, Bytes::from(format!("{step}")));
            } else {
                cluster.start(node).unwrap();
            }
            cluster.run_for(Span(20_000_000));
        }
        let mut course = crc32fast::Hasher::new();
        for node in cluster.nodes() {
            if cluster.is_running(node) {
                course.update(told(cluster.status(node)).as_bytes());
            }
            for name in cluster.disk(node).names() {
                course.update(&cluster.disk(node).file(&name).unwrap());
            }
        }
        course.finalize()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    check("course", COURSE, &format!("{:08x}", run(7)));
}

#[derive(Debug, Default)]
struct Journal;

impl raft_core::replica::StateMachine for Journal {
    type Command = Bytes;
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _entry: raft_core::replica::Applied<Bytes>) {}

    fn query(&self, (): &()) {}

    type Image = raft_core::replica::Serde<()>;

    fn image(&self) -> Self::Image {
        raft_core::replica::Serde(())
    }

    fn restore(&mut self, _image: Self::Image) {}
}

const APPEND: &str = "0f000000030c01a10502a2040401060403070708000000000000000300000004000000000000000000000000\
    04000000000000000103000000040000000000000002060000007365740101a1000000";
const VOTE: &str = "0f000000030c01a10502a20404010602030700";
const HEARTBEAT: &str = "11000000030c01a10502a204040106060708090001";
const MATCHED: &str = "0e000000030c01a10502a20404010605000a";
const FORWARD: &str = "0c000000030c01a10502a2040401060902000000010000000000000061";
const SEGMENT: &str = "726166742d77616c0100010000000000020000000000000003000000000000000c000000000000000000000000\
    000000a100000000000000000000000000000001 28x00 020000000000000010000000000000a100000000000\
    00000000000000000003b9d6274719e6067120000003b9d627401000000010000000000000000000101a100000\
    0000200000000000095a1cd7048010000719e606705 331x00 4559416b4a00000095a1cd70020000000a00000\
    0fb000201040101a10002010000000000000003000000040000000000000000000000000400000000000000010\
    3000000040000000000000002060000007365740101a10000000000000000001ee5efc2900100004559416b05 \
    403x00 6757221f080000001ee5efc20400000004000000fb0004";
const COURSE: &str = "5b565cd8";
const CHANGES: &str = "06f6eb485b000000d3bdcfcb0600000004000000fb00020013000000010104070404030101a100000001030d01\
    a10008000000000000000300000004000000000000000000000000040000000000000001030000000400000000\
    00000002060000007365740101a1000000000000000091b174ca1b00000006f6eb480600000004000000fb0002\
    000f000000010004090404030101a1000000000000000000002aac4b531b00000091b174ca0600000004000000\
    fb0002000f00000000000104090404030101a100000002000000000051b5418e200100002aac4b5305 291x00 \
    7fc894930800000051b5418e0400000004000000fb0004";
const SNAPSHOT: &str = "726166742d736e70010001000b00000000000000652104a004090404030101a1000000f13e4d58140000000c00\
    000000000000616c6c2074686572652069734ae7611800000000530000000000000077111bec";
