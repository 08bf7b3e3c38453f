//! Commands that start Gunicorn, as a Procfile, a unit of systemd or a person has them.

use std::path::{Path, PathBuf};

use super::{
    CMD_ARGS_VARIABLE,
    quoting::{self, assigned, ends_command, is_operator},
    specifiers,
};

/// A command line, taken apart around Gunicorn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The shell that is given the rest as one word: `sh -c`. Empty where there is none.
    pub shell: Vec<String>,
    /// What stands before it: `newrelic-admin run-program`, `A=1 exec`.
    pub before: Vec<String>,
    /// Gunicorn, or the Python that has it as a module.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// What stands after it, from the first operator of the shell on.
    pub after: Vec<String>,
    /// `GUNICORN_CMD_ARGS`, where it is set beside the command.
    pub cmd_args: Option<String>,
    /// Where it is started, if that is said: by `cd`, too.
    pub directory: Option<PathBuf>,
    /// It stands in a unit of systemd.
    pub is_unit: bool,
}

impl Start {
    /// `None` where Gunicorn is not among the words.
    fn of(words: &[String]) -> Option<Self> {
        if let Some(start) = Self::in_shell(words) {
            return Some(start);
        }
        let at = program(words)?;
        let first = interpreter(words, at).unwrap_or(at);
        let rest = &words[at + 1..];
        let end = rest
            .iter()
            .position(|word| is_operator(word))
            .unwrap_or(rest.len());
        let before = &words[..first];
        Some(Self {
            cmd_args: before.iter().find_map(|word| cmd_args(word)),
            before: before
                .iter()
                .filter(|word| cmd_args(word).is_none())
                .cloned()
                .collect(),
            program: PathBuf::from(&words[first]),
            arguments: rest[..end].to_vec(),
            after: rest[end..].to_vec(),
            directory: changed_to(&words[..=first]),
            ..Self::default()
        })
    }

    /// `sh -c 'gunicorn …'`
    fn in_shell(words: &[String]) -> Option<Self> {
        let (script, shell) = words.split_last()?;
        let is_command = shell
            .last()
            .is_some_and(|flags| flags.starts_with('-') && flags.ends_with('c'));
        let start = Self::of(&shlex::split(script).filter(|inner| is_command && inner.len() > 1)?)?;
        Some(Self {
            shell: shell.to_vec(),
            ..start
        })
    }

    /// A command line without its first word, or with it.
    pub fn typed(words: Vec<String>) -> Self {
        let begins_with_flag = words.first().is_some_and(|word| word.starts_with('-'));
        let start = Self::of(&words).filter(|_| !begins_with_flag);
        start.unwrap_or(Self {
            arguments: words,
            ..Self::default()
        })
    }

    /// The `web` process of a Procfile, else the first that starts Gunicorn.
    pub fn in_procfile(text: &str) -> Option<Self> {
        let processes = text.lines().filter_map(|line| {
            let (name, command) = line.split_once(':')?;
            let words = shlex::split(command)?;
            Some((name.trim(), Self::of(&words)?))
        });
        let mut found: Vec<_> = processes.collect();
        found.sort_by_key(|(name, _)| *name != "web");
        found.into_iter().next().map(|(_, start)| start)
    }

    /// The `ExecStart=` of a unit that starts Gunicorn.
    pub fn in_unit(text: &str) -> Option<Self> {
        let lines = logical_lines(text);
        let values = |name: &str| {
            let lead = format!("{name}=");
            let of_name = lines
                .iter()
                .filter_map(move |line| line.strip_prefix(&lead).map(str::to_owned));
            of_name.collect::<Vec<_>>()
        };
        let mut start = values("ExecStart").iter().find_map(|command| {
            // Signs that say how to execute it.
            let command = command.trim_start_matches(['-', '@', ':', '+', '!']);
            Self::of(&shlex::split(&specifiers::hidden(command))?)
        })?;
        start.is_unit = true;
        if let Some(directory) = values("WorkingDirectory").last() {
            let directory = Path::new(directory.trim_start_matches('-'));
            start.directory = Some(directory.join(start.directory.unwrap_or_default()));
        }
        let environment = values("Environment");
        let words = environment.iter().filter_map(|line| shlex::split(line));
        start.cmd_args = words
            .flatten()
            .find_map(|word| cmd_args(&word))
            .or(start.cmd_args);
        Some(start)
    }

    /// The interpreter of the environment that Gunicorn is installed in, if the command says where that is.
    pub fn python(&self) -> Option<PathBuf> {
        let folder = self
            .program
            .parent()
            .filter(|folder| *folder != Path::new(""))?;
        Some(folder.join("python"))
    }

    /// The command that takes its place: the same words around `rgunicorn` with this file.
    pub fn successor(&self, file: &Path) -> String {
        let program = self.program.with_file_name("rgunicorn");
        let own = [&program, Path::new("-c"), file].map(|word| word.display().to_string());
        let words = self.before.iter().chain(&own).chain(&self.after);
        let command = joined(words);
        let command = match self.shell.as_slice() {
            [] => command,
            shell => format!("{} {}", joined(shell), quoting::script(&command)),
        };
        match self.is_unit {
            true => specifiers::restored(&command),
            false => command,
        }
    }
}

fn joined<'w>(words: impl IntoIterator<Item = &'w String>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| quoting::word(word)).collect();
    words.join(" ")
}

/// The number of the word that is Gunicorn itself, and no user, directory or file of that name; the first of the likeliest.
fn program(words: &[String]) -> Option<usize> {
    let candidates = (0..words.len()).filter(|at| is_gunicorn(&words[*at]));
    candidates.rev().max_by_key(|at| likelihood(words, *at))
}

/// From 0, where it is hardly ever the program, to 3, where it nearly always is.
fn likelihood(words: &[String], at: usize) -> u8 {
    let is_followed = words.get(at + 1).is_some_and(|next| !is_operator(next));
    let Some(before) = words[..at].last().map(String::as_str) else {
        return 3;
    };
    let is_head = matches!(before, "exec" | "-m" | "--")
        || ends_command(before)
        || before.ends_with(';')
        || assigned(before).is_some()
        // `gosu gunicorn gunicorn`
        || is_gunicorn(before);
    match is_head {
        true => 3,
        // `--user gunicorn`
        false if before.starts_with('-') => 1,
        // `run-program gunicorn app`, and not `cd /srv/gunicorn &&`
        false if is_followed => 2,
        false => 0,
    }
}

/// The number of the word that is Python, where it has Gunicorn as a module.
fn interpreter(words: &[String], gunicorn: usize) -> Option<usize> {
    let module = gunicorn.checked_sub(1).filter(|at| words[*at] == "-m")?;
    let ends = words[..module].iter().rposition(|word| ends_command(word));
    let first = ends.map_or(0, |end| end + 1);
    let is_python = |word: &String| {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("python") || name.starts_with("pypy"))
    };
    let python = words[first..module].iter().rposition(is_python);
    python.map(|at| first + at).or(module.checked_sub(1))
}

/// Where `cd DIRECTORY &&` leads, one after the other.
fn changed_to(words: &[String]) -> Option<PathBuf> {
    let mut directory: Option<PathBuf> = None;
    for three in words.windows(3).filter(|three| three[0] == "cd") {
        let named = three[1].strip_suffix(';');
        if let Some(next) = named.or(ends_command(&three[2]).then_some(&three[1])) {
            directory = Some(directory.unwrap_or_default().join(next));
        }
    }
    directory
}

/// `gunicorn`, also with a version or an ending of its own: `gunicorn3`, `gunicorn_paster`. Files such as `gunicorn.conf.py` are
/// not run.
fn is_gunicorn(word: &str) -> bool {
    let name = Path::new(word).file_name().and_then(|name| name.to_str());
    let rest = name.and_then(|name| name.strip_prefix("gunicorn"));
    rest.is_some_and(|rest| {
        let is_version = |letter: char| letter.is_ascii_digit() || "-.".contains(letter);
        rest.chars().all(is_version) || rest == "_paster"
    })
}

fn cmd_args(word: &str) -> Option<String> {
    let value = word.strip_prefix(CMD_ARGS_VARIABLE)?.strip_prefix('=')?;
    Some(value.to_owned())
}

/// Lines of a unit without comments; one that ends with a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let piece = line.strip_suffix('\\');
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push(' ');
                last.push_str(piece.unwrap_or(line).trim());
            }
            None => lines.push(piece.unwrap_or(line).trim().to_owned()),
        }
        goes_on = piece.is_some();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gunicorn_is_found_among_the_words_of_a_procfile() {
        let start = Start::in_procfile(
            "release: python manage.py migrate\nworker: celery -A site worker\n\
             web: A=1 GUNICORN_CMD_ARGS='-w 3' newrelic-admin run-program gunicorn site.wsgi --log-file - 2>&1 | tee log\n",
        )
        .unwrap();
        assert_eq!(start.arguments, ["site.wsgi", "--log-file", "-"]);
        assert_eq!(start.cmd_args.as_deref(), Some("-w 3"));
        assert_eq!(
            start.successor(Path::new("new.toml")),
            "A=1 newrelic-admin run-program rgunicorn -c new.toml 2>&1 | tee log"
        );
        assert_eq!(start.python(), None);
        assert_eq!(Start::in_procfile("web: uvicorn app:app"), None);
    }

    #[test]
    fn a_unit_is_read_with_its_continued_lines() {
        let unit = "[Service]\nWorkingDirectory=/srv/site\n# ExecStart=/old/gunicorn old\n\
             Environment=\"GUNICORN_CMD_ARGS=--threads 4\" DEBUG=0\n\
             ExecStart=-/srv/site/venv/bin/gunicorn \\\n    --access-logformat '%%(h)s' \\\n    --bind unix:/run/%i.sock site.wsgi:application\n";
        let start = Start::in_unit(unit).unwrap();
        assert_eq!(
            start.arguments,
            [
                "--access-logformat",
                "%(h)s",
                "--bind",
                "unix:/run/${%i}.sock",
                "site.wsgi:application"
            ]
        );
        assert_eq!(start.cmd_args.as_deref(), Some("--threads 4"));
        assert_eq!(start.directory.as_deref(), Some(Path::new("/srv/site")));
        assert_eq!(
            start.python(),
            Some(PathBuf::from("/srv/site/venv/bin/python"))
        );
    }

    #[test]
    fn a_file_called_like_gunicorn_is_an_argument() {
        for line in ["-c gunicorn.conf.py app", "-c etc/gunicorn_config.py app"] {
            let words = shlex::split(line).unwrap();
            assert_eq!(Start::of(&words), None, "{line}");
            assert_eq!(Start::typed(words.clone()).arguments, words);
        }
        let words = shlex::split("/usr/bin/gunicorn3 app -c gunicorn.py").unwrap();
        assert_eq!(Start::typed(words).arguments, ["app", "-c", "gunicorn.py"]);
    }

    #[test]
    fn gunicorn_is_found_in_what_a_shell_is_given() {
        let line = "/bin/bash -lc 'cd /srv && exec venv/bin/gunicorn -b :$PORT app:app > log'";
        let start = Start::of(&shlex::split(line).unwrap()).unwrap();
        assert_eq!(start.arguments, ["-b", ":$PORT", "app:app"]);
        assert_eq!(start.directory.as_deref(), Some(Path::new("/srv")));
        assert_eq!(
            start.successor(Path::new("new.toml")),
            "/bin/bash -lc 'cd /srv && exec venv/bin/rgunicorn -c new.toml > log'"
        );
        assert_eq!(
            Start::of(&["run".to_owned(), "gunicorn app".to_owned()]),
            None
        );
    }

    #[test]
    fn a_module_is_gunicorn_too() {
        let words = shlex::split("exec venv/bin/python -m gunicorn app:app").unwrap();
        let start = Start::of(&words).unwrap();
        assert_eq!(start.before, ["exec"]);
        assert_eq!(start.arguments, ["app:app"]);
        assert_eq!(start.python(), Some(PathBuf::from("venv/bin/python")));
    }

    /// The app, and the command that takes the place of a line.
    fn read(line: &str) -> (String, String) {
        let start = Start::of(&shlex::split(line).unwrap()).unwrap();
        let app = start.arguments.join(" ");
        (app, start.successor(Path::new("new.toml")))
    }

    #[test]
    fn users_and_directories_called_gunicorn_are_not_the_program() {
        for (line, successor) in [
            ("gosu gunicorn gunicorn app", "gosu gunicorn rgunicorn"),
            (
                "sudo -u gunicorn gunicorn app",
                "sudo -u gunicorn rgunicorn",
            ),
            (
                "sudo -u gunicorn -g www gunicorn app",
                "sudo -u gunicorn -g www rgunicorn",
            ),
            (
                "runuser -u gunicorn -- gunicorn app",
                "runuser -u gunicorn -- rgunicorn",
            ),
            ("sudo -E gunicorn app", "sudo -E rgunicorn"),
            (
                "cd /srv/gunicorn && gunicorn app",
                "cd /srv/gunicorn && rgunicorn",
            ),
            (
                "cd /srv/gunicorn; gunicorn app",
                "cd /srv/gunicorn; rgunicorn",
            ),
            (
                "mkdir -p /run/gunicorn && gunicorn app",
                "mkdir -p /run/gunicorn && rgunicorn",
            ),
            ("su gunicorn -c 'gunicorn app'", "su gunicorn -c 'rgunicorn"),
            (
                "poetry run gunicorn app | tee /var/log/gunicorn",
                "poetry run rgunicorn",
            ),
        ] {
            let (app, written) = read(line);
            assert_eq!(app, "app", "{line}");
            assert!(
                written.starts_with(&format!("{successor} -c new.toml")),
                "{written}"
            );
        }
        assert_eq!(
            read("gunicorn --user gunicorn app").0,
            "--user gunicorn app"
        );
        let typed = ["--user", "gunicorn", "app"].map(str::to_owned).to_vec();
        assert_eq!(Start::typed(typed.clone()).arguments, typed);
    }

    #[test]
    fn python_is_found_before_its_options() {
        for line in [
            "venv/bin/python3 -u -m gunicorn app",
            "venv/bin/python3 -X dev -W ignore -m gunicorn app",
            "python manage.py migrate && venv/bin/python3 -m gunicorn app",
        ] {
            let start = Start::of(&shlex::split(line).unwrap()).unwrap();
            assert_eq!(start.program, Path::new("venv/bin/python3"), "{line}");
            assert_eq!(start.arguments, ["app"], "{line}");
        }
    }

    #[test]
    fn directories_are_changed_one_after_the_other() {
        let directory = |line: &str| {
            let start = Start::of(&shlex::split(line).unwrap()).unwrap();
            start.directory
        };
        let to = |path: &str| Some(PathBuf::from(path));
        assert_eq!(directory("cd a && cd b && gunicorn app"), to("a/b"));
        assert_eq!(directory("cd a; gunicorn app"), to("a"));
        assert_eq!(directory("sh -c 'cd /a && gunicorn app'"), to("/a"));
        assert_eq!(directory("gunicorn app && cd a && ls"), None);
    }

    #[test]
    fn quotes_and_specifiers_are_there_again() {
        let (_, successor) = read("sh -c 'A=\"x y\" gunicorn app'");
        assert_eq!(successor, "sh -c \"A='x y' rgunicorn -c new.toml\"");
        let unit = "[Service]\nWorkingDirectory=/srv\nExecStart=%h/bin/gunicorn app %i 100%%\n";
        let start = Start::in_unit(unit).unwrap();
        assert_eq!(
            start.successor(Path::new("/srv/50%.toml")),
            "%h/bin/rgunicorn -c /srv/50%%.toml"
        );
        let unit = "[Service]\nWorkingDirectory=/srv\nExecStart=sh -c 'cd site && gunicorn app'\n";
        let start = Start::in_unit(unit).unwrap();
        assert_eq!(start.directory.as_deref(), Some(Path::new("/srv/site")));
    }
}
