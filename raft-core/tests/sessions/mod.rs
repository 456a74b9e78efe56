//! Client sessions (dissertation §6.3): what is sent twice takes effect once.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod alone;
mod bytes;
mod clusters;
mod model;
mod one_replica;
