//! Logs that are files: rotated, and in folders that others may write to.

use std::{
    fs,
    io::Read,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::Signal,
    unistd::{Group, User, chown},
};

use super::start_unseen;
use crate::harness::{Client, Process, Server, Setup, eventually, system_python};

/// Moves a log away, as logrotate does.
fn rotate(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::rename(&path, path.with_extension("log.1")).unwrap();
}

fn has(folder: &Path, name: &str, what: &str) -> bool {
    fs::read_to_string(folder.join(name)).is_ok_and(|text| text.contains(what))
}

#[test]
fn a_log_that_cannot_be_reopened_keeps_no_other_from_it() {
    let setup = Setup::with(
        "bind = 'unix:run.sock'\n[log]\nerror = 'syslog:{dir}/dev-log'\naccess = 'access.log'\nformat = '%(U)s'",
    );
    let folder = setup.path().to_owned();
    let daemon = UnixDatagram::bind(folder.join("dev-log")).unwrap();
    let (server, address) = start_unseen(setup);
    let get = |target: &str| Client::to(&address).get(target);
    get("/before");
    eventually("it is written", || has(&folder, "access.log", "/before"));
    drop(daemon);
    fs::remove_file(folder.join("dev-log")).unwrap();
    rotate(&folder, "access.log");
    server.signal(Signal::SIGUSR1);
    eventually("the new file is written", || {
        get("/after");
        has(&folder, "access.log", "/after")
    });

    // Nor does it keep a generation from being started that has to take the place of one that died.
    let before: i32 = get("/pid").text().parse().unwrap();
    server.generations()[0].signal(Signal::SIGKILL);
    eventually("there is another worker", || {
        get("/pid").text().parse() != Ok(before)
    });
    let daemon = UnixDatagram::bind(folder.join("dev-log")).unwrap();
    daemon
        .set_read_timeout(Some(crate::harness::DEADLINE))
        .unwrap();
    get("/error");
    let mut buffer = [0; 8192];
    eventually("the new worker finds the daemon", || {
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).contains("the app failed on GET /error")
    });
}

#[test]
fn the_error_log_stays_in_use_when_its_folder_is_gone() {
    let setup = Setup::with("bind = 'unix:run.sock'\n[log]\nerror = 'logs/error.log'");
    let folder = setup.path().to_owned();
    fs::create_dir(folder.join("logs")).unwrap();
    let (mut server, address) = start_unseen(setup);
    eventually("it serves", || has(&folder, "logs/error.log", " serving"));
    fs::rename(folder.join("logs"), folder.join("gone")).unwrap();
    let has_said = |what| has(&folder, "gone/error.log", what);
    server.signal(Signal::SIGUSR1);
    eventually("it says so", || has_said("cannot be opened"));
    server.signal(Signal::SIGUSR2);
    eventually("the upgrade is done", || {
        has_said("upgrade done") || server.has_ended()
    });
    let worker = Client::to(&address).get("/pid").text().parse().unwrap();
    Process::find(worker).unwrap().signal(Signal::SIGKILL);
    eventually("it supervises", || {
        has_said("worker=2") && has_said("died of")
    });
}

#[test]
fn hup_is_enough_after_a_rotation() {
    let setup =
        Setup::with("bind = 'unix:run.sock'\n[log]\nerror = 'error.log'\naccess = 'access.log'");
    let folder = setup.path().to_owned();
    let (server, address) = start_unseen(setup);
    eventually("it serves", || has(&folder, "error.log", " serving"));
    Client::to(&address).get("/");
    rotate(&folder, "error.log");
    rotate(&folder, "access.log");
    server.signal(Signal::SIGHUP);
    eventually("the arbiter says in the new file that it is done", || {
        has(&folder, "error.log", "reload=1 done")
    });
    assert!(!has(&folder, "error.log.1", "reload=1 done"));
    eventually("requests are in the new file", || {
        Client::to(&address).get("/after");
        has(&folder, "access.log", "/after")
    });

    // Whether or not the code is fit to serve.
    rotate(&folder, "access.log");
    server.directory.write("app.py", "import nowhere\n");
    server.signal(Signal::SIGHUP);
    eventually("it is rejected", || {
        has(&folder, "error.log", "reload=2 rejected")
    });
    eventually("requests are in the new file", || {
        Client::to(&address).get("/still");
        has(&folder, "access.log", "/still")
    });
}

/// A server that root starts for another user; `None` where there is no root or no Python for everybody.
fn for_nobody(log: &str) -> Option<(Setup, PathBuf)> {
    let system = system_python()?;
    let setup = Setup::with(&format!("user = 'nobody'\n[log]\n{log}")).python(Some(system.path));
    let folder = setup.path().to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    Some((setup, folder))
}

/// Makes a folder or a link as the workers' user could have made it.
fn give_to_nobody(path: &Path) {
    let user = User::from_name("nobody").unwrap().unwrap();
    std::os::unix::fs::lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

#[test]
fn a_user_gets_no_file_of_root_by_a_link_in_its_folder_of_logs() {
    let Some((setup, folder)) = for_nobody("error = 'logs/error.log'\naccess = 'logs/access.log'")
    else {
        return;
    };
    let secret = folder.join("secret");
    fs::write(&secret, "root's\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    give_to_nobody(&logs);
    let is_untouched = || {
        let metadata = fs::metadata(&secret).unwrap();
        metadata.uid() == 0
            && metadata.mode() & 0o777 == 0o600
            && fs::read_to_string(&secret).unwrap() == "root's\n"
    };
    let server = setup.spawn();
    eventually("it serves", || has(&logs, "error.log", " serving"));
    for name in ["access.log", "error.log"] {
        rotate(&logs, name);
        symlink(&secret, logs.join(name)).unwrap();
        give_to_nobody(&logs.join(name));
    }
    let has_said = |what| has(&logs, "error.log.1", what);
    server.signal(Signal::SIGUSR1);
    eventually("the link is refused", || {
        has_said("logs reopened") && has_said("a link of the user that workers run as")
    });
    assert!(is_untouched());
    server.signal(Signal::SIGHUP);
    eventually("the reload is rejected", || has_said("reload=1 rejected"));
    assert!(is_untouched());
    server.signal(Signal::SIGUSR2);
    eventually("the upgrade is done", || has_said("upgrade done"));
    assert!(is_untouched());

    // A link to what is not there yet.
    for name in ["access.log", "error.log"] {
        fs::remove_file(logs.join(name)).unwrap();
        symlink(folder.join("new"), logs.join(name)).unwrap();
        give_to_nobody(&logs.join(name));
    }
    server.signal(Signal::SIGUSR1);
    eventually("the link is refused", || {
        fs::read_to_string(logs.join("error.log.1"))
            .unwrap()
            .matches("logs reopened")
            .count()
            == 2
    });
    assert!(!folder.join("new").exists());
    drop(server);
}

#[test]
fn a_server_does_not_start_with_such_a_link() {
    let Some((setup, folder)) = for_nobody("error = 'logs/error.log'") else {
        return;
    };
    fs::write(folder.join("secret"), "").unwrap();
    fs::create_dir(folder.join("logs")).unwrap();
    symlink("../secret", folder.join("logs/error.log")).unwrap();
    give_to_nobody(&folder.join("logs"));
    give_to_nobody(&folder.join("logs/error.log"));
    let exit = setup.start_and_fail();
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.log.contains("a link of the user that workers run as"),
        "{}",
        exit.log
    );
}

#[test]
fn logs_of_a_server_for_another_user_go_where_an_administrator_leads_them() {
    let Some((setup, folder)) = for_nobody("access = 'logs/access.log'\nformat = '%(U)s'") else {
        return;
    };
    // A link of root's to the folder, one of the user's own in it, and a file that logrotate made.
    let (real, release) = (folder.join("real"), folder.join("real/release"));
    fs::create_dir_all(&release).unwrap();
    for path in [&real, &release] {
        give_to_nobody(path);
    }
    symlink("release", real.join("current")).unwrap();
    give_to_nobody(&real.join("current"));
    symlink(real.join("current"), folder.join("logs")).unwrap();
    let made = release.join("access.log");
    let user = User::from_name("nobody").unwrap().unwrap();
    let group = Group::from_name("adm").unwrap().unwrap();
    let make = || {
        fs::write(&made, "").unwrap();
        chown(&made, Some(user.uid), Some(group.gid)).unwrap();
        fs::set_permissions(&made, fs::Permissions::from_mode(0o640)).unwrap();
    };
    make();
    let server = setup.start();
    server.text("/one");
    eventually("it is written", || has(&release, "access.log", "/one"));
    rotate(&release, "access.log");
    make();
    server.signal(Signal::SIGUSR1);
    server.says("logs reopened");
    eventually("it is written", || {
        server.text("/two");
        has(&release, "access.log", "/two")
    });
    let metadata = fs::metadata(&made).unwrap();
    assert_eq!(metadata.gid(), group.gid.as_raw());
    assert_eq!(metadata.mode() & 0o777, 0o640);

    // Where logrotate makes none, the server does, for the workers.
    rotate(&release, "access.log");
    server.signal(Signal::SIGUSR1);
    server.says("logs reopened");
    assert_eq!(fs::metadata(&made).unwrap().uid(), user.uid.as_raw());
    eventually("it is written", || {
        server.text("/three");
        has(&release, "access.log", "/three")
    });
}

#[test]
fn logs_of_a_server_for_another_user_can_be_streams_by_name() {
    for (access, is_reached) in [
        ("/dev/stdout", true),
        ("/proc/self/fd/1", true),
        ("link", true),
        ("fifo", false),
    ] {
        let Some((setup, folder)) = for_nobody(&format!("access = '{access}'\nformat = '%(U)s'"))
        else {
            return;
        };
        symlink("/dev/stdout", folder.join("link")).unwrap();
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = fs::File::options()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&fifo)
            .unwrap();
        let server: Server = setup.start();
        server.text("/told");
        if is_reached {
            server.prints("/told");
        } else {
            let mut told = [0; 6];
            eventually("the reader of the FIFO is told", || {
                reader.read_exact(&mut told).is_ok()
            });
            assert_eq!(&told, b"/told\n");
        }
        server.signal(Signal::SIGUSR1);
        server.says("logs reopened");
    }
}
