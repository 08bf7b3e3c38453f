//! What the service manager is told, over the protocol of sd_notify(3): ready, reloading, stopping, a line of status, that
//! we live, and which sockets to keep for our successor. Without one (no `$NOTIFY_SOCKET`) nothing is told.

use std::{
    collections::{BTreeSet, VecDeque},
    env, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use super::core::Moment;
use crate::sys::{NotifySocket, monotonic_ns};

/// Messages that wait for a manager that does not read. Of more, the oldest are dropped.
const WAITING_MAX: usize = 64;

/// The manager, if there is one, and what it was told.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<NotifySocket>,
    waiting: VecDeque<(String, Vec<OwnedFd>)>,
    phase: Phase,
    status: String,
    /// Between two signs of life.
    sign_every: Option<Duration>,
    next_sign: Option<Moment>,
    /// Sockets that it keeps for us, by the name we gave them.
    kept: BTreeSet<String>,
    keeps_sockets: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Starting,
    Ready,
    Reloading,
    Stopping,
}

impl ServiceManager {
    /// The one that the environment names. `kept` are the sockets that it gave back to us.
    pub fn find(now: Moment, kept: impl IntoIterator<Item = String>) -> Self {
        let socket = env::var_os("NOTIFY_SOCKET")
            .filter(|variable| !variable.is_empty())
            .and_then(|variable| match NotifySocket::parse(&variable) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    let variable = variable.to_string_lossy();
                    crate::warning!("NOTIFY_SOCKET={variable} cannot be used: {error}");
                    None
                }
            });
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_for_us =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let within = number("WATCHDOG_USEC").filter(|usec| *usec > 1 && is_for_us);
        let sign_every = within.map(|usec| Duration::from_micros(usec / 2));
        Self {
            next_sign: sign_every.filter(|_| socket.is_some()).map(|_| now),
            socket,
            sign_every,
            kept: kept.into_iter().collect(),
            keeps_sockets: number("FDSTORE").is_some_and(|room| room > 0),
            ..Self::default()
        }
    }

    /// Whether there is anybody to tell.
    pub fn exists(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether it said that it has room for sockets (`FileDescriptorStoreMax=`; systemd 254 and later say so).
    pub fn keeps_sockets(&self) -> bool {
        self.socket.is_some() && self.keeps_sockets
    }

    /// The server serves. `MAINPID` is for a manager that started us through another program.
    pub fn ready(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            self.tell(format!("READY=1\nMAINPID={}", std::process::id()));
        }
    }

    /// This process was executed anew by one that had told that it is ready.
    pub fn is_ready_already(&mut self) {
        self.phase = Phase::Ready;
    }

    /// A reload begins. The time proves that it is not an older one that is over.
    pub fn reloading(&mut self) {
        if matches!(self.phase, Phase::Ready | Phase::Reloading) {
            self.phase = Phase::Reloading;
            self.tell(format!(
                "RELOADING=1\nMONOTONIC_USEC={}",
                monotonic_ns() / 1000
            ));
        }
    }

    /// The reload is over, whatever came of it: that is in the status.
    pub fn reloaded(&mut self) {
        if self.phase == Phase::Reloading {
            self.phase = Phase::Ready;
            self.tell("READY=1".to_owned());
        }
    }

    /// The server stops; told once.
    pub fn stopping(&mut self) {
        if self.phase != Phase::Stopping {
            self.phase = Phase::Stopping;
            self.tell("STOPPING=1".to_owned());
        }
    }

    /// One line for people, told when it changes.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            self.tell(format!("STATUS={}", status.replace('\n', " ")));
            self.status = status;
        }
    }

    /// Lets the manager keep exactly these, each under its name, and give them to the next start of this service.
    pub fn keep(&mut self, sockets: &[(String, BorrowedFd<'_>)]) {
        if self.socket.is_none() || self.phase == Phase::Stopping {
            return;
        }
        let is_wanted = |name: &String| sockets.iter().any(|(wanted, _)| wanted == name);
        let gone: Vec<String> = self
            .kept
            .iter()
            .filter(|name| !is_wanted(name))
            .cloned()
            .collect();
        for name in gone {
            self.kept.remove(&name);
            self.tell(format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
        for (name, socket) in sockets {
            if self.kept.contains(name) {
                continue;
            }
            if let Ok(copy) = socket.try_clone_to_owned() {
                self.kept.insert(name.clone());
                self.waiting
                    .push_back((format!("FDSTORE=1\nFDNAME={name}"), vec![copy]));
            }
        }
        self.flush();
    }

    /// Does what is due: a sign of life, and what could not be told before.
    pub fn tick(&mut self, now: Moment) {
        if self.next_sign.is_some_and(|at| at <= now) {
            self.next_sign = self.sign_every.map(|every| now + every);
            self.tell("WATCHDOG=1".to_owned());
        } else {
            self.flush();
        }
    }

    /// When to call [`ServiceManager::tick`] at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        self.next_sign
    }

    fn tell(&mut self, message: String) {
        if self.socket.is_some() {
            self.waiting.push_back((message, Vec::new()));
            self.flush();
        }
    }

    /// What the manager cannot take now is tried again at the next tick. One that is gone hears nothing.
    fn flush(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        while let Some((message, descriptors)) = self.waiting.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match socket.send(message, &borrowed) {
                Err(error) if passes(&error) => break,
                Ok(()) | Err(_) => self.waiting.pop_front(),
            };
        }
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }
}

/// Whether it is the manager that is busy, or this machine that has no descriptor or memory for a moment.
fn passes(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].map(Some);
    error.kind() == io::ErrorKind::WouldBlock || shortages.contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A manager that listens, and the arbiter's side.
    fn pair() -> (tempfile::TempDir, UnixDatagram, ServiceManager) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_nonblocking(true).unwrap();
        let manager = ServiceManager {
            socket: Some(NotifySocket::parse(path.as_os_str()).unwrap()),
            ..ServiceManager::default()
        };
        (folder, listening, manager)
    }

    fn heard(listening: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        std::iter::from_fn(|| {
            let length = listening.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        })
        .collect()
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn a_reload_is_told_with_its_time_and_its_end_and_none_before_the_start_is_over() {
        let (_folder, listening, mut manager) = pair();
        manager.reloading();
        manager.reloaded();
        assert_eq!(heard(&listening), Vec::<String>::new());
        manager.ready();
        manager.reloading();
        manager.reloaded();
        manager.reloaded();
        let heard = heard(&listening);
        assert_eq!(heard[0], format!("READY=1\nMAINPID={}", std::process::id()));
        assert!(heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard[2..], ["READY=1"]);
    }

    #[test]
    fn a_status_is_one_line_and_told_when_it_changes() {
        let (_folder, listening, mut manager) = pair();
        manager.status("one\ntwo".to_owned());
        manager.status("one\ntwo".to_owned());
        assert_eq!(heard(&listening), ["STATUS=one two"]);
    }

    #[test]
    fn a_sign_of_life_is_given_when_it_is_due() {
        let (_folder, listening, mut manager) = pair();
        manager.sign_every = Some(Duration::from_secs(5));
        manager.next_sign = Some(at(0));
        manager.tick(at(1));
        manager.tick(at(5));
        assert_eq!(manager.deadline(), Some(at(6)));
        manager.tick(at(6));
        assert_eq!(heard(&listening), ["WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn sockets_are_kept_once_and_let_go_by_name() {
        let (_folder, listening, mut manager) = pair();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        manager.keep(&[("a".to_owned(), socket.as_fd())]);
        manager.keep(&[("a".to_owned(), socket.as_fd())]);
        manager.keep(&[]);
        assert_eq!(
            heard(&listening),
            ["FDSTORE=1\nFDNAME=a", "FDSTOREREMOVE=1\nFDNAME=a"]
        );
    }

    /// Fills the manager's queue, however long the system lets it be.
    fn occupy(listening: &UnixDatagram) {
        let address = listening.local_addr().unwrap();
        loop {
            let sender = UnixDatagram::unbound().unwrap();
            sender.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while sender.send_to_addr(b"others", &address).is_ok() {
                sent += 1;
            }
            if sent == 0 {
                return;
            }
        }
    }

    #[test]
    fn what_a_busy_manager_could_not_take_is_told_later_and_in_order() {
        let (_folder, listening, mut manager) = pair();
        occupy(&listening);
        for number in 0..40 {
            manager.status(number.to_string());
        }
        let mut all = heard(&listening);
        all.retain(|message| message != "others");
        assert!(all.is_empty(), "the queue took more than it holds");
        while all.len() < 40 {
            manager.tick(at(0));
            all.extend(heard(&listening));
        }
        let expected: Vec<String> = (0..40).map(|number| format!("STATUS={number}")).collect();
        assert_eq!(all, expected);
    }
}
