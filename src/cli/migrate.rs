//! `rgunicorn migrate`: what Gunicorn is run with becomes an `rgunicorn.toml`.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{ConfigSource, OK, command::DEFAULT_FILE, init::SCHEMA_FILE, save::save, tell};
use crate::migrate::{CMD_ARGS_VARIABLE, Migration, Sources, migrate as translate};

pub(super) fn arguments() -> Vec<Arg> {
    let path = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_parser(value_parser!(PathBuf))
    };
    vec![
        Arg::new("file")
            .value_name("FILE")
            .help("Gunicorn's configuration; `gunicorn.conf.py` in the current directory is found by itself"),
        Arg::new("command")
            .value_name("GUNICORN COMMAND LINE")
            .last(true)
            .num_args(0..)
            .allow_hyphen_values(true)
            .help("What Gunicorn is started with, after `--`"),
        path("procfile")
            .value_name("FILE")
            .conflicts_with("unit")
            .help("A Procfile that starts Gunicorn"),
        path("unit")
            .value_name("FILE")
            .help("A service unit of systemd that starts Gunicorn"),
        path("python")
            .value_name("PATH")
            .help("The project's Python, which reads the configuration [default: its virtualenv's]"),
        path("output")
            .short('o')
            .value_name("FILE")
            .default_value(DEFAULT_FILE)
            .help("The new file; `-` prints it"),
        Arg::new("force")
            .long("force")
            .action(ArgAction::SetTrue)
            .help("Write over a file that is there"),
    ]
}

pub(super) fn migrate(typed: &ArgMatches) -> u8 {
    let outcome = migrated(typed).map(|told| (told, OK));
    tell(outcome.map_err(|error| format!("error: {error}")))
}

fn migrated(typed: &ArgMatches) -> Result<String, String> {
    let path = |name: &str| typed.get_one::<PathBuf>(name).cloned();
    let output = path("output").unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let is_printed = output == Path::new("-");
    let here =
        env::current_dir().map_err(|error| format!("the current directory is gone: {error}"))?;
    let destination = match output.parent() {
        Some(parent) if !is_printed => here.join(parent),
        _ => here.clone(),
    };
    let sources = Sources {
        directory: here,
        config: typed.get_one::<String>("file").cloned(),
        procfile: path("procfile"),
        unit: path("unit"),
        command: typed
            .get_many::<String>("command")
            .map(|words| words.cloned().collect())
            .unwrap_or_default(),
        cmd_args: env::var(CMD_ARGS_VARIABLE).ok(),
        has_web_concurrency: env::var_os("WEB_CONCURRENCY").is_some_and(|value| !value.is_empty()),
        python: path("python"),
        destination: destination.components().collect(),
    };
    let migration = translate(&sources).map_err(|error| error.to_string())?;
    if is_printed {
        return Ok(migration.text);
    }
    save(&output, &migration.text, typed.get_flag("force"))?;
    Ok(report(&migration, &output, &sources.destination))
}

/// What was done, and what to do next.
fn report(migration: &Migration, path: &Path, folder: &Path) -> String {
    let shown = path.display();
    let named = match path == Path::new(DEFAULT_FILE) {
        true => String::new(),
        false => format!(" -c {shown}"),
    };
    let mut lines = vec![format!(
        "{shown}: {} written, {} left out with the reason",
        counted(migration.translated, "key"),
        counted(migration.left, "setting"),
    )];
    if !migration.has_app {
        lines.push("No app was named: write `app = \"module:attribute\"` into it.".to_owned());
    } else if let Err(problems) = refused_here(path, &migration.text) {
        lines.push(format!(
            "On this machine it would not start:\n\n{problems}\n"
        ));
    }
    if !path.with_file_name(SCHEMA_FILE).exists() {
        lines.push(format!("For your editor: rgunicorn schema > {SCHEMA_FILE}"));
    }
    lines.push(format!("Try it:  rgunicorn check --app{named}"));
    if let Some(start) = &migration.start {
        let absolute = folder.join(path.file_name().unwrap_or(path.as_os_str()));
        let file = match start.is_unit {
            true => absolute,
            false => seen_from(&migration.directory, &absolute),
        };
        lines.push(format!("Start it: {}", start.successor(&file)));
    }
    lines.join("\n") + "\n"
}

/// A path within the project, where directories above it may be others on another machine; else absolute.
fn seen_from(directory: &Path, file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(file);
    match (file.strip_prefix(directory), directory.strip_prefix(folder)) {
        (Ok(below), _) => below.to_owned(),
        (_, Ok(down)) => {
            let up: PathBuf = down.components().map(|_| "..").collect();
            up.join(file.file_name().unwrap_or_default())
        }
        _ => file.to_owned(),
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

/// A user or a directory that only the server's machine has is no mistake in the file.
fn refused_here(path: &Path, text: &str) -> Result<(), String> {
    ConfigSource::alone(path)?
        .load_as(Some(text.to_owned()), false)
        .map(drop)
}
