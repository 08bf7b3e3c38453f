//! The Python half of the fork-server: prepares the interpreter, imports the app, and forks through the interpreter.
//!
//! The other half, `crate::generation`, waits for orders; while it does, the interpreter's lock is free, for a preloaded
//! app may have threads.

use std::{os::fd::OwnedFd, sync::Arc};

use nix::sys::signal::Signal;
use pyo3::{prelude::*, types::IntoPyDict};

use super::{
    app::{self, EXIT_BOOT},
    green::Library,
    hooks::{GenerationHooks, Glue, HookError},
    kind, stacks, worker, wsgi,
};
use crate::{
    config::{Config, WorkerClass},
    generation::{
        ForkServer, ImportOutput, Inherited, Order, OutputPipes, WorkerStart, other_threads,
    },
    sys::{
        self, SignalBell, die_with_parent, disregard, fork_blocked, release_program_files,
        restore_defaults, seal_heap, set_process_title, trim_heap,
    },
    telemetry::{self, Printer},
    wire::{FORMAT, FromGeneration, GenerationEnd, WorkerSettings},
};

/// Serves the arbiter at the other end. Returns the exit code, in the generation and in each worker.
pub(super) fn serve(py: Python<'_>, socket: OwnedFd) -> i32 {
    telemetry::tell_panics();
    let signals = match SignalBell::install(&ForkServer::SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            crate::error!("a generation cannot handle signals: {error}");
            return EXIT_BOOT;
        }
    };
    let mut server = ForkServer::new(GenerationEnd::open(socket), signals);
    server.report(FromGeneration::Hello {
        python: version(py),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        format: FORMAT,
    });
    let (settings, descriptors) = loop {
        match py.detach(|| server.next_order()) {
            Order::Start(settings, descriptors) => break (*settings, descriptors),
            Order::Leave => return 0,
            Order::Fork { worker, .. } => server.not_forked(worker, "not started".to_owned()),
            Order::TakeLive | Order::Retire | Order::RunHook(_) => {}
        }
    };
    server.grant(settings.config.timeouts.graceful);
    // An app that hangs while it is preloaded would outlive the arbiter. There are no workers yet that it would leave alone.
    let told = die_with_parent(true).map_err(|error| (error.to_string(), EXIT_BOOT));
    let prepared = told.and_then(|()| prepare(py, &mut server, settings, descriptors));
    match prepared {
        Ok(prepared) => {
            if let Err(error) = die_with_parent(false) {
                crate::warning!("a generation would not outlive the arbiter: {error}");
            }
            server.report(FromGeneration::Prepared);
            fork_as_told(py, server, prepared)
        }
        Err((reason, exit_code)) => {
            server.report(FromGeneration::Failed { reason });
            exit_code
        }
    }
}

/// `3.12.1`
fn version(py: Python<'_>) -> String {
    let version = py.version_info();
    format!("{}.{}.{}", version.major, version.minor, version.patch)
}

/// What is there before the first fork.
struct Prepared {
    inherited: Inherited,
    /// With `preload`.
    app: Option<Py<PyAny>>,
    /// Where any hook is set.
    glue: Option<Glue>,
    hooks: GenerationHooks,
}

/// Carries out `Start`. An error is in the log already; it is the reason to tell and the exit code.
fn prepare(
    py: Python<'_>,
    server: &mut ForkServer,
    settings: WorkerSettings,
    descriptors: Vec<OwnedFd>,
) -> Result<Prepared, (String, i32)> {
    let generation = settings.generation;
    set_process_title(&format!(
        "rgunicorn: generation {generation} [{}]",
        settings.config.proc_name
    ));
    let who = format!("generation={generation}");
    let fail = |reason: String| {
        py.detach(|| crate::error!("{who} cannot start: {reason}"));
        (reason, EXIT_BOOT)
    };
    let mut inherited =
        Inherited::unpack(settings, descriptors).map_err(|error| fail(error.to_string()))?;
    let config = &inherited.settings.config;
    stacks::dump_on_crash(py, &inherited.last_words).map_err(|error| fail(error.to_string()))?;
    server.hear_crashes(Arc::clone(&inherited.last_words));
    set_search_path(py, &inherited.settings).map_err(|error| fail(error.to_string()))?;
    if let Some(reason) =
        kind::missing_package(py, config).map_err(|error| fail(error.to_string()))?
    {
        return Err(fail(reason));
    }
    if let Some(library) = Library::of(config.worker_class) {
        library.patch(py).map_err(|error| {
            let traceback = app::formatted(py, &error).unwrap_or_default();
            let package = config.worker_class.package().unwrap_or_default();
            fail(format!(
                "{package} cannot be used: {error}\n{}",
                traceback.trim_end()
            ))
        })?;
    }
    let (glue, hooks) = load_hooks(py, &inherited.settings).map_err(|error| {
        py.detach(|| error.log(&who));
        (error.reason(), EXIT_BOOT)
    })?;
    let app = match config.preload {
        true => {
            let app = captured(py, server, config, || app::load(py, config));
            let app = app.map_err(|error| fail(error.to_string()))?;
            Some(app.map_err(|error| {
                py.detach(|| error.log(&who, &format!("`{}`", config.app.text)));
                (error.reason().to_owned(), error.exit_code())
            })?)
        }
        false => None,
    };
    if let Some(app) = &app {
        let choice = kind::choose(py, &inherited.settings.config, app);
        let choice = choice.map_err(|error| fail(error.to_string()))?;
        py.detach(|| choice.tell(&who));
        // Once for all workers, before they share the memory that it takes.
        Arc::make_mut(&mut inherited.settings.config).worker_class = choice.class;
    }
    if glue.is_some() || app.is_some() {
        server.reclaim_signals();
        warn_of_threads(py, generation, app.is_some());
    }
    if inherited.settings.config.worker_class != WorkerClass::Asgi {
        wsgi::prepare(py);
    }
    freeze(py).map_err(|error| fail(error.to_string()))?;
    if inherited.settings.config.merge_memory {
        py.detach(|| allow_merging(&who));
    }
    Ok(Prepared {
        inherited,
        app,
        glue,
        hooks,
    })
}

/// With `preload` those of workers too: what cannot be used is then known before any worker is forked.
fn load_hooks(
    py: Python<'_>,
    settings: &WorkerSettings,
) -> Result<(Option<Glue>, GenerationHooks), HookError> {
    let Some(glue) = Glue::new(py, settings)? else {
        return Ok((None, GenerationHooks::default()));
    };
    if settings.config.preload {
        glue.check_all(py, &settings.config.hooks)?;
    }
    let hooks = GenerationHooks::load(py, &glue, settings)?;
    Ok((Some(glue), hooks))
}

/// `chdir` first, as Gunicorn does, then `python_path`, then what the interpreter has.
fn set_search_path(py: Python<'_>, settings: &WorkerSettings) -> PyResult<()> {
    let config = &settings.config;
    let path = py.import("sys")?.getattr("path")?;
    let first = std::iter::once(config.chdir.clone());
    let more = config
        .python_path
        .iter()
        .map(|entry| config.chdir.join(entry));
    for (index, entry) in first.chain(more).enumerate() {
        path.call_method1("insert", (index, entry.into_os_string()))?;
    }
    Ok(())
}

/// Imports, and writes what is printed meanwhile to the error log if that is wanted; what threads of the app print later, too.
fn captured<T>(
    py: Python<'_>,
    server: &mut ForkServer,
    config: &Config,
    import: impl FnOnce() -> T,
) -> std::io::Result<T> {
    if !config.log.capture_output {
        return Ok(import());
    }
    let printer = Printer {
        pid: std::process::id(),
        worker: 0,
    };
    let output = ImportOutput::begin()?;
    let imported = import();
    flush_output(py);
    output.tell(printer)?;
    server.read_output(printer, OutputPipes::create()?.become_output()?);
    Ok(imported)
}

/// In a worker: what it prints goes to its generation. The ends that are returned have to be kept.
fn become_captured(py: Python<'_>, pipes: OutputPipes) -> Option<[OwnedFd; 2]> {
    let readers = pipes.become_output();
    for name in ["stdout", "stderr"] {
        // Lines are told when they are complete, and not when a buffer is full.
        let options = [("line_buffering", true)].into_py_dict(py);
        let stream = py.import("sys").and_then(|sys| sys.getattr(name));
        let set = stream.and_then(|stream| {
            let options = options?;
            stream.call_method("reconfigure", (), Some(&options))
        });
        // The app may have put something of its own there.
        drop(set);
    }
    match readers {
        Ok(readers) => Some(readers),
        Err(error) => {
            crate::error!("the output of this worker cannot be captured: {error}");
            None
        }
    }
}

/// What Python still has in its buffers.
fn flush_output(py: Python<'_>) {
    for name in ["stdout", "stderr"] {
        let stream = py.import("sys").and_then(|sys| sys.getattr(name));
        // A stream that the app closed has nothing to tell.
        drop(stream.and_then(|stream| stream.call_method0("flush")));
    }
}

/// Puts all objects that exist out of the garbage collector's reach: it would write to each of them, and so unshare
/// nearly all memory from the generation's. Without `preload` that is the start-up of the interpreter only, which lives
/// as long as the process too.
fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze")?;
    // A process that forks and waits needs little of the code that imported the app.
    release_program_files()?;
    trim_heap();
    seal_heap();
    Ok(())
}

/// For this process and the workers that it will fork. `who` begins the line that tells what is missing.
fn allow_merging(who: &str) {
    if let Err(error) = sys::allow_merging() {
        crate::warning!(
            "{who} the kernel cannot merge memory ({error}): `merge_memory` needs Linux 6.4, built with CONFIG_KSM; all goes on without"
        );
    } else if sys::host_merges() == Some(false) {
        crate::warning!(
            "{who} the host does not merge memory, so `merge_memory` waits until it does: run \
             `echo 1 > /sys/kernel/mm/ksm/run` as root on the host"
        );
    }
}

/// A fork copies no thread but the one that forks: what the others hold stays held for ever.
fn warn_of_threads(py: Python<'_>, generation: u64, is_preloaded: bool) {
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

fn fork_as_told(py: Python<'_>, mut server: ForkServer, prepared: Prepared) -> i32 {
    let Prepared {
        mut inherited,
        app,
        glue,
        hooks,
    } = prepared;
    let library = Library::of(inherited.settings.config.worker_class);
    let mut has_forked = false;
    loop {
        match py.detach(|| server.next_order()) {
            Order::Fork {
                worker,
                slot,
                sheet,
            } => match fork_with_pipes(py, library, &inherited.settings.config) {
                Ok((0, pipes)) => {
                    // The channel and the signals' bell are the generation's.
                    drop(server);
                    let _kept_for_life = pipes.map(|pipes| become_captured(py, pipes));
                    let start = inherited.into_worker(worker, slot, !has_forked);
                    set_process_title(&worker_title(&start));
                    return worker::run(py, start, sheet, app, glue.as_ref());
                }
                Ok((pid, pipes)) => {
                    has_forked = true;
                    if let Some(pipes) = pipes {
                        server.read_output(Printer { pid, worker }, pipes.into_readers());
                    }
                    server.forked(worker, pid);
                }
                Err(error) => server.not_forked(worker, app::told(py, &error)),
            },
            Order::RunHook(occasion) => {
                let Some(glue) = glue.as_ref().filter(|_| hooks.has(&occasion)) else {
                    continue;
                };
                match fork(py, library) {
                    Ok(0) => {
                        drop(server);
                        inherited.listeners.clear();
                        hooks.run_and_end(py, glue, &inherited.settings, &occasion)
                    }
                    Ok(pid) => server.hook_forked(pid, occasion),
                    Err(error) => {
                        crate::warning!("{} cannot be run: {error}", occasion.hook());
                    }
                }
            }
            Order::TakeLive => {
                py.detach(|| inherited.take_live());
                server.grant(inherited.settings.config.timeouts.graceful);
            }
            // An address that is given up must not be held open for as long as the last worker takes.
            Order::Retire => inherited.listeners.clear(),
            Order::Leave => return 0,
            Order::Start(..) => crate::error!("the arbiter started a generation twice"),
        }
    }
}

/// Forks; with the pipes for what the worker prints, where that is captured.
fn fork_with_pipes(
    py: Python<'_>,
    library: Option<Library>,
    config: &Config,
) -> PyResult<(u32, Option<OutputPipes>)> {
    let pipes = (config.log.capture_output)
        .then(OutputPipes::create)
        .transpose()?;
    Ok((fork(py, library)?, pipes))
}

fn worker_title(start: &WorkerStart) -> String {
    let settings = &start.inherited.settings;
    format!(
        "rgunicorn: worker {} generation {} [{}]",
        start.worker, settings.generation, settings.config.proc_name
    )
}

/// What somebody who writes `pkill -HUP rgunicorn` means for the arbiter alone: no worker dies of it.
const FOR_THE_ARBITER: [Signal; 2] = [Signal::SIGHUP, Signal::SIGUSR2];

/// Forks through the interpreter, so that what it and the app registered with `os.register_at_fork` runs. Zero in the
/// child, which begins with all other signals at their default: until the worker can drain, SIGTERM ends it.
fn fork(py: Python<'_>, library: Option<Library>) -> PyResult<u32> {
    // A patched `os.fork` would have the library's hub wait for the child, which is ours to wait for.
    let module = py.import(if library.is_some() { "posix" } else { "os" })?;
    fork_blocked(
        || module.call_method0("fork")?.extract::<u32>(),
        |pid| *pid == 0,
        || {
            // It fails for numbers that are no signals only.
            let _ = restore_defaults(&ForkServer::SIGNALS);
            let _ = disregard(&FOR_THE_ARBITER);
        },
    )
}
