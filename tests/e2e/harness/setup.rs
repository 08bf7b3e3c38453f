//! A server that is still to be started: its files, its command line, its environment.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    APP, DEADLINE, Directory, Exit, Save, Server, can_run, phrases::SERVING, venv_python, within,
};

/// What will be started. Built, changed, then `start`ed.
pub struct Setup {
    directory: Directory,
    config: String,
    config_path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    wrapper: Vec<OsString>,
    program: PathBuf,
    python: Option<PathBuf>,
    save: Save,
}

impl Setup {
    /// The app of `apps/app.py` on a free port, one worker.
    pub fn plain() -> Self {
        Self::with("")
    }

    /// Like [`Setup::plain`], with these lines of TOML. `app`, `bind`, `python` and `workers` are written
    /// unless they are in it.
    pub fn with(config: &str) -> Self {
        let setup = Self {
            directory: Directory::default(),
            config: config.to_owned(),
            config_path: PathBuf::from("rgunicorn.toml"),
            arguments: vec!["-c".into(), "rgunicorn.toml".into()],
            environment: Vec::new(),
            wrapper: Vec::new(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_rgunicorn")),
            python: Some(venv_python()),
            save: Save::InPlace,
        };
        setup.file("app.py", APP)
    }

    /// No config file; the command line says it all.
    pub fn without_file(arguments: &[&str]) -> Self {
        let mut setup = Self::plain().arguments(arguments);
        setup.config_path = PathBuf::new();
        setup
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        self.directory.write(name, text);
        self
    }

    /// The app's source.
    pub fn app(self, text: &str) -> Self {
        self.file("app.py", text)
    }

    /// Replaces the arguments, `-c rgunicorn.toml` among them.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(OsString::from).collect();
        self
    }

    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs the server as the last arguments of another command.
    pub fn inside<S: Into<OsString>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = command.into_iter().map(Into::into).collect();
        self
    }

    /// Runs the server as process 1 of a pid namespace; `None` where this user may not.
    pub fn as_process_1(self) -> Option<Self> {
        let namespace = [
            "unshare",
            "--fork",
            "--pid",
            "--mount-proc",
            "--kill-child=QUIT",
        ];
        can_run(&namespace).then(|| self.inside(namespace))
    }

    /// The interpreter written to the config; `None` writes none.
    pub fn python(mut self, python: Option<PathBuf>) -> Self {
        self.python = python;
        self
    }

    /// The config file is a mounted ConfigMap.
    pub fn kubernetes(mut self) -> Self {
        self.config_path = PathBuf::from("mounted/rgunicorn.toml");
        self.save = Save::Kubernetes;
        self.arguments(&["-c", "mounted/rgunicorn.toml"])
    }

    /// Another binary than the one that was built.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until its first workers serve.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        let is_up = |server: &Server| server.has_said(SERVING);
        within(DEADLINE, || is_up(&server) || server.has_ended());
        assert!(is_up(&server), "the server did not start to serve");
        server
    }

    /// Starts it and waits until it has ended by itself.
    #[track_caller]
    pub fn start_and_fail(self) -> Exit {
        self.spawn().ended()
    }

    /// Runs it to its end, as one runs a command such as `check`.
    #[track_caller]
    pub fn run(self) -> Exit {
        self.start_and_fail()
    }

    /// Starts it and waits for nothing.
    pub fn spawn(self) -> Server {
        let folder = self.directory.path().to_owned();
        if self.config_path != PathBuf::new() {
            let path = folder.join(&self.config_path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = complete(&self.config, self.python.as_deref(), &folder);
            match self.save {
                Save::Kubernetes => Save::Kubernetes.write(&path, &text),
                _ => fs::write(&path, text).unwrap(),
            }
        }
        let line: Vec<OsString> = (self.wrapper.iter().cloned())
            .chain([self.program.into_os_string()])
            .chain(self.arguments)
            .collect();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(&folder);
        for variable in [
            "PORT",
            "WEB_CONCURRENCY",
            "FORWARDED_ALLOW_IPS",
            "VIRTUAL_ENV",
        ] {
            command.env_remove(variable);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.environment);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: a ^C at the tests' terminal is not the server's business.
        let child = command.process_group(0).spawn().unwrap();
        Server::follow(
            child,
            self.directory,
            folder.join(self.config_path),
            self.python,
        )
    }
}

/// The config with what every test needs: an app, a free port, the tests' interpreter, one worker. `{dir}` is the test's directory.
pub(super) fn complete(config: &str, python: Option<&Path>, folder: &Path) -> String {
    let has = |key: &str| {
        config.lines().any(|line| {
            let rest = line.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        })
    };
    let mut text = String::new();
    for (key, value) in [
        ("app", Some("app".to_owned())),
        ("bind", Some("127.0.0.1:0".to_owned())),
        ("python", python.map(|path| path.display().to_string())),
        ("workers", Some("1".to_owned())),
    ] {
        if let Some(value) = value.filter(|_| !has(key)) {
            let quote = if value == "1" { "" } else { "'" };
            text += &format!("{key} = {quote}{value}{quote}\n");
        }
    }
    text += config;
    text += "\n";
    text.replace("{dir}", &folder.display().to_string())
}
