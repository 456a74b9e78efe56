//! The Redis serialization protocol: what a server receives, and what it answers.
//!
//! Requests are flat arrays of bulk strings, or inline lines; the parser knows nothing else, so that no
//! input can make it recurse. Replies come in version 2 or 3, as the client asked with `HELLO`.

mod parse;
mod reply;

pub use self::parse::{Limits, ParseError, Parser, Request};
pub use self::reply::{Protocol, Reply};
