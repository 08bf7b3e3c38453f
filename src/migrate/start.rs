//! Commands that start Gunicorn, as a Procfile, a unit of systemd or a person has them.

use std::path::{Path, PathBuf};

use super::specifiers;

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
    /// Where it is started, if that is said.
    pub directory: Option<PathBuf>,
}

const VARIABLE: &str = "GUNICORN_CMD_ARGS";

impl Start {
    /// `None` where Gunicorn is not among the words.
    fn of(words: &[String]) -> Option<Self> {
        let Some(at) = words.iter().position(|word| is_gunicorn(word)) else {
            return Self::in_shell(words);
        };
        let is_module = at > 1 && words[at - 1] == "-m";
        let (program, first) = match is_module {
            true => (&words[at - 2], at - 2),
            false => (&words[at], at),
        };
        let rest = &words[at + 1..];
        let end = rest
            .iter()
            .position(|word| is_operator(word))
            .unwrap_or(rest.len());
        let before = &words[..first];
        Some(Self {
            shell: Vec::new(),
            cmd_args: before.iter().find_map(|word| cmd_args(word)),
            before: before
                .iter()
                .filter(|word| cmd_args(word).is_none())
                .cloned()
                .collect(),
            program: PathBuf::from(program),
            arguments: rest[..end].to_vec(),
            after: rest[end..].to_vec(),
            directory: None,
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
        Self::of(&words).unwrap_or(Self {
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
        start.directory = values("WorkingDirectory")
            .last()
            .map(|directory| PathBuf::from(directory.trim_start_matches('-')));
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

    /// The command that takes its place: the same words around another program.
    pub fn successor(&self, program: &str) -> String {
        let program = [program.to_owned()];
        let words = self.before.iter().chain(&program).chain(&self.after);
        let command = words.map(String::as_str).collect::<Vec<_>>().join(" ");
        match self.shell.as_slice() {
            [] => command,
            shell => format!("{} '{command}'", shell.join(" ")),
        }
    }
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

fn is_operator(word: &str) -> bool {
    matches!(word, "&&" | "||" | "|" | "&" | ";")
        || word.starts_with(['>', '<'])
        || word.starts_with("2>")
}

fn cmd_args(word: &str) -> Option<String> {
    let value = word.strip_prefix(VARIABLE)?.strip_prefix('=')?;
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
            start.successor("rgunicorn"),
            "A=1 newrelic-admin run-program rgunicorn 2>&1 | tee log"
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
        assert_eq!(
            start.successor("rgunicorn"),
            "/bin/bash -lc 'cd /srv && exec rgunicorn > log'"
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
}
