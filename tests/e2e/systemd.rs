//! Under a service manager: what is told to it, the sockets it hands over, and what is left when the arbiter is killed.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{APP, Address, Client, Manager, Server, Setup, eventually, free_port, within};

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

#[test]
fn ready_is_told_when_workers_are_ready_and_not_before() {
    let app = format!(
        "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n{APP}"
    );
    let manager = Manager::default();
    let server = manager.service(Setup::plain().app(&app)).spawn();
    manager.hears(&["STATUS=starting"]);
    server.says("listening at ");
    assert!(!within(Duration::from_millis(300), || manager.has_heard("READY=1")));
    server.directory.write("go", "");
    manager.hears(&["STATUS=generation 1 serves with 1 of 1 workers"]);
    let pid = format!("MAINPID={}", server.arbiter().pid);
    manager.hears(&["READY=1", &pid]);
    server.says(" ready");
    server.signal(Signal::SIGTERM);
    manager.hears(&["STOPPING=1"]);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_reload_is_told_with_its_time_and_its_outcome_whatever_it_is() {
    let manager = Manager::default();
    let server = manager.service(Setup::plain()).start();
    manager.hears(&["READY=1"]);
    let before = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    server.signal(Signal::SIGHUP);
    let told = manager.hears(&["RELOADING=1", "MONOTONIC_USEC="]);
    let (_, usec) = told.split_once("MONOTONIC_USEC=").unwrap();
    let before_usec = before.tv_sec() as u64 * 1_000_000 + before.tv_nsec() as u64 / 1000;
    assert!(usec.parse::<u64>().unwrap() >= before_usec);
    manager.hears(&["STATUS=generation 2 serves with 1 of 1 workers; reload 1 done"]);
    manager.hears(&["READY=1"]);
    server.edit_raw("app = 'app'\nworkers = 'none'\n");
    manager.hears(&["RELOADING=1"]);
    manager.hears(&["STATUS=generation 2 serves with 1 of 1 workers; reload 2 rejected"]);
    manager.hears(&["READY=1"]);
    server.edit("workers = 2");
    manager.hears(&["RELOADING=1"]);
    manager.hears(&["STATUS=generation 2 serves with 2 of 2 workers; reload 3 done"]);
    manager.hears(&["READY=1"]);
    server.directory.write("app.py", "import nowhere\n");
    server.signal(Signal::SIGHUP);
    manager.hears(&["RELOADING=1"]);
    manager.hears(&["STATUS=generation 2 serves with 2 of 2 workers; reload 4 rejected"]);
    manager.hears(&["READY=1"]);
}

#[test]
fn the_watchdog_is_told_in_time_that_the_arbiter_lives() {
    let manager = Manager::default();
    let setup = manager.service(Setup::plain().environment("WATCHDOG_USEC", "600000"));
    let _server = setup.start();
    let told = std::time::Instant::now();
    for _ in 0..4 {
        manager.hears(&["WATCHDOG=1"]);
    }
    assert!(told.elapsed() < Duration::from_millis(1800));
}

#[test]
fn what_is_meant_for_the_arbiter_does_not_reach_the_app() {
    let app = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(os.environ).encode()]
";
    let manager = Manager::default();
    let setup = Setup::plain()
        .app(app)
        .environment("WATCHDOG_USEC", "9000000");
    let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let server = manager
        .activated(setup, vec![("web".to_owned(), socket)])
        .start();
    let names = server.text("/");
    assert!(names.contains("SERVER_SOFTWARE"), "{names}");
    for name in ["NOTIFY_SOCKET", "WATCHDOG", "LISTEN_", "FDSTORE"] {
        assert!(!names.contains(name), "{names}");
    }
}

#[test]
fn passed_sockets_are_served_beside_every_bind_and_instead_of_the_default() {
    let serves = |address: &Address| Client::to(address).get("/").text() == "hello from /";
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let place = |listener: &TcpListener| Address::Tcp(listener.local_addr().unwrap());
    let manager = Manager::default();

    // Beside what is written, and once where it is written as well.
    let (first, second) = (listen(), listen());
    let (first_place, second_place) = (place(&first), place(&second));
    let Address::Tcp(address) = &first_place else {
        panic!()
    };
    let setup = Setup::with(&format!("bind = ['127.0.0.1:0', '{address}']"));
    let sockets = vec![
        ("web".to_owned(), first.into()),
        ("web".to_owned(), second.into()),
    ];
    let server = manager.activated(setup, sockets).start();
    assert_eq!(server.addresses().len(), 3, "{}", server.log());
    assert!(server.addresses().iter().all(serves));
    assert!(serves(&first_place) && serves(&second_place));
    drop(server);

    // By name, and then no others.
    let (web, other) = (listen(), listen());
    let web_place = place(&web);
    let sockets = vec![
        ("web".to_owned(), web.into()),
        ("other".to_owned(), other.into()),
    ];
    let setup = Setup::with("bind = ['127.0.0.1:0', 'systemd:web']");
    let server = manager.activated(setup, sockets).start();
    assert_eq!(server.addresses().len(), 2, "{}", server.log());
    assert!(serves(&web_place));
    server.edit("bind = 'systemd:nobody'");
    server.says("rejected … `systemd:nobody` … only `web`, `other`");
    drop(server);

    // Without a `bind`: the default gives way.
    let web = listen();
    let web_place = place(&web);
    let setup = Setup::without_file(&[
        "app",
        "--python",
        crate::harness::venv_python().to_str().unwrap(),
    ]);
    let server = manager
        .activated(setup, vec![("web.socket".to_owned(), web.into())])
        .start();
    assert_eq!(server.addresses(), [web_place]);
}

#[test]
fn a_socket_of_a_killed_arbiter_is_kept_and_nothing_in_its_backlog_is_lost() {
    let manager = Manager::default();
    let port = free_port();
    let config = format!("bind = ['127.0.0.1:{port}', 'unix:{{dir}}/run.sock']");
    let server = manager.service(Setup::with(&config)).start();
    eventually("both sockets are kept", || manager.kept().len() == 2);
    let names: Vec<String> = manager.kept().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], format!("rgunicorn.tcp.127.0.0.1%3A{port}"));
    let family = server.below();
    server.signal(Signal::SIGKILL);
    eventually("the old processes have left", || {
        family.iter().all(|process| !process.is_alive())
    });
    let mut waiting: Vec<Client> = (0..5)
        .map(|_| Client::to(&Address::Tcp(([127, 0, 0, 1], port).into())))
        .collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let next = manager
        .activated(Setup::with(&config), manager.kept())
        .start();
    for mut client in waiting {
        assert_eq!(client.response().text(), "hello from /");
    }
    // Another directory, so another UNIX socket: the kept one is let go.
    eventually("what nobody wants is let go", || {
        manager.has_heard("FDSTOREREMOVE=1") && manager.kept().len() == 2
    });
    assert!(
        next.directory
            .path()
            .join("run.sock")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777
            == 0o660
    );
}

#[test]
fn a_restart_under_a_manager_that_keeps_sockets_refuses_nobody() {
    let manager = Manager::default();
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sock");
    let config = format!("bind = ['127.0.0.1:{port}', 'unix:{}']", path.display());
    let setup = || Setup::with(&config).environment("FDSTORE", "16");
    let server = manager.service(setup()).start();
    eventually("both sockets are kept", || manager.kept().len() == 2);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
    let mut over_tcp = Client::to(&Address::Tcp(([127, 0, 0, 1], port).into()));
    let mut over_unix = Client::to(&Address::Unix(path.clone()));
    let next = manager.activated(setup(), manager.kept()).start();
    assert_eq!(over_tcp.get("/").text(), "hello from /");
    assert_eq!(over_unix.get("/").text(), "hello from /");
    drop(next);
    assert!(path.exists());
}
