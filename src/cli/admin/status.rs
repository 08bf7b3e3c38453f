//! `rgunicorn status`: how the server is, on one screen.

use clap::Command;

use super::{
    Failure, Typed, server_arguments,
    text::{mebibytes, safe, span, table, word},
};
use crate::{
    admin::{ReloadStatus, RequestStatus, Status, Upgrade},
    cli::{FAILED, OK},
};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Show the running server: generations, workers and what they are doing, the last reload")
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let answer = typed.look("/status")?;
    let status = serde_json::from_value(answer.clone()).map_err(|error| {
        let told = format!("the server is another version than this command: {error}\n  = help: `--json` shows what it says");
        Failure::new(FAILED, told)
    });
    match status {
        Ok(status) => typed.show(&answer, &told(&status)),
        Err(_) if typed.is_json() => typed.show(&answer, ""),
        Err(failure) => return Err(failure),
    }
    Ok(OK)
}

fn told(status: &Status) -> String {
    let mut parts = vec![summary(status), generations(status)];
    if !status.workers.is_empty() {
        parts.push(workers(status));
    }
    parts.join("\n\n")
}

fn summary(status: &Status) -> String {
    let state = word(status.state);
    let mut lines = vec![
        format!(
            "{}: {state}, up {}, pid {}, rgunicorn {}",
            status.name,
            span(status.uptime_seconds),
            status.pid,
            status.version
        ),
        format!(
            "workers   {} of {} ready",
            status.workers_ready, status.workers_wanted
        ),
    ];
    lines.extend((status.trouble.iter()).map(|trouble| format!("trouble   {trouble}")));
    if let Some(path) = &status.config_file {
        lines.push(format!("config    {path}"));
    }
    let listens = match status.addresses.as_slice() {
        [] => "nowhere".to_owned(),
        addresses => addresses.join("  "),
    };
    lines.push(format!("listens   {listens}"));
    lines.push(format!("log level {}", status.log_level.word()));
    lines.extend(status.reload.as_ref().map(reload));
    lines.extend(status.upgrade.as_ref().map(upgrade));
    lines.join("\n")
}

fn reload(reload: &ReloadStatus) -> String {
    let took = reload
        .took_seconds
        .map(|seconds| format!(" in {}", span(seconds)))
        .unwrap_or_default();
    let reason = reload.reason.as_deref().unwrap_or(&reload.told);
    format!(
        "reload    {} {}{took} at {}: {reason}",
        reload.reload,
        reload.outcome.words(),
        reload.at
    )
}

fn upgrade(upgrade: &Upgrade) -> String {
    let reason = upgrade.reason.as_ref();
    let reason = reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    format!(
        "upgrade   {} {}{reason}",
        upgrade.upgrade,
        upgrade.outcome.words()
    )
}

fn generations(status: &Status) -> String {
    let rows: Vec<Vec<String>> = status
        .generations
        .iter()
        .map(|generation| {
            vec![
                generation.generation.to_string(),
                word(generation.state),
                generation.pid.map_or("-".to_owned(), |pid| pid.to_string()),
                span(generation.age_seconds),
                mebibytes(generation.memory_bytes),
                generation.workers.to_string(),
                generation.python.clone(),
            ]
        })
        .collect();
    let head = [
        "GENERATION",
        "STATE",
        "PID",
        "AGE",
        "MEMORY",
        "WORKERS",
        "PYTHON",
    ];
    table(&head, &[0, 2, 3, 4, 5], &rows)
}

fn workers(status: &Status) -> String {
    let rows: Vec<Vec<String>> = status
        .workers
        .iter()
        .map(|worker| {
            vec![
                worker.worker.to_string(),
                worker.generation.to_string(),
                word(worker.state),
                worker.pid.to_string(),
                span(worker.age_seconds),
                mebibytes(worker.memory_bytes),
                worker.requests.to_string(),
                worker.errors.to_string(),
                worker.connections.to_string(),
                doing(&worker.in_flight),
            ]
        })
        .collect();
    let head = [
        "WORKER",
        "GENERATION",
        "STATE",
        "PID",
        "AGE",
        "MEMORY",
        "REQUESTS",
        "5XX",
        "CONNECTIONS",
        "DOING",
    ];
    table(&head, &[0, 1, 3, 4, 5, 6, 7, 8], &rows)
}

/// The oldest request, and how many there are beside it.
fn doing(in_flight: &[RequestStatus]) -> String {
    let Some(first) = in_flight.first() else {
        return "-".to_owned();
    };
    // Its width is to be that of what is shown.
    let oldest = format!("{} for {}", safe(&first.request), span(first.seconds));
    match in_flight.len() {
        1 => oldest,
        count => format!("{oldest}, and {} more", count - 1),
    }
}
