//! Asks an interpreter what it is, by running it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, PipeReader, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use crate::{
    arbiter::activation::VARIABLES,
    sys::{Identity, PidFd, naming_task_limit},
};

/// Runs in every Python since 2.7, so that an old one can say how old it is. Its arguments: a package that has to be
/// there, or nothing, and the entries that `sys.path` will have in front. It imports next to nothing, for each roll waits
/// for it: `platform` and `sysconfig` alone would take as long as the start of the interpreter.
/// It leaves without what site modules registered for the end, which would be cut off: nobody waits for it.
const QUESTION: &str = "\
import sys
print('rgunicorn-probe')
name = getattr(getattr(sys, 'implementation', None), 'name', 'cpython')
print({'cpython': 'CPython', 'pypy': 'PyPy'}.get(name, name))
print('%d.%d.%d' % sys.version_info[:3])
print(1 if 't' in getattr(sys, 'abiflags', '') else 0)
print(sys.executable)
sys.path[:0] = sys.argv[2:]
try:
    if sys.argv[1]:
        from importlib.util import find_spec
    print(1 if not sys.argv[1] or find_spec(sys.argv[1]) else 0)
except ImportError:
    print(0)
print('end')
sys.stdout.flush()
import os
os._exit(0)
";
/// Precedes the answer: a wrapper or a site module may print lines of its own.
const MARK: &str = "rgunicorn-probe\n";
/// Bytes of output that are read at most.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Characters of a complaint that are shown.
const COMPLAINT_CHARS_MAX: usize = 300;

/// What an interpreter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) implementation: String,
    pub(super) version: (u8, u8, u8),
    pub(super) free_threaded: bool,
    pub(super) executable: Option<PathBuf>,
    /// It has the package that was asked for, if one was.
    pub(super) has_package: bool,
}

impl Facts {
    pub(super) fn version_text(&self) -> String {
        let (major, minor, micro) = self.version;
        format!("{major}.{minor}.{micro}")
    }
}

#[derive(Debug)]
pub(super) enum Failure {
    Missing,
    NotExecutable(io::Error),
    /// `/dev/null`, the standard input of all that are started here, cannot be opened.
    NoNull(io::Error),
    Silent,
    /// The last thing it said instead of an answer.
    Nonsense(String),
}

/// What surrounds the interpreter when it is asked: that which a generation will have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) chdir: &'a Path,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) python_path: &'a [PathBuf],
    /// Its site modules are code of whoever may write to its environment.
    pub(super) identity: Option<&'a Identity>,
}

/// Runs the interpreter with a question, and waits for at most `time_max`. `package`: the name of one that has to be there.
pub(super) fn probe(
    path: &Path,
    surroundings: Surroundings<'_>,
    package: Option<&str>,
    time_max: Duration,
) -> Result<Facts, Failure> {
    let nothing = File::open("/dev/null").map_err(Failure::NoNull)?;
    let (output, their_output) = io::pipe().map_err(Failure::NotExecutable)?;
    let their_errors = their_output.try_clone().map_err(Failure::NotExecutable)?;
    // The command holds their end of the pipe, so it must be gone before the end of the output can be seen.
    let mut command = Command::new(path);
    for name in VARIABLES {
        command.env_remove(name);
    }
    if let Some(identity) = surroundings.identity {
        identity.clone().give_to(&mut command);
    }
    // Only a package has to be looked for where site modules say; they may start the agent of a monitoring service, which takes
    // its time, and has nothing to watch here.
    if package.is_none() {
        command.arg("-S");
    }
    let spawned = command
        .args(["-c", QUESTION, package.unwrap_or_default()])
        .args(surroundings.python_path)
        .envs(surroundings.env)
        .current_dir(surroundings.chdir)
        .stdin(nothing)
        .stdout(their_output)
        .stderr(their_errors)
        .spawn();
    drop(command);
    let mut child = spawned.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !path.exists() => Failure::Missing,
        _ => Failure::NotExecutable(naming_task_limit(error)),
    })?;
    let pidfd = PidFd::open(child.id());
    let heard = listen(output, Instant::now() + time_max);
    // Whatever happened, it ends here. It may have been reaped already, by one who reaps all children: hence the handle. Where it
    // cannot be killed, for root may lack the capability KILL over another user's, it is not waited for.
    let is_ending = pidfd
        .and_then(|pidfd| pidfd.signal(Signal::SIGKILL))
        .is_ok();
    let _ = if is_ending {
        child.wait().map(Some)
    } else {
        child.try_wait()
    };
    heard
}

/// Reads until the answer is complete, the output ends or the time is up.
fn listen(mut output: PipeReader, deadline: Instant) -> Result<Facts, Failure> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if !wait_readable(&output, deadline) {
            return Err(Failure::Silent);
        }
        let length = output.read(&mut buffer).map_err(Failure::NotExecutable)?;
        heard.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&heard);
        if let Some(facts) = parse(&text) {
            return Ok(facts);
        }
        if length == 0 || heard.len() > OUTPUT_BYTES_MAX {
            return Err(Failure::Nonsense(last_line(&text)));
        }
    }
}

/// False when the time is up.
fn wait_readable(output: &PipeReader, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut entries = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entries, timeout) {
            Ok(ready) => return ready > 0,
            Err(_) if left.is_zero() => return false,
            Err(_) => {}
        }
    }
}

fn parse(output: &str) -> Option<Facts> {
    let (_, answer) = output.split_once(MARK)?;
    let mut lines = answer.lines();
    let implementation = lines.next()?.to_owned();
    let mut numbers = lines.next()?.split('.').map(|number| number.parse().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    let free_threaded = lines.next()? == "1";
    let executable = Path::new(lines.next()?);
    let has_package = lines.next()? == "1";
    lines.find(|line| *line == "end")?;
    Some(Facts {
        implementation,
        version,
        free_threaded,
        executable: executable.is_absolute().then(|| executable.to_owned()),
        has_package,
    })
}

/// The line in which programs say what is wrong.
fn last_line(output: &str) -> String {
    let last = output.lines().rfind(|line| !line.trim().is_empty());
    match last {
        Some(line) => line.trim().chars().take(COMPLAINT_CHARS_MAX).collect(),
        None => "it said nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_among_other_lines() {
        let output = "hello from sitecustomize\nrgunicorn-probe\nCPython\n3.12.1\n0\n/usr/bin/python3\n1\nend\n";
        let facts = parse(output).unwrap();
        assert_eq!(facts.version, (3, 12, 1));
        assert!(!facts.free_threaded && facts.has_package);
        assert_eq!(facts.executable.unwrap(), Path::new("/usr/bin/python3"));
    }

    fn probe_script(text: &str, time_max: Duration) -> Failure {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("python");
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            let surroundings = Surroundings {
                chdir: folder.path(),
                env: &BTreeMap::new(),
                python_path: &[],
                identity: None,
            };
            let failure = probe(&script, surroundings, None, time_max).unwrap_err();
            // Another test forked while the script was open for writing, and has not yet executed its program.
            let is_busy = matches!(&failure, Failure::NotExecutable(error) if error.kind() == io::ErrorKind::ExecutableFileBusy);
            if !is_busy {
                return failure;
            }
        }
    }

    #[test]
    fn a_program_that_says_nothing_is_not_waited_for_longer_than_told() {
        let begun = Instant::now();
        let failure = probe_script("#!/bin/sh\nexec sleep 60\n", Duration::from_millis(200));
        assert!(matches!(failure, Failure::Silent));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_program_that_is_no_python_is_quoted() {
        let patience = Duration::from_secs(10);
        let failure = probe_script("#!/bin/sh\necho no such command >&2\n", patience);
        assert!(matches!(failure, Failure::Nonsense(said) if said == "no such command"));
        let failure = probe_script("neither a script nor a program", patience);
        assert!(matches!(failure, Failure::NotExecutable(_)));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert_eq!(parse("rgunicorn-probe\nCPython\n3.1"), None);
        assert_eq!(
            parse("rgunicorn-probe\nCPython\n3.12.1\n0\n/usr/bin/pyth"),
            None
        );
    }

    #[test]
    fn the_last_line_tells_what_is_wrong() {
        assert_eq!(
            last_line("Traceback\n  x\nImportError: no sys\n\n"),
            "ImportError: no sys"
        );
        assert_eq!(last_line("\n"), "it said nothing");
    }
}
