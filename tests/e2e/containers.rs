//! In a container: as its first process, and without a place to write to.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::sys::signal::Signal;

use crate::harness::{Client, Setup, can_run, eventually, free_port, loopback, venv_python};

#[test]
fn it_is_the_first_process_of_a_container() {
    let Some(setup) = Setup::with("workers = 2").as_process_1() else {
        return;
    };
    let mut server = setup.start();
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
    server.says("stopped");
    eventually("it ends", || server.has_ended());
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

/// A shell script that becomes its arguments as nobody, as process 1, without capabilities, where nothing can be written.
///
/// The interpreter may be in a home that others may not enter; an image has it where all can read it.
const LOCKED: &str = r#"
set -e
mount --make-rprivate /
prefix=$1; shift
if ! setpriv --reuid=65534 --clear-groups test -r "$prefix"; then
    closed=/$(echo "$prefix" | cut -d/ -f2)
    mount --bind "$prefix" /mnt
    mount -t tmpfs -o mode=755 none "$closed"
    mkdir -p "$prefix"
    mount --move /mnt "$prefix"
fi
for place in / /tmp /var/tmp /run /dev/shm; do
    if mountpoint -q "$place"; then mount -o remount,bind,ro "$place"; fi
done
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"#;

/// Says who it is, what it may do and where it can write.
const PRISONER: &str = r#"
import os, tempfile

def application(environ, start_response):
    places = []
    for place in (os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", "/run"):
        try:
            tempfile.TemporaryFile(dir=place).close()
            places.append(place)
        except OSError:
            pass
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    body = f"{os.getuid()} {os.getppid() > 1} {int(status['CapEff'], 16)} {places}"
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body.encode()]
"#;

#[test]
fn it_serves_as_nobody_on_a_read_only_root_without_capabilities() {
    let namespaces = [
        "unshare",
        "--fork",
        "--pid",
        "--mount",
        "--mount-proc",
        "--kill-child=QUIT",
    ];
    if !can_run(&namespaces) {
        return;
    }
    let prefix = fs::canonicalize(venv_python()).unwrap();
    let prefix = prefix.ancestors().nth(2).unwrap();
    let container = (namespaces.iter().chain(&["sh", "-c", LOCKED, "sh"]))
        .map(OsString::from)
        .chain([prefix.into()]);
    let setup = Setup::with("workers = 2").app(PRISONER).inside(container);
    fs::set_permissions(setup.path(), Permissions::from_mode(0o755)).unwrap();
    let mut server = setup.start();
    server.says("[1] [INFO] generation=1 workers=2 serving");
    let alone = "65534 True 0 []";
    assert_eq!(server.text("/"), alone);
    // A body that would be kept in a file.
    let response = server.client().post("/", vec![b'x'; 3_000_000]);
    assert_eq!(response.text(), alone);
    server.edit("workers = 3");
    server.says("reload=1 done");
    server.arbiter().children()[0].signal(Signal::SIGTERM);
    server.says("stopped");
    eventually("it ends", || server.has_ended());
}

#[test]
fn a_save_is_noticed_where_no_file_can_be_watched() {
    // The instances of inotify are counted for each user, over all containers of a host.
    let none_left = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        r#"echo 0 > /proc/sys/user/max_inotify_instances; exec "$@""#,
        "sh",
    ];
    if !can_run(&none_left) {
        return;
    }
    let server = Setup::plain().inside(none_left).start();
    server.says_times(
        1,
        "[WARNING] files cannot be watched: Too many open files … `fs.inotify.max_user_instances`",
    );
    server.edit("workers = 2");
    server.says("reload=1 done");
}

#[test]
fn a_log_that_may_not_grow_any_more_does_not_end_the_server() {
    // `LimitFSIZE=` of a unit, `ulimit -f` of a shell; shared memory needs 14 MB.
    const FILE_BYTES_MAX: u64 = 15_000_000;
    let port = free_port();
    let config = format!("bind = '127.0.0.1:{port}'\n[log]\nerror = 'error.log'");
    let setup = Setup::with(&config).inside(["prlimit", "--fsize=15000000"]);
    let log = fs::File::create(setup.path().join("error.log")).unwrap();
    log.set_len(FILE_BYTES_MAX - 10).unwrap();
    let server = setup.spawn();
    eventually("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    server.signal(Signal::SIGUSR1);
    let response = Client::to(&loopback(port)).get("/");
    assert_eq!(response.text(), "hello from /");
    assert_eq!(log.metadata().unwrap().len(), FILE_BYTES_MAX);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn root_without_capabilities_is_told_what_it_lacks_to_become_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become another user");
        return;
    }
    let container = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let exit = Setup::with("user = 65534")
        .inside(container)
        .start_and_fail();
    assert_eq!(exit.code, Some(1));
    let told = "as user `65534`, for which root lacks the capabilities SETUID and SETGID";
    assert!(exit.log.contains(told), "{}", exit.log);
}

#[test]
fn a_user_by_number_and_localhost_need_no_files_in_etc() {
    let without_etc = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs none /etc && exec "$@""#,
        "sh",
    ];
    if !can_run(&without_etc) {
        return;
    }
    let config = "user = 0\nbind = 'localhost:0'";
    let server = Setup::with(config).inside(without_etc).start();
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn the_image_is_built_from_all_that_the_wheel_is_made_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let context = read("examples/deploy/docker/Dockerfile.dockerignore");
    let sent: Vec<&str> = context
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let is_sent = |name: &str| {
        sent.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
    };
    let manifest = read("MANIFEST.in");
    let lines = manifest.lines().filter_map(|line| {
        line.strip_prefix("include ")
            .or(line.strip_prefix("graft "))
    });
    let wanted: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    assert!(wanted.len() > 5, "{wanted:?}");
    for name in wanted {
        assert!(is_sent(name), "{name} is not among {sent:?}");
    }
}
