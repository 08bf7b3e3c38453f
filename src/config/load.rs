//! All layers together: defaults < file < environment < command line. Each is checked by itself, so that a mistake
//! is reported even where a stronger layer hides it.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    Config, Loaded, LogLevel, Note, Origin, document, environment,
    file::File,
    gunicorn,
    layer::{Layer, Setting},
    machine::Machine,
    problem::{COMMAND_LINE, Problem, Problems},
    resolve::Resolver,
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
pub fn load(sources: &Sources, machine: &dyn Machine) -> Result<Loaded, Problems> {
    let mut merged = Layer::empty();
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut is_complete = true;
    for layer in layers(sources) {
        match layer {
            Ok(mut layer) => {
                understand_worker_class(&mut layer, &mut notes);
                problems.extend(shape::check(&mut layer));
                merged.cover_with(layer);
            }
            Err(problem) => {
                is_complete = false;
                problems.push(problem);
            }
        }
    }
    notes.extend(environment::ignored(&sources.environment));
    notes.extend(environment::hidden_port(
        &sources.environment,
        &merged.places,
    ));
    let config = resolve(&merged, sources, machine, &mut problems);
    // What could not be read may well have held the app, and a problem may be about just that.
    let is_app_known = merged.value.get("app").is_some() || problems.iter().any(speaks_of_app);
    if is_complete && !is_app_known {
        problems.push(no_app(sources));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            origins: merged.places.origins(),
            notes,
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

/// Gunicorn's path of a worker class becomes our word for it, and is noted, unless a stronger layer says something else.
fn understand_worker_class(layer: &mut Layer, notes: &mut Vec<Note>) {
    const KEY: &str = "worker_class";
    let Some(Value::String(text)) = layer.value.get_mut(KEY) else {
        return;
    };
    notes.retain(|note| note.key != KEY);
    if let Some(class) = gunicorn::worker_class(text) {
        let place = layer.places.find("/worker_class");
        let place = place.map_or(String::new(), |place| format!("{}: ", place.origin));
        let text_of_note = format!("{place}`{text}` is `{KEY} = \"{class}\"` here");
        notes.push(Note {
            key: KEY,
            level: LogLevel::Info,
            text: text_of_note,
        });
        class.clone_into(text);
    }
}

/// What was wrong in shape is gone from `merged` by now, so the rest can still be looked at.
fn resolve(
    merged: &Layer,
    sources: &Sources,
    machine: &dyn Machine,
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
    let mut resolver = Resolver {
        places: &merged.places,
        machine,
        problems: Vec::new(),
    };
    let path = sources.file.as_ref().map(|(path, _)| path.as_path());
    let config = resolver.config(file, path);
    problems.append(&mut resolver.problems);
    Some(config)
}

fn no_app(sources: &Sources) -> Problem {
    let file = sources.file.as_ref();
    let file = file.map_or("the file".to_owned(), |(path, _)| {
        format!("`{}`", path.display())
    });
    Problem::new("there is no `app` to serve").help([format!(
        "write `app = \"module:attribute\"` into {file}, or name it on the command line: `rgunicorn module:attribute`"
    )])
}

/// An app that is written wrongly, or under another name, is not missing as well.
fn speaks_of_app(problem: &Problem) -> bool {
    let about_app = |text: &String| text.contains("`app`");
    about_app(&problem.title) || problem.help.iter().any(about_app)
}

/// What these lines of TOML make, below one that names an app, on some machine of two processors.
#[cfg(test)]
pub(crate) fn test_config(text: &str) -> Config {
    let text = format!("app = 'app'\n{text}");
    let sources = Sources {
        file: Some((PathBuf::from("/home/me/rgunicorn.toml"), text)),
        ..Sources::default()
    };
    load(&sources, &super::machine::test_machine(2))
        .unwrap()
        .config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{LogFormat, machine::test_machine};

    fn sources(
        file: Option<&str>,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Sources {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let flag = |(key, value): &(&str, &str)| Setting {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            lead: format!("--set {key}="),
        };
        Sources {
            file: file.map(|text| (PathBuf::from("conf/rgunicorn.toml"), text.to_owned())),
            environment: environment.iter().map(owned).collect(),
            flags: flags.iter().map(flag).collect(),
        }
    }

    fn loaded(sources: &Sources) -> Loaded {
        load(sources, &test_machine(64)).unwrap()
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let file = "app = 'app'\nworkers = 1\nthreads = 1\nbacklog = 1\n";
        let environment = [("RGUNICORN_THREADS", "2"), ("RGUNICORN_BACKLOG", "2")];
        let Loaded {
            config, origins, ..
        } = loaded(&sources(Some(file), &environment, &[("backlog", "3")]));
        assert_eq!((config.workers, config.threads, config.backlog), (1, 2, 3));
        assert_eq!(origins["workers"].to_string(), "conf/rgunicorn.toml:2");
        assert_eq!(
            origins["threads"].to_string(),
            "environment variable RGUNICORN_THREADS"
        );
        assert_eq!(
            origins["backlog"].to_string(),
            "--set backlog on the command line"
        );
        assert_eq!(origins.get("preload"), None);
    }

    #[test]
    fn tables_are_merged_and_lists_are_replaced() {
        let file =
            "app = 'app'\nbind = [':1', ':2']\nenv = { A = '1', B = '1' }\ntimeouts.boot = 5\n";
        let flags = [("env.B", "2"), ("bind", ":3"), ("timeouts.body", "6")];
        let config = loaded(&sources(Some(file), &[], &flags)).config;
        assert_eq!(
            config.env,
            [("A", "1"), ("B", "2")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into()
        );
        assert_eq!(config.bind.len(), 1);
        assert_eq!(
            (
                config.timeouts.boot.as_secs(),
                config.timeouts.body.as_secs()
            ),
            (5, 6)
        );
    }

    #[test]
    fn a_value_may_be_typed_as_it_stands_in_the_file() {
        let flags = [
            ("bind", r#"["[::1]:8000", ':81']"#),
            ("proc_name", r#""shop""#),
            ("log.format", r#""%(r)s" %(s)s "%(a)s""#),
        ];
        let config = loaded(&sources(Some("app = 'app'"), &[], &flags)).config;
        let bind: Vec<String> = config.bind.iter().map(ToString::to_string).collect();
        assert_eq!(bind, ["[::1]:8000", "0.0.0.0:81"]);
        assert_eq!(config.proc_name, "shop");
        let as_typed = LogFormat::Atoms(flags[2].1.to_owned());
        assert_eq!(config.log.format, as_typed);
        let one = loaded(&sources(
            Some("app = 'app'"),
            &[],
            &[("bind", "[::1]:8000")],
        ));
        assert_eq!(one.config.bind[0].to_string(), "[::1]:8000");
    }

    #[test]
    fn port_counts_only_where_nothing_else_says_where_to_listen() {
        let bind = |sources: &Sources| loaded(sources).config.bind[0].to_string();
        assert_eq!(
            bind(&sources(Some("app = 'app'"), &[("PORT", "80")], &[])),
            "0.0.0.0:80"
        );
        assert_eq!(
            bind(&sources(
                Some("app = 'app'\nbind = ':81'"),
                &[("PORT", "80")],
                &[]
            )),
            "0.0.0.0:81"
        );
    }

    #[test]
    fn relative_paths_start_at_the_file_or_where_the_server_was_started() {
        let chdir = |file, flags: &[_]| loaded(&sources(file, &[], flags)).config.chdir;
        assert_eq!(chdir(Some("app = 'app'"), &[]), Path::new("/home/me/conf"));
        assert_eq!(
            chdir(Some("app = 'app'\nchdir = '.'"), &[]),
            Path::new("/home/me/conf")
        );
        assert_eq!(
            chdir(Some("app = 'app'\nchdir = '../site'"), &[]),
            Path::new("/home/me/conf/../site")
        );
        assert_eq!(
            chdir(Some("app = 'app'"), &[("chdir", "site")]),
            Path::new("/home/me/site")
        );
        assert_eq!(chdir(None, &[("app", "app")]), Path::new("/home/me"));
    }

    #[test]
    fn auto_follows_the_processors_and_stops_where_memory_decides() {
        let workers = |flags: &[_]| {
            loaded(&sources(Some("app = 'app'"), &[], flags))
                .config
                .workers
        };
        assert_eq!(workers(&[]), 32);
        assert_eq!(workers(&[("threads", "4")]), 32);
        assert_eq!(workers(&[("workers", "200")]), 200);
    }

    #[test]
    fn a_mistake_is_told_even_where_a_stronger_layer_hides_it() {
        let sources = sources(
            Some("app = 'app'\nworkers = 0"),
            &[("WEB_CONCURRENCY", "x")],
            &[("workers", "3")],
        );
        let problems = load(&sources, &test_machine(64)).unwrap_err();
        assert_eq!(problems.list().len(), 2);
    }

    #[test]
    fn a_class_path_of_gunicorn_is_noted_unless_a_stronger_layer_hides_it() {
        let file = "app = 'app'\nworker_class = 'uvicorn.workers.UvicornWorker'\n";
        let notes = |flags: &[_]| loaded(&sources(Some(file), &[], flags)).notes;
        assert_eq!(
            notes(&[])[0].text,
            "conf/rgunicorn.toml:2: `uvicorn.workers.UvicornWorker` is `worker_class = \"asgi\"` here"
        );
        assert_eq!(notes(&[("worker_class", "asgi")]), []);
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in [
            "\0",
            "[",
            "[[bind]]",
            "bind = [[1]]",
            "[env.a]",
            "app = '\u{0}'",
            "= 1",
            "env = {'' = ''}",
            "[[timeouts]]",
        ] {
            assert!(
                load(&sources(Some(text), &[], &[]), &test_machine(64)).is_err(),
                "{text:?}"
            );
        }
    }
}
