//! Planted bugs: faults of our own making, one at a time, to see that the checkers see them.
//!
//! They exist only in builds made with `RUSTFLAGS="--cfg raft_planted"`, as a switch at run time. In any
//! other build [`planted`] is a constant `false`, and what it guards is not compiled.
//!
//! Read first: `raft-sim/docs/planted-bugs.md`, the table of what caught them.

macro_rules! bugs {
    ($($bug:ident $id:literal $name:literal $about:literal,)*) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            not(raft_planted),
            expect(unreachable_pub, reason = "part of the API where bugs are planted")
        )]
        pub enum Bug {
            $(#[doc = $about] $bug,)*
        }

        #[cfg(raft_planted)]
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$bug,)*];

            /// Its code in the test plan.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$bug => $id,)* }
            }

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$bug => $about,)* }
            }
        }
    };
}

bugs! {
    VoteAmnesia "E01" "vote-amnesia" "The vote is left out of what is written.",
    VoteBeforeSync "E02" "vote-before-sync" "Votes and requests for them leave before they are durable.",
    SyncErrorIgnored "E04" "sync-error-ignored" "A sync that failed is taken for one that did not.",
    SameTermClear "E05" "same-term-clear" "Stepping down within a term forgets the vote.",
    StaleGrant "E06" "stale-grant" "A vote for an earlier term is counted.",
    NoSelfVote "E08" "no-self-vote" "A candidate's vote for itself is not recorded.",
    EvenQuorum "E09" "even-quorum" "Half of an even number of voters is a majority.",
    UpToDateOrder "E10" "up-to-date-order" "Logs are compared by length before term.",
    LowPreVoteIgnored "E12" "low-pre-vote-ignored" "A pre-candidate of a low term is neither answered nor taught.",
    PreVoteKeepsLeader "E13" "pre-vote-keeps-leader" "A pre-candidate refuses others as if it had a leader.",
    NoPreVote "E15" "no-pre-vote" "A new term begins without asking first.",
    NoCheckQuorum "E16" "no-check-quorum" "A leader that hears no majority goes on.",
    RejectionCounts "E18" "adopt-rejected-vote" "A vote that is refused counts as granted.",
    NoTermBump "E19" "lead-without-term-bump" "Whoever voted for itself campaigns again in the same term.",
    FollowerAsserts "E21" "follower-vote-assert" "A node that follows a leader panics when it is asked for a vote.",
    OneMajorityElects "E22" "one-majority-elects" "In a joint phase the votes of a majority of the new voters are enough.",
    TruncateOnOverlap "L01" "truncate-on-overlap" "An append cuts whatever lies behind it.",
    CommitLast "L03" "commit-last" "A follower commits up to its last entry.",
    CommitRegress "L04" "commit-regress" "The commit index follows the leader's down.",
    MatchRegress "L05" "match-regress" "A late answer takes the match index down.",
    NextBelowMatch "L06" "next-below-match" "A late refusal takes the next index below the match index.",
    CompletionAba "L08" "completion-aba" "The completion of an overwritten write counts for what replaced it.",
    AckOwnTail "L09" "ack-own-tail" "A follower takes its whole log for what it shares with its leader.",
    WrongSlot "L15" "wrong-slot" "A leader's next entry takes the place of what is not durable yet.",
    LearnersCount "L17" "non-voter-counts" "Learners are counted like voters.",
    InflightLeak "L18" "inflight-leak" "What was on its way when a peer was lost counts for ever.",
    IndexMatches "L21" "index-only-match" "An append follows whatever entry is at its place.",
    DropUncommitted "L22" "drop-uncommitted" "A new leader drops what it does not know to be committed.",
    ExecutedTwice "L23" "executed-twice" "The last entry of a batch is executed once more.",
    Figure8 "C01" "figure-8" "Entries of older terms commit by counting.",
    SelfUnflushed "C04" "self-unflushed" "A leader counts its own entries before they are durable.",
    NoNoop "C05" "no-noop" "A leader begins its term without an entry.",
    OneMajority "C06" "one-majority-in-joint" "In a joint phase a majority of the new voters is enough.",
    AckAtAppend "C07" "ack-at-append" "A client is told that its command is committed when it is appended.",
    ChangeTooEarly "M01" "change-before-own-commit" "A new leader changes the membership before anything of its term is committed.",
    TwoChanges "M02" "two-in-flight" "A change begins while another one is not committed.",
    NoConfigRollback "M04" "no-config-rollback" "A configuration stays in force when its entry is truncated.",
    NewestInSnapshot "M05" "newest-in-snapshot" "A snapshot carries the newest configuration, whatever it goes up to.",
    SilentRemoval "M08" "silent-removal" "A removed member is not told.",
    StrangersRefused "M10" "reject-unknown-candidate" "Nobody votes for a candidate that is not in its own configuration.",
    StuckJoint "M11" "stuck-joint" "A new leader does not end the joint phase that it inherits.",
    ReplyAfterRemoval "M17" "reply-after-removal" "An answer of a peer that was removed is not expected.",
    NoJoint "M18" "no-joint" "Any change is made in one step.",
    IdentityApart "M19" "identity-apart" "Who a store is from now on is written after what it does as that.",
    TermFromSnapshot "S01" "term-from-snapshot" "What is written with a snapshot says the snapshot's term.",
    ConflictLeft "S04" "conflict-left" "What an installed snapshot has replaced is back after a restart.",
    FullyPurged "S06" "fully-purged" "A peer that needs what is compacted is sent nothing.",
    MergeRestore "S08" "merge-restore" "The state machine is not replaced by what is restored.",
    TornMetadata "S10" "torn-metadata" "A snapshot says that it goes up to what is committed, and holds what is applied.",
    DropBeforeSync "S12" "log-rewrite-gap" "Segments go before it is durable that they are not needed.",
    LocalRead "R01" "local-read" "A leader answers reads from what it has.",
    ReadBeforeRound "R02" "read-before-round" "A read is answered before its round is.",
    RoundReused "R03" "round-reused" "A read is confirmed by the round before its own.",
    ReadWithoutNoop "R04" "read-without-noop" "A new leader reads at a commit index that may be old.",
    LeaseFromAnswer "R19" "lease-from-answer" "A lease is counted from when the promise came, not from when it was asked for.",
    LeaseWithoutEnd "R06" "lease-clock" "A lease is not over when its time is.",
    AckMiscount "R07" "ack-miscount" "One answer confirms a read, however many voters there are.",
    ForwardTwice "R08" "forward-twice" "A repeated message proposes again.",
    FalseFailure "R09" "false-failure" "A leader that steps down says that its proposals failed.",
    SessionsLeftOut "R11" "sessions-not-in-snapshot" "Snapshots say that there are no sessions.",
    ReadInRecovery "R12" "read-in-recovery" "A read does not wait until what it must show is applied.",
    StrandedWaiter "R14" "stranded-waiter" "A request whose entry was replaced is never answered.",
    SessionForgets "R15" "session-forgets" "What a session has an answer to is executed again.",
    LeaseThroughTransfer "R16" "lease-through-transfer" "A leader that hands over keeps its lease.",
    PromiseForgotten "R17" "promise-forgotten" "A voter that starts again has promised nothing.",
    NoRequestLimit "R18" "no-request-limit" "A node takes in any number of requests.",
    AckBeforeSync "D01" "ack-before-sync" "Appends are acknowledged before they are durable.",
    SyncRetried "D02" "sync-retried" "A failed sync is tried again, and believed.",
    DamageIsTail "D03" "damage-is-tail" "Damage is taken for a torn end.",
    TornAccepted "D06" "torn-accepted" "Checksums of records are not looked at.",
    NoDirectorySync "D07" "no-directory-sync" "A new segment's name is not made durable.",
    SyncBeforeWrite "D08" "sync-before-write" "A sync leaves out what was not written yet.",
    TruncateForgotten "D10" "truncate-not-durable" "What was truncated is back after a restart.",
    NamedBeforeSync "D12" "rewrite-abort" "A new segment gets its name before it is durable.",
    RewriteDropsVote "D13" "rewrite-drops-vote" "What is written with a snapshot leaves the vote out.",
    CacheTrusted "D14" "cache-trusted" "Recovery believes what may be in a page cache only.",
    CutShort "D16" "enospc-fragment" "What a full disk cut short is not written again.",
    TornPair "T05" "torn-pair" "A candidate says that its last entry is of its own term.",
}

/// Which bug is on: its place in `Bug::ALL` from 1, or 0 for none.
#[cfg(raft_planted)]
static PLANTED: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Plants a bug, for every node and log of this process; `None` takes it out.
#[cfg(raft_planted)]
pub fn plant(bug: Option<Bug>) {
    let number = bug.map_or(0, |bug| bug as usize + 1);
    PLANTED.store(number, core::sync::atomic::Ordering::SeqCst);
}

#[cfg(raft_planted)]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as usize + 1
}

#[cfg(not(raft_planted))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
