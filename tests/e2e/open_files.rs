//! The limit of open files: raised by whoever needs more, and told where that is not allowed.

use std::{collections::BTreeSet, time::Duration};

use nix::sys::resource::{Resource, getrlimit};

use crate::harness::{Client, Process, Server, Setup, within};

const ASGI_APP: &str = include_str!("apps/asgi.py");

/// What the warning about a low hard limit says.
const TOLD: &str =
    "[WARNING] … `limits.connections` is … open files in a worker … and the hard limit is …";

/// The server starts as from a shell with these limits, which have to be below those of the tests.
fn within_limits(setup: Setup, soft: u64, hard: u64) -> Option<Setup> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most < hard {
        eprintln!("needs a hard limit of {hard} open files");
        return None;
    }
    let shell = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    Some(setup.inside(["sh", "-c", &shell]))
}

fn limits_of_workers(server: &Server) -> BTreeSet<usize> {
    let workers = (server.generations().into_iter()).flat_map(Process::children);
    workers.map(Process::open_files_max).collect()
}

#[track_caller]
fn assert_serves(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.get("/pid").status, 200);
    }
}

#[test]
fn more_connections_are_held_than_the_soft_limit_allows() {
    for class in ["sync", "gthread", "asgi", "gevent"] {
        let config = format!("worker_class = '{class}'\n[limits]\nconnections = 300");
        let setup = match class {
            "asgi" => Setup::with(&config.replacen('\n', "\napp = 'app:app'\n", 1)).app(ASGI_APP),
            _ => Setup::with(&config),
        };
        let Some(setup) = within_limits(setup, 64, 4096) else {
            return;
        };
        let server = setup.start();
        assert_eq!(limits_of_workers(&server), [1324].into(), "{class}");
        let mut clients: Vec<Client> = (0..200).map(|_| server.client()).collect();
        assert_serves(&mut clients);
        assert_serves(&mut clients);
        let worker = Process::find(server.worker()).unwrap();
        assert!(worker.open_files().unwrap() > 200, "{class}: all are held");
        let log = server.log();
        assert!(!log.contains("[WARNING]"), "{class}: {log}");
    }
}

#[test]
fn a_limit_that_is_high_enough_stays_and_the_arbiter_keeps_its_own() {
    let setup = Setup::with("[limits]\nconnections = 10");
    let Some(setup) = within_limits(setup, 3000, 4096) else {
        return;
    };
    let server = setup.start();
    assert_eq!(limits_of_workers(&server), [3000].into());
    assert_eq!(server.arbiter().open_files_max(), 3000);
}

#[test]
fn what_the_app_starts_has_the_limit_of_its_worker() {
    let app = "import resource, subprocess, sys
SHOW = 'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])'
seen = [resource.getrlimit(resource.RLIMIT_NOFILE)[0]]

def application(environ, start_response):
    child = subprocess.check_output([sys.executable, '-c', SHOW], text=True)
    start_response('200 OK', [])
    return [f'{seen} {child.strip()}'.encode()]
";
    let Some(setup) = within_limits(Setup::plain().app(app), 64, 4096) else {
        return;
    };
    let server = setup.start();
    assert_eq!(server.text("/"), "[2024] 2024");
    assert!(server.arbiter().open_files_max() <= 1024);
}

#[test]
fn a_low_hard_limit_is_told_once_and_what_fits_is_served() {
    let Some(setup) = within_limits(Setup::with("workers = 2"), 64, 64) else {
        return;
    };
    let server = setup.start();
    let line = server.says(TOLD);
    assert!(line.contains("`limits.connections` is 1000,"), "{line}");
    for remedy in [
        "LimitNOFILE=",
        "ulimit -Hn",
        "lower `limits.connections` to 32",
    ] {
        assert!(line.contains(remedy), "{line}");
    }
    let mut clients: Vec<Client> = (0..120).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    server.says("cannot accept: Too many open files");
    // In the order in which they came; each makes room for another.
    for mut client in clients {
        assert_eq!(client.response().text(), "hello from /");
    }
    assert_eq!(server.log().matches("and the hard limit is").count(), 1);
}

#[test]
fn an_edit_raises_the_limit_of_workers_and_is_told_what_it_cannot_have() {
    let setup = Setup::with("[limits]\nconnections = 100");
    let Some(setup) = within_limits(setup, 64, 1400) else {
        return;
    };
    let server = setup.start();
    let pid = server.worker();
    assert_eq!(limits_of_workers(&server), [1124].into());
    let change = |config: &str| {
        server.edit(config);
        server.says("reload= … done in ");
    };
    change("[limits]\nconnections = 300");
    assert_eq!(limits_of_workers(&server), [1324].into());
    change("[limits]\nconnections = 50");
    assert_eq!(limits_of_workers(&server), [1324].into(), "never lowered");
    assert!(!server.log().contains("and the hard limit is"));

    change("[limits]\nconnections = 1000");
    assert!(server.has_said("`limits.connections` is 1000 (rgunicorn.toml:"));
    assert!(server.has_said(TOLD));
    assert_eq!(limits_of_workers(&server), [1400].into(), "all there is");
    change("[limits]\nconnections = 1000\nheaders = 50");
    within(Duration::from_millis(100), || false);
    assert_eq!(server.log().matches("and the hard limit is").count(), 1);
    assert_eq!(server.worker(), pid, "nobody was replaced");
}

/// For each worker, the arbiter keeps two descriptors, and a generation that reads what they print two pipes.
#[test]
fn arbiter_and_generation_have_room_for_many_workers() {
    let config = "workers = 30\npreload = true\n[log]\ncapture_output = true";
    let Some(setup) = within_limits(Setup::with(config), 64, 4096) else {
        return;
    };
    let server = setup.start();
    server.says_times(30, " ready");
    assert!(server.arbiter().open_files().unwrap() > 64);
    assert!(server.generations()[0].open_files().unwrap() > 64);
    assert_eq!(server.text("/"), "hello from /");
}
