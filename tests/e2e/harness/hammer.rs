//! A crowd of clients that must not notice anything while something happens to the server.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Address, Client, eventually};

/// Clients on threads of their own, each sending one request after the other.
pub struct Hammer {
    crowd: Arc<Crowd>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

struct Crowd {
    address: Address,
    target: String,
    answered: AtomicU64,
    over: AtomicBool,
}

impl Hammer {
    /// `kept` clients use one connection as long as the server lets them; `fresh` ones make one per request.
    pub fn start(address: Address, target: &str, kept: usize, fresh: usize) -> Self {
        let crowd = Arc::new(Crowd {
            address,
            target: target.to_owned(),
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let keeps = (0..kept + fresh).map(|number| number < kept);
        let clients = keeps
            .map(|keep| {
                let crowd = Arc::clone(&crowd);
                thread::spawn(move || crowd.client(keep))
            })
            .collect();
        let hammer = Self { crowd, clients };
        hammer.lands(1);
        hammer
    }

    /// Waits for `count` more answers.
    #[track_caller]
    pub fn lands(&self, count: u64) {
        let goal = self.crowd.answered.load(Relaxed) + count;
        eventually("the hammer's requests are answered", || {
            self.crowd.answered.load(Relaxed) >= goal
                || self.clients.iter().any(|c| c.is_finished())
        });
    }

    /// Stops all clients. The number of answers; every one of them was a 200, nothing failed and nothing was refused.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.crowd.over.store(true, Relaxed);
        let troubles: Vec<String> = (self.clients.into_iter())
            .flat_map(|client| client.join().unwrap())
            .collect();
        let answered = self.crowd.answered.load(Relaxed);
        let count = troubles.len();
        assert!(
            troubles.is_empty(),
            "{count} clients in trouble, {answered} requests answered: {troubles:#?}"
        );
        answered
    }
}

impl Crowd {
    /// Goes on until the end or the first trouble.
    fn client(&self, keep: bool) -> Vec<String> {
        let mut connection = None;
        let mut sent = 0;
        while !self.over.load(Relaxed) {
            sent += 1;
            if let Err(error) = self.one_request(keep, &mut connection) {
                let kind = if keep { "kept" } else { "fresh" };
                return vec![format!("{kind} client, request {sent}: {error:?}")];
            }
            thread::sleep(PAUSE);
        }
        Vec::new()
    }

    fn one_request(&self, keep: bool, connection: &mut Option<Client>) -> io::Result<()> {
        let mut client = match connection.take() {
            Some(client) => client,
            None => Client::try_to(&self.address)?,
        };
        let connection_field = if keep { "" } else { "Connection: close\r\n" };
        let target = &self.target;
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\n{connection_field}\r\n"
        ));
        let response = client.try_response("GET")?;
        if response.status != 200 {
            return Err(io::Error::other(format!("{response:?}")));
        }
        self.answered.fetch_add(1, Relaxed);
        if !response.says_close() {
            *connection = Some(client);
        }
        Ok(())
    }
}

/// Between two requests of one client: leaves the server some of a small machine.
const PAUSE: Duration = Duration::from_millis(2);
