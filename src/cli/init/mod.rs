//! `rgunicorn init`: a starter file, commented, for the project in the current directory.

mod project;
mod starter;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use super::{
    ConfigSource, OK,
    command::{DEFAULT_FILE, SCHEMA_FILE, file_flag},
    machine::current_directory,
    save::save,
    tell,
};
use crate::config::schema_text;
use project::Project;

pub(super) fn arguments() -> Vec<Arg> {
    vec![
        Arg::new("app").value_name("APP").help("The app, where it is not to be looked for: `module:attribute`"),
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .default_value(DEFAULT_FILE)
            .help("The new file, whose directory is looked at; `-` prints it"),
        Arg::new("no-schema")
            .long("no-schema")
            .action(ArgAction::SetTrue)
            .help("Do not write `rgunicorn.schema.json`, by which editors know the keys, beside it"),
        Arg::new("force")
            .long("force")
            .action(ArgAction::SetTrue)
            .help("Write over a file that is there, and do without `migrate` where Gunicorn is configured"),
    ]
}

pub(super) fn init(typed: &ArgMatches) -> u8 {
    let outcome = written(typed).map(|told| (told, OK));
    tell(outcome.map_err(|error| format!("error: {error}")))
}

fn written(typed: &ArgMatches) -> Result<String, String> {
    let path = typed.get_one::<PathBuf>("output").cloned();
    let path = path.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let is_forced = typed.get_flag("force");
    let here = current_directory()?;
    let folder = here.join(path.parent().unwrap_or(Path::new("")));
    let mut project = Project::look(&folder);
    if let Some(app) = typed.get_one::<String>("app") {
        project.name_app(&folder, app);
    }
    if let Some(gunicorn) = project.gunicorn.filter(|_| !is_forced) {
        return Err(format!(
            "`{gunicorn}` says how to run Gunicorn: `rgunicorn migrate{}` carries it over",
            if gunicorn == "Procfile" {
                " --procfile Procfile"
            } else {
                ""
            }
        ));
    }
    let Some(app) = &project.app else {
        return Err(format!(
            "no app was found in `{}`: name it, `rgunicorn init module:attribute`",
            folder.display()
        ));
    };
    let told_app = app.told();
    let text = starter::text(&project, app);
    let refused = |problems| format!("the new file would not be valid:\n{problems}");
    ConfigSource::alone(&path)?
        .load_as(Some(text.clone()), false)
        .map_err(refused)?;
    if path == Path::new("-") {
        return Ok(text);
    }
    save(&path, &text, is_forced)?;
    let mut told = format!("{}: {told_app}\n", path.display());
    for other in &project.other_apps {
        told.push_str(&format!("There is also {}\n", other.told()));
    }
    if !typed.get_flag("no-schema") {
        told.push_str(&write_schema(&folder));
    }
    let named = file_flag(&path);
    told.push_str(&format!(
        "Try it:   rgunicorn check --app{named}\nStart it: rgunicorn{named}\n"
    ));
    Ok(told)
}

/// A schema that is there is left alone. That it cannot be written is no reason to fail: the server needs none.
fn write_schema(folder: &Path) -> String {
    let path = folder.join(SCHEMA_FILE);
    let made = File::create_new(&path);
    match made.and_then(|mut file| file.write_all(schema_text().as_bytes())) {
        Ok(()) => format!("{SCHEMA_FILE}: for editors, see its first line\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => String::new(),
        Err(error) => format!("{SCHEMA_FILE} cannot be written: {error}\n"),
    }
}
