//! `rgunicorn stacks`: what the Python code of the workers is at, now.

use clap::{Arg, Command, value_parser};
use serde_json::{Value, json};

use super::{
    Failure, Typed,
    client::{ORDER_PATIENCE, Socket},
    server_arguments, succeeded,
};
use crate::cli::{FAILED, OK};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Show the Python stacks of all threads of a worker now, or of all workers; works for one that is stuck, too")
        .arg(
            Arg::new("worker")
                .value_name("PID")
                .value_parser(value_parser!(u32))
                .help("The worker; all of them unless given"),
        )
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let socket = typed.socket()?;
    let workers = match typed.matches().get_one::<u32>("worker") {
        Some(pid) => vec![u64::from(*pid)],
        None => workers(&socket)?,
    };
    let mut all = Vec::new();
    let mut text = String::new();
    for pid in &workers {
        let asked = socket.ask("GET", &format!("/stacks?pid={pid}"), ORDER_PATIENCE)?;
        let answer = match succeeded(asked) {
            Ok(answer) => answer,
            // Of several, one may have left meanwhile, or just begun.
            Err(failure) if workers.len() > 1 => json!({ "pid": pid, "error": failure.told }),
            Err(failure) => return Err(failure),
        };
        let shown = answer["stacks"].as_str().or(answer["error"].as_str());
        let shown = shown.unwrap_or_default().trim_end();
        text.push_str(&format!("worker with pid {pid}:\n{shown}\n\n"));
        all.push(answer);
    }
    if workers.is_empty() {
        text.push_str("no worker runs");
    }
    typed.show(&json!({ "workers": all }), text.trim_end());
    let shows_any = all.iter().any(|answer| answer["stacks"].is_string());
    Ok(if shows_any || all.is_empty() {
        OK
    } else {
        FAILED
    })
}

fn workers(socket: &Socket) -> Result<Vec<u64>, Failure> {
    let status = succeeded(socket.look("/status")?)?;
    let workers = status["workers"].as_array().cloned().unwrap_or_default();
    let pids = workers.iter().map(|worker: &Value| worker["pid"].as_u64());
    Ok(pids.flatten().filter(|pid| *pid != 0).collect())
}
