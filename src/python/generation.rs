//! The Python half of the fork-server: prepares the interpreter, imports the app, and forks through the interpreter.
//!
//! The other half, `crate::generation`, waits for orders; while it does, the interpreter's lock is free, for a preloaded
//! app may have threads.

mod capture;
mod fork;
mod threads;

use std::{os::fd::OwnedFd, sync::Arc};

use pyo3::prelude::*;

use capture::captured;
use fork::{Forks, fork_as_told};
use threads::{EarlyThreads, warn_of_threads};

use super::{
    app::{self, EXIT_BOOT},
    exception,
    green::Library,
    hooks::{GenerationHooks, Glue, HookError},
    kind, output, signals, stacks, wsgi,
};
use crate::{
    config::WorkerClass,
    generation::{ForkServer, ForkServerTask, Inherited},
    sys::{
        self, SignalBell, die_with_parent, release_program_files, seal_heap, set_process_title,
        trim_heap,
    },
    telemetry,
    wire::{FORMAT, FromGeneration, GenerationEnd, WorkerSettings},
};

/// Serves the arbiter at the other end. Returns the exit code, in the generation and in each worker.
pub(super) fn serve(py: Python<'_>, socket: OwnedFd) -> i32 {
    telemetry::tell_panics();
    if let Err(error) = sys::watch_for_copies() {
        crate::error!("a generation cannot tell itself from its copies: {error}");
        return EXIT_BOOT;
    }
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
        match py.detach(|| server.next_task()) {
            ForkServerTask::Start(settings, descriptors) => break (*settings, descriptors),
            ForkServerTask::Leave => return 0,
            ForkServerTask::Fork { worker, .. } => {
                server.not_forked(worker, "not started".to_owned())
            }
            ForkServerTask::TakeLive | ForkServerTask::Retire | ForkServerTask::RunHook(_) => {}
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
    forks: Forks,
}

/// Why a generation cannot start, which is in the log already: the reason to tell, and the exit code.
type Failure = (String, i32);

fn failed(py: Python<'_>, who: &str, reason: String) -> Failure {
    py.detach(|| crate::error!("{who} cannot start: {reason}"));
    (reason, EXIT_BOOT)
}

/// Carries out `Start`.
fn prepare(
    py: Python<'_>,
    server: &mut ForkServer,
    settings: WorkerSettings,
    descriptors: Vec<OwnedFd>,
) -> Result<Prepared, Failure> {
    let generation = settings.generation;
    set_process_title(&format!(
        "rgunicorn: generation {generation} [{}]",
        settings.config.proc_name
    ));
    let who = format!("generation={generation}");
    let fail = |reason: String| failed(py, &who, reason);
    let mut inherited =
        Inherited::unpack(settings, descriptors).map_err(|error| fail(error.to_string()))?;
    let config = &inherited.settings.config;
    stacks::dump_on_crash(py, &inherited.last_words).map_err(|error| fail(error.to_string()))?;
    server.hear_crashes(Arc::clone(&inherited.last_words));
    let early = EarlyThreads::tell(py, generation);
    set_search_path(py, &inherited.settings).map_err(|error| fail(error.to_string()))?;
    signals::show(py).map_err(|error| fail(error.to_string()))?;
    server.reclaim_signals();
    if let Some(reason) =
        kind::missing_package(py, config).map_err(|error| fail(error.to_string()))?
    {
        return Err(fail(reason));
    }
    if let Some(library) = Library::of(config.worker_class) {
        library.patch(py).map_err(|error| {
            let package = config.worker_class.package().unwrap_or_default();
            fail(format!(
                "{package} cannot be used: {error}\n{}",
                exception::traceback(py, &error).trim_end()
            ))
        })?;
    }
    let (glue, hooks) = load_hooks(py, &inherited.settings).map_err(|error| {
        py.detach(|| error.log(&who));
        (error.reason(), EXIT_BOOT)
    })?;
    let app = match inherited.settings.imports_app {
        true => Some(load_app(py, server, &mut inherited, &who)?),
        false => None,
    };
    if glue.is_some() || app.is_some() {
        server.reclaim_signals();
    }
    let is_preloaded = inherited.settings.config.preload;
    // Else the app was imported to see whether it can be: its threads will be in the workers.
    if is_preloaded || app.is_none() {
        warn_of_threads(py, generation, is_preloaded, &early);
    }
    if inherited.settings.config.worker_class != WorkerClass::Asgi {
        wsgi::prepare(py);
    }
    let forks = Forks::new(py, inherited.settings.config.worker_class)
        .map_err(|error| fail(error.to_string()))?;
    output::flush(py);
    freeze(py).map_err(|error| fail(error.to_string()))?;
    if inherited.settings.config.merge_memory {
        py.detach(|| allow_merging(&who));
    }
    Ok(Prepared {
        inherited,
        app,
        glue,
        hooks,
        forks,
    })
}

/// Imports the app, and settles the class of its workers, which `auto` leaves to what the app is.
fn load_app(
    py: Python<'_>,
    server: &mut ForkServer,
    inherited: &mut Inherited,
    who: &str,
) -> Result<Py<PyAny>, Failure> {
    let fail = |error: String| failed(py, who, error);
    let config = &inherited.settings.config;
    let app = captured(py, server, config, || app::load(py, config))
        .map_err(|error| fail(error.to_string()))?
        .map_err(|error| {
            py.detach(|| error.log(who, &format!("`{}`", config.app.text)));
            (error.reason().to_owned(), error.exit_code())
        })?;
    let choice = kind::choose(py, config, &app).map_err(|error| fail(error.to_string()))?;
    py.detach(|| choice.tell(who));
    // Once for all workers, before they share the memory that it takes.
    Arc::make_mut(&mut inherited.settings.config).worker_class = choice.class;
    Ok(app)
}

/// Where the app is imported, those of workers too: what cannot be used is then known before any worker is forked.
fn load_hooks(
    py: Python<'_>,
    settings: &WorkerSettings,
) -> Result<(Option<Glue>, GenerationHooks), HookError> {
    let Some(glue) = Glue::new(py, settings)? else {
        return Ok((None, GenerationHooks::default()));
    };
    if settings.imports_app {
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
