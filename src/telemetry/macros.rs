//! `error!("…")` and its like: a line of the error log at each level.

/// A line at level DEBUG, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! debug {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Debug, ::core::format_args!($($message)*))
    };
}

/// A line at level INFO, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! info {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Info, ::core::format_args!($($message)*))
    };
}

/// A line at level WARNING, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! warning {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Warning, ::core::format_args!($($message)*))
    };
}

/// A line at level ERROR, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! error {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Error, ::core::format_args!($($message)*))
    };
}

/// A line at level CRITICAL, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! critical {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Critical, ::core::format_args!($($message)*))
    };
}
