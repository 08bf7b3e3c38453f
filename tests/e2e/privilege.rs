//! What code of the app, which another user may run, cannot make the arbiter do, which may be root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{APP, Server, Setup, eventually, phrases::APPLIED, system_python, within};

/// A process that is nothing to the server.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    #[track_caller]
    fn lives_on(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it was killed");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An app that does this in its generation, just before the first worker is forked, and then has the generation die.
fn before_the_first_fork(evil: &str) -> String {
    let indented = evil.trim().replace('\n', "\n    ");
    format!(
        "
import array, glob, json, mmap, os, socket, struct, sys
victim = int(os.environ['VICTIM'])
def evil():
    if os.path.exists('done'):
        return
    open('done', 'w').close()
    {indented}
    os.kill(os.getpid(), 9)
os.register_at_fork(before=evil)
{APP}"
    )
}

/// The server ends, or starts anew, without a word to the stranger.
fn spares_a_stranger(evil: &str) -> Server {
    let stranger = Stranger::start();
    let server = Setup::with("preload = true\n[timeouts]\nboot = '1s'")
        .app(&before_the_first_fork(evil))
        .environment("VICTIM", stranger.pid())
        .spawn();
    assert!(
        within(Duration::from_secs(20), || server.has_said("SIGKILL")),
        "the generation has died"
    );
    // Longer than a worker may take to boot, and then to end.
    std::thread::sleep(Duration::from_millis(2500));
    stranger.lives_on();
    server
}

#[test]
fn a_pid_that_was_written_into_a_workers_slot_is_not_killed() {
    // The slot of the first worker, which boots and has not told its pid.
    spares_a_stranger(
        "
board = next(fd for fd in glob.glob('/proc/self/fd/*') if 'rgunicorn-scoreboard' in os.readlink(fd))
memory = mmap.mmap(os.open(board, os.O_RDWR), 0)
at = memory.find(struct.pack('=IIQQ', 1, 0, 1, 1))
assert at >= 0, 'the slot is elsewhere'
memory[at + 4:at + 8] = struct.pack('=I', victim)
",
    );
}

#[test]
fn a_stranger_that_is_named_as_a_worker_is_not_killed() {
    let server = spares_a_stranger(
        "
channel = socket.socket(fileno=sys.modules['__main__'].descriptor)
message = json.dumps({'Forked': {'worker': 1, 'pid': victim}}).encode()
channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [os.pidfd_open(victim)]))])
",
    );
    server.says("names a stranger as worker=1 … no child of it");
}

/// A server with a virtualenv in its directory, and that directory's mode. `None` where it cannot run as another user.
fn with_environment(config: &str, mode: u32) -> Option<Setup> {
    let system = system_python()?;
    let (major, minor) = system.version;
    let setup = Setup::with(config)
        .python(Some("venv".into()))
        .file("venv/pyvenv.cfg", "home = /usr/bin\n")
        .file(
            &format!("venv/lib/python{major}.{minor}/site-packages/who.pth"),
            "import os; print(os.geteuid(), file=open('told/who', 'a'))\n",
        );
    let folder = setup.path().to_owned();
    fs::create_dir_all(folder.join("venv/bin")).unwrap();
    symlink(&system.path, folder.join("venv/bin/python")).unwrap();
    fs::create_dir(folder.join("told")).unwrap();
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    allow(&folder.join("told"), 0o777);
    allow(&folder, mode);
    Some(setup)
}

#[test]
fn an_environment_that_the_user_may_write_runs_nothing_as_root() {
    let Some(setup) = with_environment("user = 'nobody'", 0o755) else {
        return;
    };
    let server = setup.start();
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let told = server.directory.read("told/who");
    // Both times the interpreter is asked what it is, and then becomes a generation.
    assert!(told.lines().count() >= 4, "{told}");
    assert!(
        told.lines().all(|line| line == nobody.uid.to_string()),
        "{told}"
    );
}

#[test]
fn an_interpreter_that_the_user_may_not_run_is_told_with_the_closed_folder() {
    let Some(setup) = with_environment("user = 'nobody'", 0o700) else {
        return;
    };
    let folder = setup.path().display().to_string();
    let exit = setup.start_and_fail();
    let told = format!("cannot be executed as user `nobody`, who may not enter `{folder}`");
    assert!(exit.log.contains(&told), "{}", exit.log);
    assert_eq!(exit.code, Some(1));
    // Root may.
    let server = with_environment("", 0o700).unwrap().start();
    assert_eq!(server.text("/"), "hello from /");
}

/// A server that root starts for another user, in a folder of that user's where `plant` has been at work. `None` where it cannot be.
fn in_a_folder_of_nobodys(config: &str, plant: impl FnOnce(&Path)) -> Option<Setup> {
    let setup = Setup::with(config).python(Some(system_python()?.path));
    fs::set_permissions(setup.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let run = setup.path().join("run");
    fs::create_dir(&run).unwrap();
    plant(&run);
    give_to_nobody(&run);
    for entry in fs::read_dir(&run).unwrap() {
        give_to_nobody(&entry.unwrap().path());
    }
    Some(setup)
}

fn give_to_nobody(path: &Path) {
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

#[test]
fn root_is_led_nowhere_by_what_the_user_puts_in_the_place_of_the_pidfile() {
    const CONFIG: &str = "user = 'nobody'\npidfile = 'run/server.pid'";
    type Plant = fn(&Path);
    let plants: [(Plant, &str); 3] = [
        (
            |run| symlink("../made", run.join("server.pid")).unwrap(),
            "a link of the user that workers run as",
        ),
        (
            |run| symlink("../empty", run.join("server.pid")).unwrap(),
            "a link of the user that workers run as",
        ),
        (
            |run| {
                let mode = nix::sys::stat::Mode::S_IRWXU;
                nix::unistd::mkfifo(&run.join("server.pid"), mode).unwrap();
            },
            "it is a pipe or a device",
        ),
    ];
    for (plant, told) in plants {
        let Some(setup) = in_a_folder_of_nobodys(CONFIG, plant) else {
            return;
        };
        let folder = setup.path().to_owned();
        fs::write(folder.join("empty"), "").unwrap();
        let server = setup.spawn();
        server.says(told);
        assert!(!folder.join("made").exists());
        assert_eq!(fs::read_to_string(folder.join("empty")).unwrap(), "");
        assert_eq!(server.ended().code, Some(1));
    }
}

#[test]
fn root_is_led_nowhere_by_a_pidfile_that_an_edit_names() {
    const CONFIG: &str = "user = 'nobody'\npidfile = 'run/server.pid'";
    let plant = |run: &Path| {
        symlink("../made", run.join("next.pid")).unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&run.join("fifo"), mode).unwrap();
    };
    let Some(setup) = in_a_folder_of_nobodys(CONFIG, plant) else {
        return;
    };
    let server = setup.start();
    let run = server.directory.path().join("run");
    for (name, told) in [
        ("next.pid", "a link of the user that workers run as"),
        ("fifo", "it is a pipe or a device"),
    ] {
        server.edit(&CONFIG.replace("server.pid", name));
        server.says(told);
        server.says("done");
    }
    assert!(!server.directory.path().join("made").exists());
    // Where the folder's name leads meanwhile, nothing of ours is.
    let (aside, stranger) = (run.with_file_name("aside"), run.join("server.pid"));
    fs::rename(&run, &aside).unwrap();
    fs::create_dir(&run).unwrap();
    fs::write(&stranger, "1\n").unwrap();
    server.edit("user = 'nobody'");
    eventually("ours is removed", || !aside.join("server.pid").exists());
    assert!(stranger.exists());
}
