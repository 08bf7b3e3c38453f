//! All layers together: defaults < file < environment < command line. Each is checked by itself, so that a mistake
//! is reported even where a stronger layer hides it.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Config, Loaded, Origin, document, environment,
    file::File,
    layer::{Layer, Setting},
    problem::{COMMAND_LINE, Problem, Problems},
    resolve::{Machine, Resolver},
    shape,
};

/// All that somebody wrote, read already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The path of the file, absolute, and its text.
    pub file: Option<(PathBuf, String)>,
    /// The whole environment; what does not concern us is skipped.
    pub environment: BTreeMap<String, String>,
    pub flags: Vec<Setting>,
}

/// The configuration that the sources make together, or everything that is wrong with them.
pub fn load(sources: &Sources, machine: &Machine) -> Result<Loaded, Problems> {
    let mut merged = Layer::empty();
    let mut problems = Vec::new();
    let mut is_complete = true;
    for layer in layers(sources) {
        match layer {
            Ok(mut layer) => {
                problems.extend(shape::check(&mut layer));
                merged.cover_with(layer);
            }
            Err(problem) => {
                is_complete = false;
                problems.push(problem);
            }
        }
    }
    let config = resolve(&merged, sources, machine, &mut problems);
    // What could not be read may well have held the app, and a problem may be about just that.
    let is_app_known = merged.value.get("app").is_some() || problems.iter().any(speaks_of_app);
    if is_complete && !is_app_known {
        problems.push(Problem::new("there is no `app` to serve").help([NO_APP.to_owned()]));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            origins: merged.places.origins(),
        }),
        Some(_) | None => Err(Problems::new(problems)),
    }
}

/// From the weakest to the strongest.
fn layers(sources: &Sources) -> impl Iterator<Item = Result<Layer, Problem>> {
    let file = sources
        .file
        .iter()
        .map(|(path, text)| document::read(path, text));
    let flags = sources.flags.iter().map(|flag| {
        let name = flag.lead.trim_end_matches([' ', '=']);
        let name = if name.is_empty() { "the app" } else { name };
        Layer::from_setting(flag, COMMAND_LINE, Origin::Flag(name.to_owned()))
    });
    environment::below_file(&sources.environment)
        .into_iter()
        .chain(file)
        .chain(environment::above_file(&sources.environment))
        .chain(flags)
}

/// What was wrong in shape is gone from `merged` by now, so the rest can still be looked at.
fn resolve(
    merged: &Layer,
    sources: &Sources,
    machine: &Machine,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let file: File = match serde_json::from_value(merged.value.clone()) {
        Ok(file) => file,
        Err(error) => {
            problems.push(Problem::new(format!(
                "the schema allows what cannot be read: {error}"
            )));
            return None;
        }
    };
    let beside_file = sources.file.as_ref().and_then(|(path, _)| path.parent());
    let directory = beside_file.unwrap_or(&machine.directory);
    let mut resolver = Resolver {
        places: &merged.places,
        problems: Vec::new(),
    };
    let config = resolver.config(file, directory, machine);
    problems.append(&mut resolver.problems);
    Some(config)
}

const NO_APP: &str = "write `app = \"module:attribute\"` into the file, or name it on the command line: `rgunicorn module:attribute`";

/// An app that is written wrongly, or under another name, is not missing as well.
fn speaks_of_app(problem: &Problem) -> bool {
    let about_app = |text: &String| text.contains("`app`");
    about_app(&problem.title) || problem.help.iter().any(about_app)
}
