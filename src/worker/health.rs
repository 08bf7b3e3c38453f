//! `reload.health_check`: one request that a new worker answers before it takes any connection.
//!
//! It goes the way of every request, through the reactor, the gateway and the app; only its connection is a socket pair
//! whose other end is here. What is judged is what a client would get.

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use crate::{config::HealthCheck, sys::net};

/// Between two tries.
const PAUSE_MS: u64 = 500;
/// Kept of an answer: its status and enough of its body to tell what is wrong.
const ANSWER_BYTES_MAX: usize = 4096;
/// Shown of an answer's body.
const BODY_SHOWN_MAX: usize = 200;

/// What the check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// Why, ready to print.
    Sick(String),
}

pub(super) struct Probe {
    check: HealthCheck,
    tries: u16,
    stage: Stage,
}

enum Stage {
    /// Nothing is under way until this moment, milliseconds of CLOCK_MONOTONIC.
    Pausing { until_ms: u64 },
    Asking {
        socket: UnixStream,
        answer: Vec<u8>,
        deadline_ms: u64,
    },
}

impl Probe {
    pub(super) fn new(check: HealthCheck) -> Self {
        Self {
            check,
            tries: 0,
            stage: Stage::Pausing { until_ms: 0 },
        }
    }

    /// When it wants to act: to ask again, or to give up waiting.
    pub(super) fn due_ms(&self) -> u64 {
        match self.stage {
            Stage::Pausing { until_ms } => until_ms,
            Stage::Asking { deadline_ms, .. } => deadline_ms,
        }
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking { .. })
    }

    /// Where the answer comes in, while one is awaited.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Asking { socket, .. } => Some(socket.as_fd()),
            Stage::Pausing { .. } => None,
        }
    }

    /// Sends the request; returns the end of the connection that is the server's.
    pub(super) fn ask(&mut self, now_ms: u64) -> io::Result<OwnedFd> {
        self.tries += 1;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let HealthCheck { path, host, .. } = &self.check;
        // A socket's buffer holds more than any path may be long.
        (&ours).write_all(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rgunicorn-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        self.stage = Stage::Asking {
            socket: ours,
            answer: Vec::new(),
            deadline_ms: now_ms.saturating_add(self.check.timeout.as_millis() as u64),
        };
        Ok(theirs.into())
    }

    /// Reads what has come of the answer; judges it when it is complete.
    pub(super) fn hear(&mut self, now_ms: u64) -> Option<Verdict> {
        let Stage::Asking { socket, answer, .. } = &mut self.stage else {
            return None;
        };
        loop {
            let mut received = Vec::with_capacity(ANSWER_BYTES_MAX);
            match net::receive(socket.as_fd(), &mut received) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Ok(count) if count > 0 => {
                    let room = ANSWER_BYTES_MAX - answer.len().min(ANSWER_BYTES_MAX);
                    answer.extend(received.iter().take(room));
                }
                // The end; an error is one too.
                Ok(_) | Err(_) => break,
            }
        }
        let judged = judge(&self.check, answer);
        self.conclude(judged, now_ms)
    }

    /// The time for an answer is over.
    pub(super) fn time_out(&mut self, now_ms: u64) -> Option<Verdict> {
        let reason = format!("no answer within {:?}", self.check.timeout);
        self.conclude(Err(reason), now_ms)
    }

    /// The request could not even be sent.
    pub(super) fn fail(&mut self, error: &io::Error, now_ms: u64) -> Option<Verdict> {
        self.conclude(Err(error.to_string()), now_ms)
    }

    fn conclude(&mut self, judged: Result<(), String>, now_ms: u64) -> Option<Verdict> {
        match judged {
            Ok(()) => Some(Verdict::Healthy),
            Err(reason) if self.tries >= self.check.tries => Some(Verdict::Sick(format!(
                "GET {}: {reason}{}",
                self.check.path,
                match self.tries {
                    1 => String::new(),
                    tries => format!(" ({tries} tries)"),
                }
            ))),
            Err(_) => {
                let until_ms = now_ms + PAUSE_MS;
                self.stage = Stage::Pausing { until_ms };
                None
            }
        }
    }
}

fn judge(check: &HealthCheck, answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status_line = head.lines().next().unwrap_or_default();
    let status = status_line.split_once(' ').map_or("", |(_, status)| status);
    let Some(code) = status.get(..3).and_then(|code| code.parse::<u16>().ok()) else {
        return Err("the connection was closed without an answer".to_owned());
    };
    let is_expected = match check.status {
        Some(expected) => code == expected,
        None => (200..400).contains(&code),
    };
    if is_expected {
        return Ok(());
    }
    let expected = check
        .status
        .map(|expected| format!(", not {expected}"))
        .unwrap_or_default();
    let shown: String = body.trim().chars().take(BODY_SHOWN_MAX).collect();
    let shown = match shown.as_str() {
        "" => String::new(),
        body => format!(": {:?}", body),
    };
    Err(format!("answered {status}{expected}{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read as _, time::Duration};

    fn check(status: Option<u16>, tries: u16) -> HealthCheck {
        HealthCheck {
            path: "/healthz".to_owned(),
            host: "localhost".to_owned(),
            status,
            tries,
            timeout: Duration::from_secs(5),
        }
    }

    fn judged(status: Option<u16>, answer: &str) -> Result<(), String> {
        judge(&check(status, 1), answer.as_bytes())
    }

    #[test]
    fn success_and_redirection_are_healthy_unless_a_status_is_named() {
        assert_eq!(judged(None, "HTTP/1.1 200 OK\r\n\r\nfine"), Ok(()));
        assert_eq!(judged(None, "HTTP/1.1 301 Moved\r\n\r\n"), Ok(()));
        assert_eq!(
            judged(Some(200), "HTTP/1.1 301 Moved\r\n\r\n"),
            Err("answered 301 Moved, not 200".to_owned())
        );
        assert_eq!(judged(Some(404), "HTTP/1.1 404 Not Found\r\n\r\n"), Ok(()));
    }

    #[test]
    fn a_bad_answer_is_told_with_its_status_and_the_beginning_of_its_body() {
        let body = "x".repeat(1000);
        let told = judged(None, &format!("HTTP/1.1 503 Down\r\nA: b\r\n\r\n{body}")).unwrap_err();
        assert!(told.starts_with("answered 503 Down: \"xxx"));
        assert!(told.len() < 250);
        assert!(judged(None, "").unwrap_err().contains("without an answer"));
    }

    #[test]
    fn it_asks_as_often_as_it_may_and_then_gives_the_last_reason() {
        let mut probe = Probe::new(check(None, 2));
        assert!(!probe.is_asking());
        let server = probe.ask(1000).unwrap();
        assert_eq!(probe.due_ms(), 6000);
        assert_eq!(probe.hear(1000), None);
        assert_eq!(probe.time_out(6000), None);
        drop(server);
        assert_eq!(probe.due_ms(), 6500);
        let mut server = UnixStream::from(probe.ask(6500).unwrap());
        let mut request = [0; 24];
        server.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"GET /healthz HTTP/1.1\r\nH");
        server.write_all(b"HTTP/1.1 500 No\r\n\r\n").unwrap();
        assert_eq!(probe.hear(6500), None, "the answer is not complete");
        drop(server);
        assert_eq!(
            probe.hear(6500),
            Some(Verdict::Sick(
                "GET /healthz: answered 500 No (2 tries)".to_owned()
            ))
        );
    }
}
