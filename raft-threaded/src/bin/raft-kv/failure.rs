//! What a verb ends with when it did not do its work: a sentence for the operator, and an exit code for scripts.

use std::process::ExitCode;

use super::target::OutcomeUnknown;

/// A sentence for the operator.
pub(super) type Failure = Box<dyn std::error::Error>;

/// What was typed, or a setting, cannot be meant, whatever there is on this machine and in the cluster.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotUnderstood(pub(super) String);

/// As clap has it for what it does not understand itself.
const NOT_UNDERSTOOD: u8 = 2;
/// An order was given, and nobody knows what became of it.
const OUTCOME_UNKNOWN: u8 = 3;

pub(super) fn not_understood(what: impl Into<String>) -> Failure {
    NotUnderstood(what.into()).into()
}

pub(super) fn exit_code(failure: &Failure) -> ExitCode {
    if failure.is::<NotUnderstood>() {
        ExitCode::from(NOT_UNDERSTOOD)
    } else if failure.is::<OutcomeUnknown>() {
        ExitCode::from(OUTCOME_UNKNOWN)
    } else {
        ExitCode::FAILURE
    }
}
