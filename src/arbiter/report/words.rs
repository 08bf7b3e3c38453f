//! Durations, exits and reasons as the log and the status say them.

use std::time::Duration;

use crate::{
    arbiter::core::{Exit, Failure, Misconduct, Retirement, Why},
    wire::EXIT_SICK,
};

/// `0.41s`, `12.3s`, `300s`
pub(in crate::arbiter) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.2}s")
    } else if seconds < 100.0 {
        format!("{seconds:.1}s")
    } else {
        format!("{seconds:.0}s")
    }
}

pub(in crate::arbiter) fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
            Ok(signal) => format!("signal {signal}"),
            Err(_) => format!("signal {number}"),
        },
        Exit::Unknown => "a cause that its generation took along".to_owned(),
    }
}

/// Who killed a worker that the arbiter did not: the kernel's count of such kills before and after tells.
pub(super) fn killer(before: Option<u64>, now: Option<u64>) -> &'static str {
    match (before, now) {
        (Some(before), Some(now)) if now > before => {
            " (not by the server; the kernel has killed for want of memory since this worker was started)"
        }
        _ => " (not by the server)",
    }
}

pub(super) fn limit(why: Retirement) -> &'static str {
    match why {
        Retirement::Requests => "limits.max_requests",
        Retirement::Memory => "limits.worker_memory",
    }
}

pub(super) fn reason(why: Why) -> &'static str {
    match why {
        Why::Replaced => "replaced by a newer generation",
        Why::Retired(why) => limit(why),
        Why::Scaled => "fewer workers are wanted",
        Why::Undone => "its generation was undone",
        Why::NotReady => "timeouts.boot",
        Why::Stuck => "timeouts.worker",
        Why::Stopping => "the server stops",
        Why::Outside => "told to by somebody else than the arbiter",
    }
}

pub(in crate::arbiter) fn misconduct_words(misconduct: &Misconduct) -> String {
    match misconduct {
        Misconduct::WorkersDied(count) => format!("{count} workers died or got stuck"),
        Misconduct::BootFailed(failure) => {
            format!("a worker could not be replaced: {}", failure_words(failure))
        }
        Misconduct::ProcessDied(exit) => format!("its process died of {}", exit_words(*exit)),
        Misconduct::Errors { counts, before } => format!(
            "{} of {} answers were 5xx, and {} of {} before",
            counts.errors, counts.requests, before.errors, before.requests
        ),
    }
}

pub(in crate::arbiter) fn failure_words(failure: &Failure) -> String {
    match failure {
        Failure::Said { reason, .. } => reason.clone(),
        Failure::Died { exit } => format!("its process died of {}", exit_words(*exit)),
        Failure::NotPrepared { after } => {
            format!("not prepared after {} (timeouts.boot)", seconds(*after))
        }
        Failure::NotForked { reason } => format!("no worker could be forked: {reason}"),
        Failure::WorkerDied {
            worker,
            exit: Exit::Code(EXIT_SICK),
        } => format!(
            "worker={} failed its health check (reload.health_check)",
            worker.0
        ),
        Failure::WorkerDied { worker, exit } => {
            format!("worker={} died of {}", worker.0, exit_words(*exit))
        }
        Failure::WorkerNotReady { worker, after } => format!(
            "worker={} not ready after {} (timeouts.boot)",
            worker.0,
            seconds(*after)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_with_three_digits_that_matter() {
        let told = |ms| seconds(Duration::from_millis(ms));
        assert_eq!(
            [told(412), told(31_240), told(300_000)],
            ["0.41s", "31.2s", "300s"]
        );
    }

    #[test]
    fn a_kill_by_somebody_else_is_called_that() {
        assert_eq!(killer(Some(1), Some(1)), " (not by the server)");
        assert_eq!(killer(None, Some(1)), " (not by the server)");
        assert!(killer(Some(1), Some(2)).contains("want of memory"));
    }

    #[test]
    fn an_end_is_told_by_its_signal_or_code() {
        assert_eq!(exit_words(Exit::Signal(11)), "signal SIGSEGV");
        assert_eq!(exit_words(Exit::Code(3)), "exit code 3");
    }
}
