//! Threads that were started before the first fork, and that no worker will have: a fork copies no thread but the one
//! that forks, and what the others hold stays held for ever.

use pyo3::prelude::*;

use crate::generation::{OtherThread, other_threads};

/// Those that were started with the interpreter, before the app is imported: by the agent of a monitoring service, most likely
/// (`sitecustomize`). Such agents know of forks.
pub(super) struct EarlyThreads(Vec<OtherThread>);

impl EarlyThreads {
    pub(super) fn tell(py: Python<'_>, generation: u64) -> Self {
        let threads = other_threads().unwrap_or_default();
        if let Some((count, names)) = count_and_names(py, &threads) {
            py.detach(|| crate::info!(
                "generation={generation} {count} began with the interpreter ({names}): workers have the like only if what \
                 started them does so again after a fork"
            ));
        }
        Self(threads)
    }
}

/// Warns of those that were started since.
pub(super) fn warn_of_threads(
    py: Python<'_>,
    generation: u64,
    is_preloaded: bool,
    early: &EarlyThreads,
) {
    let mut threads = other_threads().unwrap_or_default();
    threads.retain(|thread| !early.0.iter().any(|one| one.id == thread.id));
    let Some((count, names)) = count_and_names(py, &threads) else {
        return;
    };
    let (who, advice) = match is_preloaded {
        true => (
            format!("the app started {count} while it was preloaded ({names})"),
            "start threads in the worker, or set `preload = false`",
        ),
        false => (
            format!("the module of a hook started {count} when it was imported ({names})"),
            "start threads in the worker",
        ),
    };
    py.detach(|| crate::warning!(
        "generation={generation} {who}: workers will not have them, and a lock that one of them holds while a worker is forked \
         stays locked in it; {advice}"
    ));
}

/// `None` if there are none.
fn count_and_names(py: Python<'_>, threads: &[OtherThread]) -> Option<(String, String)> {
    let count = match threads.len() {
        0 => return None,
        1 => "a thread".to_owned(),
        many => format!("{many} threads"),
    };
    let name = |thread: &OtherThread| {
        python_name(py, thread.id).unwrap_or_else(|| native_name(&thread.name))
    };
    let names: Vec<String> = threads.iter().map(name).collect();
    Some((count, names.join(", ")))
}

/// A thread that a library has not given a name has that of its process.
fn native_name(name: &str) -> String {
    let own = nix::sys::prctl::get_name().unwrap_or_default();
    match own.to_string_lossy() == name {
        true => "one of a native library".to_owned(),
        false => name.to_owned(),
    }
}

/// The name of the thread in Python's `threading`, if it is one of Python's.
fn python_name(py: Python<'_>, id: u32) -> Option<String> {
    let threads = py
        .import("threading")
        .ok()?
        .call_method0("enumerate")
        .ok()?;
    threads
        .try_iter()
        .ok()?
        .flatten()
        .find(|thread| {
            let native = thread
                .getattr("native_id")
                .and_then(|id| id.extract::<u32>());
            native.is_ok_and(|native| native == id)
        })
        .and_then(|thread| thread.getattr("name").ok()?.extract().ok())
}
