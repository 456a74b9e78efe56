//! What a panic said.

use std::any::Any;

/// The message of a panic that was caught.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("without a message");
    // One line, as every other finding.
    format!(
        "panics: {}",
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}
