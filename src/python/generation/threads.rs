//! Threads that were started before the first fork, and that no worker will have.

use pyo3::prelude::*;

use crate::generation::other_threads;

/// A fork copies no thread but the one that forks: what the others hold stays held for ever.
pub(super) fn warn_of_threads(py: Python<'_>, generation: u64, is_preloaded: bool) {
    let names: Vec<String> = other_threads()
        .unwrap_or_default()
        .into_iter()
        .map(|thread| python_name(py, thread.id).unwrap_or_else(|| native_name(thread.name)))
        .collect();
    if names.is_empty() {
        return;
    }
    let count = match names.len() {
        1 => "a thread".to_owned(),
        many => format!("{many} threads"),
    };
    let names = names.join(", ");
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

/// A thread that a library has not given a name has that of its process.
fn native_name(name: String) -> String {
    let own = nix::sys::prctl::get_name().unwrap_or_default();
    match own.to_string_lossy() == name {
        true => "one of a native library".to_owned(),
        false => name,
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
