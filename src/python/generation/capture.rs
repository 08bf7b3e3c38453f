//! With `log.capture_output`: what is printed while the app is imported, and by workers, goes to the error log.

use pyo3::{prelude::*, types::IntoPyDict};

use crate::{
    config::Config,
    generation::{ForkServer, ImportOutput, OutputPipes},
    python::output,
    telemetry::Printer,
};

/// Imports, and writes what is printed meanwhile to the error log if that is wanted; what threads of the app print later, too.
pub(super) fn captured<T>(
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
    output::flush(py);
    output.tell(printer)?;
    server.read_output(printer, OutputPipes::create()?.become_output()?);
    Ok(imported)
}

/// In a worker: what it prints goes to its generation.
pub(super) fn become_captured(py: Python<'_>, pipes: OutputPipes, worker: u64, generation: u32) {
    let captured = pipes.become_output_of(worker, generation);
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
    if let Err(error) = captured {
        crate::error!("the output of this worker cannot be captured: {error}");
    }
}
