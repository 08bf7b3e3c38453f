use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
};

use super::*;
use crate::config::{Bind, TcpBind};

fn tcp(host: &str, port: u16) -> Bind {
    Bind::Tcp(TcpBind {
        host: host.to_owned(),
        port,
    })
}

fn config(binds: &[Bind]) -> Config {
    let mut config = crate::arbiter::tests::config();
    config.bind = binds.to_vec();
    config
}

fn opened(listeners: &mut Listeners, binds: &[Bind]) -> Opened {
    listeners.open(&config(binds), true, None).unwrap()
}

fn refused(listeners: &mut Listeners, binds: &[Bind]) -> String {
    listeners
        .open(&config(binds), true, None)
        .unwrap_err()
        .to_string()
}

fn port_of(listeners: &Listeners, id: ListenerId) -> u16 {
    match listeners.passed(&[id]).0[0].address {
        ListenerAddress::Tcp(address) => address.port(),
        ListenerAddress::Unix(_) => panic!("a UNIX socket"),
    }
}

#[test]
fn a_socket_that_the_next_configuration_wants_too_is_the_same_one() {
    let mut listeners = Listeners::default();
    let first = opened(&mut listeners, &[tcp("127.0.0.1", 0)]);
    let second = opened(&mut listeners, &[tcp("127.0.0.1", 0), tcp("127.0.0.2", 0)]);
    assert_eq!(first.ids[0], second.ids[0]);
    assert_eq!(second.new, [second.ids[1]]);
    listeners.retain(&second.ids[1..].iter().copied().collect());
    assert!(listeners.addresses(&first.ids).is_empty());
}

#[test]
fn a_port_that_is_taken_is_named_and_what_was_opened_beside_it_is_closed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut listeners = Listeners::default();
    let problem = refused(
        &mut listeners,
        &[tcp("127.0.0.3", port), tcp("127.0.0.1", port)],
    );
    assert_eq!(problem, format!("`127.0.0.1:{port}` is already in use"));
    assert!(TcpListener::bind(("127.0.0.3", port)).is_ok());
}

#[test]
fn an_address_that_overlaps_with_our_own_is_free_for_us_and_for_nobody_else() {
    let mut listeners = Listeners::default();
    let wide = opened(&mut listeners, &[tcp("0.0.0.0", 0)]);
    let port = port_of(&listeners, wide.ids[0]);
    // As if the file had named the port.
    listeners.open.get_mut(&wide.ids[0]).unwrap().asked = Asked::Tcp {
        address: ([0, 0, 0, 0], port).into(),
        v6_only: false,
    };
    let narrow = opened(&mut listeners, &[tcp("127.0.0.1", port)]);
    assert_eq!(narrow.new.len(), 1);
    listeners.retain(&narrow.ids.iter().copied().collect());
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    let problem = refused(
        &mut Listeners::default(),
        &[tcp("no-such-host.invalid", 80)],
    );
    assert!(
        problem.contains("`no-such-host.invalid` cannot be resolved"),
        "{problem}"
    );
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let mut listeners = Listeners::default();
    let mut config = config(&[Bind::Unix(path.clone())]);
    config.socket_mode = 0o660;
    listeners.open(&config, true, None).unwrap();
    UnixStream::connect(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(listeners);
    assert!(!path.exists());
}

#[test]
fn a_stale_unix_socket_is_replaced_but_one_in_use_or_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let used = folder.path().join("used.sock");
    let _user = UnixListener::bind(&used).unwrap();
    let file = folder.path().join("data.txt");
    std::fs::File::create(&file)
        .unwrap()
        .write_all(b"x")
        .unwrap();

    let mut listeners = Listeners::default();
    opened(&mut listeners, &[Bind::Unix(stale.clone())]);
    UnixStream::connect(&stale).unwrap();
    let problem = refused(&mut listeners, &[Bind::Unix(used.clone())]);
    assert_eq!(
        problem,
        format!("`unix:{}` is already in use", used.display())
    );
    let problem = refused(&mut listeners, &[Bind::Unix(file.clone())]);
    assert!(problem.contains("is not a socket"), "{problem}");
    assert!(file.exists());
}

#[test]
fn a_name_that_another_server_took_over_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let mut listeners = Listeners::default();
    opened(&mut listeners, &[Bind::Unix(path.clone())]);
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(listeners);
    assert!(path.exists());
}

#[test]
fn a_name_that_somebody_removed_is_made_again_by_the_next_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let mut listeners = Listeners::default();
    let first = opened(&mut listeners, &[Bind::Unix(path.clone())]);
    std::fs::remove_file(&path).unwrap();
    let second = opened(&mut listeners, &[Bind::Unix(path.clone())]);
    assert_ne!(first.ids, second.ids);
    listeners.retain(&second.ids.iter().copied().collect());
    UnixStream::connect(&path).unwrap();
    let third = opened(&mut listeners, &[Bind::Unix(path)]);
    assert_eq!(second.ids, third.ids);
}

#[test]
fn what_was_kept_for_us_is_not_given_up_when_an_address_beside_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let wanted = |port| [Bind::Unix(path.clone()), tcp("127.0.0.1", port)];
    let mut before = Listeners::default();
    opened(&mut before, &[Bind::Unix(path.clone())]);
    let (name, socket) = before.worth_keeping().remove(0);
    let socket = socket.try_clone_to_owned().unwrap();
    before.close(true);

    let mut listeners = Listeners::default();
    listeners.kept.push((Kept::parse(&name).unwrap(), socket));
    let client = UnixStream::connect(&path).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    refused(&mut listeners, &wanted(port));
    drop(taken);
    let served = opened(&mut listeners, &wanted(port));
    let (_, sockets) = listeners.passed(&served.ids);
    let number = sockets[0].as_raw_fd();
    assert!(nix::sys::socket::accept(number).is_ok(), "who waited");
    drop(client);
}

#[test]
fn an_inherited_socket_is_adopted_again_and_again() {
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = inherited.local_addr().unwrap().port();
    let number = inherited.into_raw_fd();
    let mut listeners = Listeners::default();
    let first = opened(&mut listeners, &[Bind::Fd(number)]);
    assert_eq!(port_of(&listeners, first.ids[0]), port);
    listeners.retain(&BTreeSet::new());
    let again = opened(&mut listeners, &[Bind::Fd(number)]);
    assert_eq!(port_of(&listeners, again.ids[0]), port);
}

#[test]
fn a_descriptor_that_does_not_listen_is_refused() {
    let stream = std::os::unix::net::UnixStream::pair().unwrap().0;
    let number = stream.as_raw_fd();
    std::mem::forget(stream);
    let problem = refused(&mut Listeners::default(), &[Bind::Fd(number)]);
    assert!(problem.contains("is not a listening socket"), "{problem}");
}
