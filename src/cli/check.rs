//! `rgunicorn check`: everything that is wrong, without serving anything.

use clap::ArgMatches;

use super::{ConfigSource, OK, color::wants_color, tell};
use crate::{
    arbiter::{trial, with_causes},
    config::{Loaded, LogLevel},
};

/// Looks at the text and imports the app; with `boots`, boots a worker with it, too.
pub(super) fn check(typed: &[&ArgMatches], boots: bool) -> u8 {
    tell(checked(typed, boots).map(|said| (said, OK)))
}

fn checked(typed: &[&ArgMatches], boots: bool) -> Result<String, String> {
    let source =
        ConfigSource::find(typed).map_err(|error| format!("error: cannot check: {error}"))?;
    let loaded = source.load_with(wants_color())?;
    beyond_the_text(&loaded, boots)?;
    let verdict = match source.name() {
        Some(path) => format!("{}: ok", path.display()),
        None => "ok".to_owned(),
    };
    let notes = loaded.notes.iter();
    let notes = notes.filter(|note| note.level > LogLevel::Debug);
    let said = notes.map(|note| note.text.clone());
    Ok(said.chain([verdict]).collect::<Vec<_>>().join("\n"))
}

/// What only a run of Python can tell: whether the interpreter is there and the app loads in it.
fn beyond_the_text(loaded: &Loaded, boots: bool) -> Result<(), String> {
    let tried = match boots {
        true => trial::boot_worker(&loaded.config),
        false => trial::load_app(&loaded.config),
    };
    tried.map_err(|error| {
        let (key, help) = (error.key(), error.help());
        let mut text = format!("error: {}", with_causes(&error));
        if let Some(place) = key.and_then(|key| loaded.origins.get(key)) {
            text.push_str(&format!("\n --> {place}"));
        }
        if let Some(help) = help {
            text.push_str(&format!("\n  = help: {help}"));
        }
        text
    })
}
