//! In a container: as its first process, and without a place to write to.

use nix::sys::signal::Signal;

use crate::harness::{Setup, eventually};

#[test]
fn it_is_the_first_process_of_a_container() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("namespaces need root here");
        return;
    }
    let container = [
        "unshare",
        "--fork",
        "--pid",
        "--mount-proc",
        "--kill-child=QUIT",
    ];
    let mut server = Setup::with("workers = 2").inside(container).start();
    server.says("[1] [INFO] generation=1 workers=2 serving");
    let arbiter = server.arbiter().children()[0];
    // Processes that lost their parent are its children now, and leave no zombies.
    server.text("/orphan");
    let is_family = |process: &&crate::harness::Process| !process.title().starts_with("rgunicorn");
    eventually("orphans are reaped", || {
        !server.below().iter().any(|p| is_family(&p))
    });
    server.from_now();
    arbiter.signal(Signal::SIGUSR2);
    server.says("upgrade done");
    arbiter.signal(Signal::SIGHUP);
    server.says("reload=1 done");
    assert_eq!(server.text("/"), "hello from /");
    arbiter.signal(Signal::SIGTERM);
    eventually("it ends", || server.has_ended());
    assert!(server.has_said("stopped"));
}

#[test]
fn a_large_body_is_served_without_a_place_for_temporary_files() {
    let server = Setup::plain().environment("TMPDIR", "/nowhere").start();
    let body = vec![b'x'; 3_000_000];
    for _ in 0..2 {
        let response = server.client().post("/echo", &body);
        assert_eq!(response.status, 200);
        assert!(response.body == body);
    }
    server.says_times(1, "no temporary file can be made in /nowhere");
}
