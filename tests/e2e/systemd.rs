//! Under a service manager: what is told to it, the sockets it hands over, and what is left when the arbiter is killed.

use std::{io::ErrorKind, net::TcpStream};

use nix::sys::signal::Signal;

use crate::harness::{Address, Server, Setup, eventually, free_port};

fn refuses(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn an_address_that_is_given_up_refuses_while_an_old_worker_still_finishes() {
    let (stays, goes) = (free_port(), free_port());
    let server = Server::start(&format!("bind = ['127.0.0.1:{stays}', '127.0.0.1:{goes}']"));
    let mut slow = server.client();
    slow.send("GET /sleep?s=4 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(!refuses(goes));
    server.edit(&format!("bind = ['127.0.0.1:{stays}']"));
    server.says("reload … done");
    eventually("the address is free", || refuses(goes));
    assert!(
        server.generations().len() > 1,
        "the old worker has left already"
    );
    assert_eq!(slow.response().status, 200);
}

#[test]
fn a_killed_arbiter_leaves_its_address_to_the_next_while_its_workers_finish() {
    let port = free_port();
    let config = format!("bind = '127.0.0.1:{port}'\nworkers = 2\nthreads = 2");
    let server = Setup::with(&config).start();
    server.says_times(2, " ready");
    let mut slow = server.client();
    slow.send("GET /sleep?s=3 HTTP/1.1\r\nHost: test\r\n\r\n");
    let family = server.below();
    server.signal(Signal::SIGKILL);
    let next = Setup::with(&config).start();
    assert_eq!(next.text("/"), "hello from /");
    assert!(
        family.iter().any(|process| process.is_alive()),
        "nobody was left to finish"
    );
    assert_eq!(slow.response().status, 200);
    eventually("the old processes have left", || {
        family.iter().all(|process| !process.is_alive())
    });
    assert!(matches!(next.address(), Address::Tcp(address) if address.port() == port));
}
