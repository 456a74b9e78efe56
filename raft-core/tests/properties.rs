//! Pure functions against naive oracles.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::BTreeSet;

use quickcheck::{Arbitrary, Gen, TestResult, quickcheck};
use raft_core::quorum::{Tally, majority, reached, tally};
use raft_core::{
    Body, Boot, Bytes, Cause, ClusterId, Configuration, DiskHealth, Entry, EntryId, Envelope,
    ForwardOutcome, GroupId, Identity, Index, Inflight, LeaderRound, Member, NodeId, Payload,
    Round, Session, Span, StorageId, Term, TermRuns, codec,
};

fn member(n: u8) -> Member {
    Member {
        node: NodeId(n.into()),
        store: StorageId(n.into()),
    }
}

/// The terms of a log, entry by entry.
fn naive_terms(steps: &[u8]) -> Vec<u64> {
    let mut term = 1;
    let ascending = steps.iter().map(|step| {
        term += u64::from(step % 4 == 0);
        term
    });
    ascending.collect()
}

fn runs(terms: &[u64]) -> TermRuns {
    let mut runs = TermRuns::new(EntryId::ZERO);
    for (place, term) in terms.iter().enumerate() {
        runs.append(EntryId {
            term: Term(*term),
            index: Index(place as u64 + 1),
        });
    }
    runs
}

quickcheck! {
    fn term_runs_know_what_a_list_of_terms_knows(steps: Vec<u8>, cut: u8) -> bool {
        let mut terms = naive_terms(&steps);
        let mut compressed = runs(&terms);
        let cut = usize::from(cut) % (terms.len() + 1);
        terms.truncate(cut);
        compressed.truncate(Index(cut as u64 + 1));
        let same = |index: u64| {
            let naive = index.checked_sub(1).and_then(|place| terms.get(place as usize));
            let naive = if index == 0 { Some(Term(0)) } else { naive.map(|term| Term(*term)) };
            compressed.term(Index(index)) == naive
        };
        (0..=steps.len() as u64 + 2).all(same) && compressed.last().index == Index(cut as u64)
    }

    fn compacted_term_runs_are_those_of_the_entries_that_are_left(steps: Vec<u8>, base: u8) -> bool {
        let terms = naive_terms(&steps);
        let base = usize::from(base) % (terms.len() + 1);
        let mut compacted = runs(&terms);
        compacted.compact(Index(base as u64));
        let term = base.checked_sub(1).map_or(Term(0), |place| Term(terms[place]));
        let mut expected = TermRuns::new(EntryId { term, index: Index(base as u64) });
        for (place, term) in terms.iter().enumerate().skip(base) {
            expected.append(EntryId { term: Term(*term), index: Index(place as u64 + 1) });
        }
        compacted == expected
    }

    fn best_match_is_the_last_entry_within_the_hint(steps: Vec<u8>, term: u8, index: u8) -> bool {
        let terms = naive_terms(&steps);
        let hint = EntryId { term: Term(term.into()), index: Index(index.into()) };
        let naive = terms.iter().enumerate().rev().find_map(|(place, t)| {
            let id = EntryId { term: Term(*t), index: Index(place as u64 + 1) };
            (id.index <= hint.index && id.term <= hint.term).then_some(id)
        });
        runs(&terms).best_match(hint) == naive.unwrap_or(EntryId::ZERO)
    }

    fn splicing_is_truncating_and_appending(steps: Vec<u8>, first: u8, more: Vec<u8>) -> TestResult {
        let mut terms = naive_terms(&steps);
        let first = usize::from(first) % (terms.len() + 1);
        if more.is_empty() {
            return TestResult::discard();
        }
        let base = terms.last().copied().unwrap_or(1);
        let added: Vec<u64> = naive_terms(&more).iter().map(|term| term + base).collect();
        let mut other = TermRuns::new(EntryId { term: Term(0), index: Index(first as u64) });
        for (place, term) in added.iter().enumerate() {
            other.append(EntryId { term: Term(*term), index: Index((first + place) as u64 + 1) });
        }
        let mut spliced = runs(&terms);
        let done = spliced.splice(Index(first as u64 + 1), other.runs(), other.last().index);
        terms.truncate(first);
        terms.extend(added);
        TestResult::from_bool(done && spliced == runs(&terms))
    }

    fn splicing_what_leaves_a_gap_changes_nothing(steps: Vec<u8>, gap: u8) -> bool {
        let before = runs(&naive_terms(&steps));
        let first = Index(before.last().index.0 + 2 + u64::from(gap));
        let run = EntryId { term: Term(99), index: first };
        let mut after = before.clone();
        !after.splice(first, &[run], first) && after == before
    }

    fn the_value_a_majority_reached_is_the_greatest_such(values: Vec<u8>) -> bool {
        let naive = values.iter().copied().filter(|candidate| {
            values.iter().filter(|value| *value >= candidate).count() >= majority(values.len())
        });
        reached(values.iter().copied()) == naive.max()
    }

    fn a_ballot_is_won_lost_or_open_as_counting_says(ballots: Vec<Option<bool>>) -> bool {
        let granted = ballots.iter().filter(|ballot| **ballot == Some(true)).count();
        let open = ballots.iter().filter(|ballot| ballot.is_none()).count();
        let expected = if !ballots.is_empty() && granted * 2 > ballots.len() {
            Tally::Won
        } else if (granted + open) * 2 > ballots.len() {
            Tally::Open
        } else {
            Tally::Lost
        };
        tally(ballots.iter().copied()) == expected
    }

    fn any_two_majorities_share_a_voter(voters: u8, one: BTreeSet<u8>, other: BTreeSet<u8>) -> TestResult {
        let voters = voters % 8;
        let within = |set: BTreeSet<u8>| set.into_iter().map(|v| v % voters.max(1)).collect::<BTreeSet<u8>>();
        let (one, other) = (within(one), within(other));
        let needed = majority(voters.into());
        if voters == 0 || one.len() < needed || other.len() < needed {
            return TestResult::discard();
        }
        TestResult::from_bool(one.intersection(&other).next().is_some())
    }

    fn a_joint_decision_needs_both_majorities(old: BTreeSet<u8>, new: BTreeSet<u8>, yes: BTreeSet<u8>) -> TestResult {
        if old.is_empty() || new.is_empty() {
            return TestResult::discard();
        }
        let configuration = Configuration {
            voters: new.iter().copied().map(member).collect(),
            outgoing: old.iter().copied().map(member).collect(),
            ..Configuration::default()
        };
        let granted = |set: &BTreeSet<u8>| set.intersection(&yes).count() * 2 > set.len();
        let won = configuration.tally(|m| Some(yes.contains(&(m.node.0 as u8)))) == Tally::Won;
        let value = configuration.reached(|m| u8::from(yes.contains(&(m.node.0 as u8))));
        let expected = granted(&old) && granted(&new);
        TestResult::from_bool(won == expected && value == Some(u8::from(expected)))
    }

    fn the_window_counts_what_is_not_acknowledged(sizes: Vec<u16>, acked: u8) -> bool {
        let mut window = Inflight::default();
        for (place, size) in sizes.iter().enumerate() {
            window.sent(Index(place as u64 + 1), (*size).into());
        }
        let acked = usize::from(acked).min(sizes.len());
        window.acknowledged(Index(acked as u64));
        let rest = &sizes[acked..];
        let bytes: u64 = rest.iter().map(|size| u64::from(*size)).sum();
        window.appends() == rest.len()
            && window.bytes() == bytes
            && window.is_full(3, 1_000) == (!rest.is_empty() && (rest.len() >= 3 || bytes >= 1_000))
    }

    fn every_message_is_read_as_it_was_written(envelope: AnyEnvelope) -> bool {
        let mut frame = Vec::new();
        codec::encode_control(&envelope.0, &mut frame);
        codec::encode_bulk(&envelope.0.body, &mut frame);
        codec::decode_envelope(&Bytes::from(frame)) == Ok(envelope.0)
    }

    fn a_message_with_a_byte_more_or_less_is_refused(envelope: AnyEnvelope) -> bool {
        let mut frame = Vec::new();
        codec::encode_control(&envelope.0, &mut frame);
        codec::encode_bulk(&envelope.0.body, &mut frame);
        let mut longer = frame.clone();
        longer.push(0);
        frame.pop();
        [frame, longer].into_iter().all(|frame| codec::decode_envelope(&Bytes::from(frame)).is_err())
    }

    fn bytes_from_anywhere_are_refused_and_never_panic(bytes: Vec<u8>) -> bool {
        let bytes = Bytes::from(bytes);
        let _ = codec::decode_entries(&bytes);
        let _ = codec::decode_envelope(&bytes);
        true
    }

    fn a_flipped_byte_of_a_message_never_panics(envelope: AnyEnvelope, place: usize, with: u8) -> bool {
        let mut frame = Vec::new();
        codec::encode_control(&envelope.0, &mut frame);
        codec::encode_bulk(&envelope.0.body, &mut frame);
        let place = place % frame.len();
        frame[place] ^= with;
        let _ = codec::decode_envelope(&Bytes::from(frame));
        true
    }
}

#[test]
fn a_claimed_count_is_checked_before_anything_is_allocated_for_it() {
    let mut block = vec![0; 12];
    block[8..].copy_from_slice(&u32::MAX.to_le_bytes());
    let refused = codec::decode_entries(&Bytes::from(block)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the headers of a run of entries needs 55834574835 bytes, found 0"
    );
}

#[derive(Clone, Debug)]
struct AnyEnvelope(Envelope);

fn any_entries(g: &mut Gen) -> Vec<Entry> {
    let first = u64::from(u32::arbitrary(g));
    let payloads: Vec<Option<Vec<u8>>> = Vec::arbitrary(g);
    let entries = payloads
        .into_iter()
        .enumerate()
        .map(|(place, payload)| Entry {
            id: EntryId {
                term: Term(u64::arbitrary(g)),
                index: Index(first + place as u64),
            },
            payload: match payload {
                None => Payload::Noop,
                Some(bytes) if bytes.len() % 7 == 3 => {
                    let voters = bytes.iter().copied().map(member);
                    Payload::Configuration(Configuration::of_voters(voters).into())
                }
                Some(bytes) => Payload::Command(Bytes::from(bytes)),
            },
        });
    entries.collect()
}

fn any_id(g: &mut Gen) -> EntryId {
    EntryId {
        term: Term(u64::arbitrary(g)),
        index: Index(u64::arbitrary(g)),
    }
}

fn any_cause(g: &mut Gen) -> Cause {
    if bool::arbitrary(g) {
        return Cause::Timeout;
    }
    Cause::Transfer(LeaderRound {
        leader: member(u8::arbitrary(g)),
        term: Term(u64::arbitrary(g)),
        round: Round(u64::arbitrary(g)),
    })
}

fn any_body(g: &mut Gen) -> Body {
    match u8::arbitrary(g) % 12 {
        0 => Body::RequestPreVote { last: any_id(g) },
        1 => Body::PreVoteReply {
            granted: bool::arbitrary(g),
        },
        2 => Body::RequestVote {
            last: any_id(g),
            cause: any_cause(g),
        },
        3 => Body::VoteReply {
            granted: bool::arbitrary(g),
        },
        4 | 5 => Body::AppendEntries {
            previous: any_id(g),
            commit: Index(u64::arbitrary(g)),
            entries: any_entries(g).into(),
        },
        6 => Body::AppendReply(raft_core::AppendOutcome::Conflict {
            previous: Index(u64::arbitrary(g)),
            hint: any_id(g),
        }),
        7 => Body::Heartbeat {
            commit: Index(u64::arbitrary(g)),
            read_index: Index(u64::arbitrary(g)),
            round: Round(u64::arbitrary(g)),
            promise: Span(u64::arbitrary(g)),
            priority: u32::arbitrary(g),
        },
        8 => Body::HeartbeatReply {
            round: Round(u64::arbitrary(g)),
            received: Index(u64::arbitrary(g)),
            matched: Index(u64::arbitrary(g)),
            promised: Span(u64::arbitrary(g)),
            disk: *g
                .choose(&[DiskHealth::Healthy, DiskHealth::Stalled, DiskHealth::Full])
                .unwrap_or(&DiskHealth::Healthy),
        },
        9 => {
            let commands: Vec<Vec<u8>> = Vec::arbitrary(g);
            Body::ForwardProposals {
                commands: commands.into_iter().map(Bytes::from).collect(),
            }
        }
        10 => {
            let indexes: Vec<u64> = Vec::arbitrary(g);
            let outcomes = indexes
                .into_iter()
                .map(|i| ForwardOutcome::Appended(Index(i)));
            Body::ForwardProposalsReply {
                outcomes: outcomes.chain([ForwardOutcome::Busy]).collect(),
            }
        }
        _ => Body::ForwardReadReply {
            index: Option::<u64>::arbitrary(g).map(Index),
        },
    }
}

impl Arbitrary for AnyEnvelope {
    fn arbitrary(g: &mut Gen) -> Self {
        let member = |g: &mut Gen| Member {
            node: NodeId(u64::arbitrary(g)),
            store: StorageId(u128::arbitrary(g)),
        };
        Self(Envelope {
            from: Identity {
                group: GroupId(u64::arbitrary(g)),
                cluster: ClusterId(u128::arbitrary(g)),
                member: member(g),
            },
            boot: Boot(u64::arbitrary(g)),
            to: member(g),
            term: Term(u64::arbitrary(g)),
            session: Session {
                term: Term(u64::arbitrary(g)),
                added: Index(u64::arbitrary(g)),
                counter: u64::arbitrary(g),
            },
            body: any_body(g),
        })
    }
}
