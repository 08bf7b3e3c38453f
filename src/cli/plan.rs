//! `rgunicorn plan`: what saving the file would do to the server that runs with it, without doing it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgMatches, value_parser};

use super::{
    ConfigSource, FAILED, OK, color::wants_color, command::DEFAULT_FILE, find_server::find_server,
    source, tell,
};
use crate::{
    arbiter::{obstacles, running::Running},
    config::{Change, Config, Plan, changes},
};

/// There is something to do. As `terraform plan -detailed-exitcode` has it: different from well and from wrong, which
/// is 1 whatever is wrong: the file, the machine or the command.
const CHANGES: u8 = 2;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  nothing would change
  1  it is wrong: the file has problems, or the server would reject it, or no such server runs, or the command is not understood
  2  something would change";

pub(super) fn arguments() -> Vec<Arg> {
    vec![
        Arg::new("draft")
            .value_name("DRAFT")
            .value_parser(value_parser!(PathBuf))
            .help("A text that is not saved yet, as if it were in FILE; `-` is the standard input"),
        Arg::new("pid")
            .long("pid")
            .value_name("PID")
            .value_parser(value_parser!(u32))
            .help("The server to compare with, where several have the same file"),
    ]
}

pub(super) fn plan(before: &ArgMatches, after: &ArgMatches) -> u8 {
    tell(planned(before, after))
}

fn planned(before: &ArgMatches, after: &ArgMatches) -> Result<(String, u8), String> {
    let named = [after, before]
        .into_iter()
        .find_map(|matches| matches.get_one::<PathBuf>("config"));
    let path = named.map_or(Path::new(DEFAULT_FILE), PathBuf::as_path);
    let running = find_server(path, after.get_one("pid").copied());
    let running = running.map_err(|reason| format!("error: {reason}"))?;
    // What the server was started with stays in force, not what is typed here.
    let source = ConfigSource::of(running.standing.clone());
    let loaded = match after.get_one::<PathBuf>("draft") {
        Some(draft) => source.load_as(Some(text_of(draft)?), wants_color())?,
        None => source.load_with(wants_color())?,
    };
    let changes = changes(&running.config, &loaded.config);
    let obstacles = match changes.as_slice() {
        [] => Vec::new(),
        _ => obstacles(&running.config, &loaded.config),
    };
    let code = match (changes.as_slice(), obstacles.as_slice()) {
        ([], _) => OK,
        (_, []) => CHANGES,
        (_, _) => FAILED,
    };
    Ok((told(&running, &changes, &loaded.config, &obstacles), code))
}

fn text_of(draft: &Path) -> Result<String, String> {
    let read = if draft == Path::new("-") {
        source::text_from(io::stdin())
    } else {
        source::text_of(draft)
    };
    read.map_err(|reason| format!("error: cannot read `{}`: {reason}", draft.display()))
}

/// The words of the reload log, one change on each line, and what it costs or what is in its way.
fn told(running: &Running, changes: &[Change], wanted: &Config, obstacles: &[String]) -> String {
    let doing = if running.is_booting {
        "is booting"
    } else {
        "serves"
    };
    let mut lines = vec![format!(
        "pid={} generation={} {doing}",
        running.pid, running.generation
    )];
    lines.extend(changes.iter().map(|change| format!("  {change}")));
    if obstacles.is_empty() {
        let bytes = running.worker_bytes();
        lines.push(consequence(running, Plan::of(changes), wanted, bytes));
    }
    let rejections = obstacles
        .iter()
        .map(|reason| format!("would be rejected: {reason}"));
    lines.extend(rejections);
    lines.join("\n")
}

fn consequence(running: &Running, plan: Plan, wanted: &Config, bytes: Option<u64>) -> String {
    let workers = i32::from(wanted.workers) - i32::from(running.config.workers);
    match plan {
        Plan::Nothing => "nothing would change".to_owned(),
        Plan::Live => "no worker would be replaced".to_owned(),
        Plan::Scale if workers > 0 => format!(
            "{} would start{}",
            counted(workers.unsigned_abs()),
            cost(running, 1, workers.unsigned_abs(), bytes)
        ),
        Plan::Scale => format!("{} would leave", counted(workers.unsigned_abs())),
        Plan::Roll | Plan::Rebind => {
            let at_once = u32::from(wanted.reload.surge.min(wanted.workers).max(1));
            let rounds = u32::from(wanted.workers).div_ceil(at_once);
            let opened = match plan {
                Plan::Rebind => "new addresses would be opened and ",
                _ => "",
            };
            format!(
                "{opened}a new generation rolled in: {}, {at_once} at a time{}",
                counted(u32::from(wanted.workers)),
                cost(running, rounds, at_once, bytes)
            )
        }
    }
}

fn counted(workers: u32) -> String {
    match workers {
        1 => "1 worker".to_owned(),
        many => format!("{many} workers"),
    }
}

/// `, about 1.2s, up to 35 MiB more while it lasts`; what is not known is left out.
fn cost(running: &Running, rounds: u32, at_once: u32, bytes: Option<u64>) -> String {
    let time = running.boot.map(|boot| {
        let seconds = Duration::as_secs_f64(&(boot * rounds));
        format!(", about {seconds:.1}s")
    });
    let memory = bytes.map(|bytes| {
        let mebibytes = (bytes * u64::from(at_once)) >> 20;
        format!(", up to {mebibytes}MiB more")
    });
    [time, memory].into_iter().flatten().collect()
}
