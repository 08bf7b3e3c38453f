//! What the arbiter does, told as scripts.

mod probation;
mod roll;
mod scale;
mod start;
mod stop;
mod workers;

use super::trace;

/// A server with two workers that are ready, and have been for a minute.
const SERVED: &str = "boot 2; prepared 1; ready 1 2; wait 60";

/// What follows when the server serves.
fn trace_served(script: &str) -> String {
    rest_of_trace(SERVED, script)
}

/// The trace of `script` alone, after a prologue.
fn rest_of_trace(prologue: &str, script: &str) -> String {
    let lines = trace(prologue).lines().count();
    let told = trace(&format!("{prologue}; {script}"));
    told.lines().skip(lines).collect::<Vec<_>>().join("\n")
}
