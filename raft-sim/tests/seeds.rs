//! What the simulator found in the real code, each as the small run that showed it, with its story.
//!
//! A finding joins here once it is fixed: what happened, what the user lost, what is promised now, and which
//! rule saw it. (What only the simulator itself got wrong has its test where it was wrong.)

use raft_sim::Schedule;

/// Profile `detected`, seed 396 of the first sweep: D1.
///
/// Node 1 had synced its first entry and acknowledged it. Then its process died, and a bit of that very last
/// write flipped on the disk. The restart took it for a torn end, which nobody had been promised, cut it off,
/// and would have voted as if it had never had it: an acknowledged entry lost on one node, silently. The log
/// now says behind its last write, whenever nothing waits, that everything is synced, so that such damage is
/// seen, and ends the store's voting life.
#[test]
fn damage_to_the_last_synced_write_is_not_taken_for_a_torn_end() {
    let schedule = Schedule::parse(
        "
        nodes 4
        option seed 31
        segment_bytes 4096
        start 1
        start 3
        start 4
        timeout 3
        deliver 3>1 RequestPreVote term=1 last=0@0
        deliver 3>4 RequestPreVote term=1 last=0@0
        deliver 1>3 PreVoteReply term=1 granted=true
        deliver 4>3 PreVoteReply term=1 granted=true
        disk 3
        deliver 3>1 RequestVote term=1 last=0@0
        deliver 3>4 RequestVote term=1 last=0@0
        disk 1
        deliver 1>3 VoteReply term=1 granted=true
        disk 4
        deliver 4>3 VoteReply term=1 granted=true
        deliver 3>1 AppendEntries term=1 previous=0@0 last=1@1 commit=0
        disk 1
        kill 1
        flip 1 00000000000000000002.wal 8352
        start 1
        ",
    );
    let schedule = schedule.unwrap();
    schedule.assert_clean();
    let trace = schedule.play(true).trace;
    let acknowledged = trace
        .events
        .iter()
        .any(|event| event.to_string().contains("1: its disk has up to 1"));
    assert!(acknowledged, "the entry was there before it was damaged");
}
