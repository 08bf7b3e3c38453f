//! The limit: a server that runs no Python, parses next to nothing and always says the same. What a Python server
//! could at best be on this machine, with this load client. One thread, edge-triggered epoll, one send per batch of
//! pipelined requests.
//!
//! `limit 127.0.0.1:8000`; ends with SIGTERM.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, RawFd},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: limit\r\nDate: Sat, 21 Nov 2026 02:42:56 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
const CLOSING_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: limit\r\nDate: Sat, 21 Nov 2026 02:42:56 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, World!";

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;

    let mut connections: HashMap<RawFd, TcpStream> = HashMap::new();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            let number = event.data() as RawFd;
            if let Some(stream) = connections.get_mut(&number) {
                if !answer(stream) {
                    connections.remove(&number);
                }
            } else {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let number = stream.as_raw_fd();
                    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
                    epoll.add(&stream, EpollEvent::new(interest, number as u64))?;
                    connections.insert(number, stream);
                }
            }
        }
    }
}

/// Answers what arrived in one read; `false` when the connection is over.
fn answer(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            let head = &buffer[..count];
            if memchr::memmem::find(head, b"Connection: close").is_some() {
                let _ = stream.write_all(CLOSING_ANSWER);
                return false;
            }
            let requests = memchr::memmem::find_iter(head, b"\r\n\r\n").count();
            stream.write_all(&ANSWER.repeat(requests)).is_ok()
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
