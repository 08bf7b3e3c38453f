//! Ends the servers of a test process that was killed. Each has a process group of its own and ends with its test; when no test
//! can do that any more, a shell beside us does, which sees the end of our pipe to it.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// Reads `start ID` and `end ID`. At the end of its input those that have not ended are told to quit; five seconds later their
/// groups are killed.
const PROGRAM: &str = r#"
guarded=' '
while read -r what id; do
    case $what in
        start) guarded="$guarded$id " ;;
        end) guarded="${guarded%% "$id" *} ${guarded#* "$id" }" ;;
    esac
done
[ -n "${guarded# }" ] || exit 0
kill -QUIT $guarded
sleep 5
for id in $guarded; do kill -KILL -"$id"; done
"#;

/// From now on this process, the leader of its group, ends when the tests end.
pub(super) fn guard(pid: u32) {
    tell("start", pid);
}

/// It has ended and was waited for: its id may be somebody else's soon.
pub(super) fn release(pid: u32) {
    tell("end", pid);
}

fn tell(what: &str, pid: u32) {
    static GUARDIAN: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let mut orders = GUARDIAN.get_or_init(start).lock().unwrap();
    // Without it the tests go on: it is only for the worst case.
    let _ = writeln!(orders, "{what} {pid}");
}

#[expect(clippy::zombie_processes, reason = "it outlives us")]
fn start() -> Mutex<ChildStdin> {
    let mut shell = Command::new("sh")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not in the group that a ^C ends.
        .process_group(0)
        .spawn()
        .unwrap();
    Mutex::new(shell.stdin.take().unwrap())
}

mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use super::super::{DEADLINE, Process, Server, eventually, within};

    const IS_VICTIM: &str = "RGUNICORN_TEST_IS_VICTIM";

    /// Runs itself in another process, and kills that.
    #[test]
    fn servers_end_with_a_test_process_that_is_killed() {
        if std::env::var_os(IS_VICTIM).is_some() {
            let server = Server::start("");
            eprintln!("victim {}", server.arbiter().pid);
            within(DEADLINE, || false);
            return;
        }
        let name = concat!(
            module_path!(),
            "::servers_end_with_a_test_process_that_is_killed"
        );
        let name = name.split_once("::").unwrap().1;
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(IS_VICTIM, "yes")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stderr.take().unwrap()).lines();
        let pid = lines
            .find_map(|line| line.unwrap().strip_prefix("victim ")?.parse().ok())
            .expect("the victim starts no server");
        let server = Process::find(pid).unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        eventually("its server is gone", || !server.is_alive());
    }
}
