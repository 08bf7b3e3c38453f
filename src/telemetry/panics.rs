//! A panic as a line of the error log, so that it comes through in whatever form and wherever the log goes.

use std::{any::Any, backtrace::Backtrace, panic};

use super::block;
use crate::config::LogLevel;

/// From now on panics of this process, and of those that it forks, are told to the error log. Their stack is below the line
/// where `RUST_BACKTRACE` asks for it.
pub fn tell_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let stack = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        block(
            LogLevel::Critical,
            format_args!(
                "panicked at {}: {}",
                place.as_deref().unwrap_or("an unknown place"),
                said(info.payload())
            ),
            &stack,
        );
    }));
}

/// `panic!` with a text, or with arguments.
fn said(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or(payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_is_found_in_either_form() {
        assert_eq!(said(&"plain"), "plain");
        assert_eq!(said(&format!("number {}", 1)), "number 1");
        assert_eq!(said(&1), "without a text");
    }
}
