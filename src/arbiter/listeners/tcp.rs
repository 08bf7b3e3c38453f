//! TCP sockets that listen.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt,
        socket, sockopt,
    },
};

use super::ListenError;
use crate::{
    config::{Bind, Config, TcpBind},
    sys,
};

/// How long a client that connected and says nothing stays with the kernel, before a worker gets it.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a name may take to be resolved. The arbiter waits for it, so it is far less than a service manager's watchdog
/// allows; but a resolver asks its second server after five seconds.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(8);

/// All addresses that a host stands for; none at all and `*` mean every IPv4 address of the machine, as in Gunicorn.
pub(super) fn resolve(bind: &Bind, wanted: &TcpBind) -> Result<Vec<SocketAddr>, ListenError> {
    if wanted.host.is_empty() || wanted.host == "*" {
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, wanted.port).into()]);
    }
    let unresolved = |source| ListenError::Unresolved {
        bind: bind.clone(),
        host: wanted.host.clone(),
        source,
    };
    let resolved = sys::resolve_host(&wanted.host, wanted.port, RESOLVE_TIME_MAX);
    let mut addresses = match resolved {
        Ok(addresses) => addresses,
        // Without /etc/hosts, as in a bare chroot; the name means the loopback address all the same (RFC 6761, section 6.3).
        Err(_) if wanted.host.eq_ignore_ascii_case("localhost") => {
            vec![(Ipv4Addr::LOCALHOST, wanted.port).into()]
        }
        Err(source) => return Err(unresolved(source)),
    };
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(unresolved(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// An IPv6 wildcard takes IPv4 connections too, unless the configuration binds IPv4 on the same port by itself.
pub(super) fn leaves_v4_to_another(config: &Config, address: SocketAddr) -> bool {
    address.is_ipv6()
        && config.bind.iter().any(|bind| match bind {
            Bind::Tcp(other) => other.port == address.port() && !other.host.contains(':'),
            Bind::Unix(_) | Bind::Fd(_) | Bind::Systemd(_) => false,
        })
}

pub(super) fn is_unavailable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// A new socket that listens. `ours` are the server's own sockets on that port: an address that overlaps with one of
/// them (`0.0.0.0` and `127.0.0.1`) is free for us, though for nobody else.
pub(in crate::arbiter) fn open(
    address: SocketAddr,
    v6_only: bool,
    backlog: u32,
    ours: &[BorrowedFd<'_>],
) -> io::Result<OwnedFd> {
    match open_with(address, v6_only, backlog, &[]) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && !ours.is_empty()
                && address.port() != 0 =>
        {
            open_with(address, v6_only, backlog, ours)
        }
        other => other,
    }
}

fn open_with(
    address: SocketAddr,
    v6_only: bool,
    backlog: u32,
    sharing: &[BorrowedFd<'_>],
) -> io::Result<OwnedFd> {
    if sharing.is_empty() {
        let opened = bound(address, v6_only)?;
        listen(&opened, super::backlog(backlog))?;
        return Ok(opened);
    }
    let opened = unbound(address, v6_only)?;
    // Both sides have to agree while the new one is bound; afterwards nobody may join them.
    let share = |on: bool| -> io::Result<()> {
        for own in sharing {
            setsockopt(own, sockopt::ReusePort, &on)?;
        }
        setsockopt(&opened, sockopt::ReusePort, &on)?;
        Ok(())
    };
    share(true)?;
    let bound =
        bind_to(&opened, address).and_then(|()| Ok(listen(&opened, super::backlog(backlog))?));
    share(false)?;
    bound.map(|()| opened)
}

/// A socket that has the address and does not listen yet. Nobody else can listen there as long as it is open.
pub(super) fn bound(address: SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    let opened = unbound(address, v6_only)?;
    bind_to(&opened, address)?;
    Ok(opened)
}

fn unbound(address: SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let opened = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&opened, sockopt::ReuseAddr, &true)?;
    // Inherited by every accepted connection.
    setsockopt(&opened, sockopt::TcpNoDelay, &true)?;
    sys::net::defer_accept(opened.as_fd(), SILENCE)?;
    if address.is_ipv6() {
        setsockopt(&opened, sockopt::Ipv6V6Only, &v6_only)?;
    }
    Ok(opened)
}

fn bind_to(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(v4) => bind(socket.as_raw_fd(), &SockaddrIn::from(v4))?,
        SocketAddr::V6(v6) => bind(socket.as_raw_fd(), &SockaddrIn6::from(v6))?,
    }
    Ok(())
}

pub(super) fn set_nonblocking(socket: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
