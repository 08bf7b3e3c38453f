//! A service manager: it listens to what a service says of itself, keeps sockets for it, and passes sockets to it.

use std::{
    cell::RefCell,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    thread,
};

use rgunicorn::sys::{receive_with_descriptors, send_with_descriptors};

use super::{DEADLINE, Directory, Setup, venv_python, within};

/// Becomes the server after it has put the sockets where a service manager puts them.
const PASSING: &str = "
import fcntl, os, socket, sys
place, names, *command = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect(place)
    received = socket.recv_fds(manager, 1, 64)[1]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for fd in received]
for fd in received:
    os.close(fd)
for number, fd in enumerate(high, 3):
    os.dup2(fd, number)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
";

pub struct Manager {
    directory: Directory,
    socket: UnixDatagram,
    heard: RefCell<Vec<String>>,
    kept: RefCell<Vec<(String, OwnedFd)>>,
}

impl Default for Manager {
    fn default() -> Self {
        let directory = Directory::default();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            directory,
            socket,
            heard: RefCell::default(),
            kept: RefCell::default(),
        }
    }
}

impl Manager {
    /// A service of this manager.
    pub fn service(&self, setup: Setup) -> Setup {
        setup.environment("NOTIFY_SOCKET", self.directory.path().join("notify"))
    }

    /// A service that is started with these sockets.
    pub fn activated(&self, setup: Setup, sockets: Vec<(String, OwnedFd)>) -> Setup {
        let names: Vec<String> = sockets.iter().map(|(name, _)| name.clone()).collect();
        let place = self.directory.path().join("sockets");
        let _of_the_start_before = std::fs::remove_file(&place);
        let listener = UnixListener::bind(&place).unwrap();
        // Passed when the new process asks, so that no other process ever inherits them.
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let sockets: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
            send_with_descriptors(client.as_fd(), b"x", &sockets).unwrap();
        });
        self.service(setup).inside([
            venv_python().into_os_string(),
            "-c".into(),
            PASSING.into(),
            place.into_os_string(),
            names.join(":").into(),
        ])
    }

    /// What it keeps for the service.
    pub fn kept(&self) -> Vec<(String, OwnedFd)> {
        self.listen();
        let kept = self.kept.borrow();
        let copy = |(name, socket): &(String, OwnedFd)| (name.clone(), socket.try_clone().unwrap());
        kept.iter().map(copy).collect()
    }

    /// Waits for a message that has these lines, or the beginnings of lines, and forgets it and all before.
    #[track_caller]
    pub fn hears(&self, lines: &[&str]) -> String {
        let is_it = |message: &String| {
            let mut wanted = lines.iter();
            wanted.all(|wanted| message.lines().any(|line| line.starts_with(wanted)))
        };
        let mut found = None;
        within(DEADLINE, || {
            self.listen();
            let mut heard = self.heard.borrow_mut();
            let index = heard.iter().position(is_it);
            found = index.and_then(|index| heard.drain(..=index).next_back());
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("not told: {lines:?}, but {:#?}", self.heard.borrow()))
    }

    /// Whether there is such a line among what was told and not yet forgotten.
    pub fn has_heard(&self, line: &str) -> bool {
        self.listen();
        let heard = self.heard.borrow();
        heard
            .iter()
            .any(|message| message.lines().any(|told| told.starts_with(line)))
    }

    fn listen(&self) {
        let mut buffer = [0; 4096];
        let mut sockets = Vec::new();
        while let Ok(length) =
            receive_with_descriptors(self.socket.as_fd(), &mut buffer, &mut sockets)
        {
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.keep(&message, sockets.drain(..));
            self.heard.borrow_mut().push(message);
        }
    }

    fn keep(&self, message: &str, sockets: impl Iterator<Item = OwnedFd>) {
        let name = message
            .lines()
            .find_map(|line| line.strip_prefix("FDNAME="));
        let Some(name) = name else { return };
        let mut kept = self.kept.borrow_mut();
        if message.starts_with("FDSTOREREMOVE=1") {
            kept.retain(|(other, _)| other != name);
        }
        kept.extend(sockets.map(|socket| (name.to_owned(), socket)));
    }
}
