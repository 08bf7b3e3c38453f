//! Bad edits and bad code, more than twenty kinds, saved under load: no client notices any of them, and the log names the
//! file, the place and the mend.

use std::{fs, net::TcpListener};

use nix::sys::signal::Signal;

use crate::harness::{
    APP, Hammer, Server, Setup, eventually, install_script, interpreters, phrases::REJECTED,
};

/// Follows `app`, `bind` and `python`, so that the second line of it is the fifth of the file.
const GOOD: &str =
    "workers = 2\nproc_name = 'good'\n[timeouts]\nboot = '8s'\n[reload]\ndebounce = '20ms'\n";

/// What is done to a server that is well, and the lines of the log that follow, in any order. `…` stands for anything.
struct Bad {
    what: &'static str,
    act: Act,
    says: Vec<&'static str>,
}

enum Act {
    /// These lines stand where `proc_name` stood.
    Line(String),
    /// A line for the last table, `[reload]`, with something that rolls.
    Reload(&'static str),
    /// The whole file, as bytes.
    File(Vec<u8>),
    /// The app's source, with a HUP.
    Code(&'static str),
    /// A line as above, with a file beside the app.
    Module(&'static str, &'static str),
    /// The file is deleted, with a HUP.
    Delete,
}

fn line(what: &'static str, text: impl Into<String>, says: &[&'static str]) -> Bad {
    Bad {
        what,
        act: Act::Line(text.into()),
        says: says.to_vec(),
    }
}

fn file(what: &'static str, content: impl Into<Vec<u8>>, says: &[&'static str]) -> Bad {
    Bad {
        what,
        act: Act::File(content.into()),
        says: says.to_vec(),
    }
}

fn code(what: &'static str, source: &'static str, says: &[&'static str]) -> Bad {
    Bad {
        what,
        act: Act::Code(source),
        says: says.to_vec(),
    }
}

fn module(
    what: &'static str,
    app: &'static str,
    source: &'static str,
    says: &[&'static str],
) -> Bad {
    Bad {
        what,
        act: Act::Module(app, source),
        says: says.to_vec(),
    }
}

impl Bad {
    fn do_to(&self, server: &Server, good: &str) {
        let with = |lines: &str| good.replace("proc_name = 'good'", lines);
        match &self.act {
            Act::Line(lines) => server.edit(&with(lines)),
            Act::Reload(line) => server.edit(&(with("proc_name = 'bad'") + line + "\n")),
            Act::File(content) => {
                server.from_now();
                fs::write(server.config_path(), content).unwrap();
            }
            Act::Code(source) => {
                server.directory.write("app.py", source);
                server.signal(Signal::SIGHUP);
            }
            Act::Module(app, source) => {
                server.directory.write("other.py", source);
                server.edit(&with(&format!("app = '{app}'")));
            }
            Act::Delete => {
                fs::remove_file(server.config_path()).unwrap();
                server.signal(Signal::SIGHUP);
            }
        }
    }

    fn undo(&self, server: &Server, good: &str) {
        match &self.act {
            Act::Code(_) => server.directory.write("app.py", APP),
            Act::Line(_) | Act::Reload(_) | Act::File(_) | Act::Module(..) | Act::Delete => {
                server.edit(good);
                server.says("nothing changed");
            }
        }
    }
}

/// Does each of them to one server under load.
#[track_caller]
fn nobody_notices(server: &Server, good: &str, all: &[Bad]) {
    let workers = server.says_times(2, " ready");
    assert_eq!(workers.len(), 2);
    let before = server.generations()[0].children();
    let hammer = Hammer::start(server.address(), "/version", 4, 4);
    for bad in all {
        eprintln!("{}", bad.what);
        bad.do_to(server, good);
        for pattern in &bad.says {
            server.says(pattern);
        }
        server.says(REJECTED);
        hammer.lands(20);
        bad.undo(server, good);
    }
    hammer.stop();
    eventually("no candidate is left", || server.generations().len() == 1);
    let mut after = server.generations()[0].children();
    after.sort_by_key(|worker| worker.pid);
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|worker| before.contains(worker)));
    assert_eq!(server.text("/version"), "1");
}

#[test]
fn what_is_wrong_with_the_file_is_told_with_its_place_and_its_mend() {
    let mut huge = b"app = 'app'\n# ".to_vec();
    huge.resize(3 << 20, b'x');
    let server = Server::start(GOOD);
    nobody_notices(
        &server,
        GOOD,
        &[
            file(
                "a syntax error",
                "app = 'app'\nworkers = = 2\n",
                &["not TOML", "rgunicorn.toml:2:11", "workers = = 2"],
            ),
            file(
                "a text that does not end",
                "app = 'app'\nbind = '127.0.0.1:0\n",
                &["not TOML", "rgunicorn.toml:2:"],
            ),
            file(
                "an empty file",
                "",
                &[
                    "there is no `app`",
                    "help: write `app = \"module:attribute\"` into `rgunicorn.toml`",
                ],
            ),
            file(
                "binary garbage",
                b"app = 'app'\n\x00\xff\xfe\x7fELF".as_slice(),
                &["`rgunicorn.toml`: line 2 is not UTF-8; save it as UTF-8"],
            ),
            file(
                "zeros",
                [0; 64].as_slice(),
                &["not TOML", "rgunicorn.toml:1:1"],
            ),
            file(
                "a huge file",
                huge,
                &["`rgunicorn.toml`: it is larger than 1 MiB … name the right file"],
            ),
            Bad {
                what: "no file",
                act: Act::Delete,
                says: vec!["cannot read `rgunicorn.toml`: there is no such file; bring it back"],
            },
            line(
                "an unknown key",
                "worker = 3",
                &[
                    "unknown key `worker`",
                    "rgunicorn.toml:5:1",
                    "help: … `workers`",
                ],
            ),
            line(
                "an unknown table",
                "[timeout]\nboot = 1",
                &["rgunicorn.toml:5:2", "help: … `timeouts`"],
            ),
            line(
                "a name of Gunicorn's",
                "graceful_timeout = 30",
                &["rgunicorn.toml:5:1", "help: … `[timeouts] graceful`"],
            ),
            line(
                "a value of another type",
                "threads = 'two'",
                &[
                    "`threads` must be a whole number from 1 to 1024",
                    "rgunicorn.toml:5:11",
                ],
            ),
            line(
                "a value out of range",
                "threads = 0",
                &[
                    "`threads` must be a whole number from 1 to 1024",
                    "rgunicorn.toml:5:11",
                ],
            ),
            line(
                "a word that is none of the choices",
                "worker_class = 'gthraed'",
                &["rgunicorn.toml:5:16", "help: did you mean `\"gthread\"`?"],
            ),
            line(
                "keys that contradict each other",
                "worker_class = 'sync'\nthreads = 4",
                &[
                    "a `sync` worker calls the app in one thread",
                    "rgunicorn.toml:5:16",
                    "help: write `worker_class = \"gthread\"`",
                ],
            ),
            line(
                "a variable that cannot be one",
                "env = { 'A=B' = '1' }",
                &[
                    "`A=B` cannot be an environment variable",
                    "rgunicorn.toml:5:9",
                ],
            ),
        ],
    );
}

#[test]
fn what_the_machine_does_not_have_is_told_with_its_place_and_its_mend() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let setup = Setup::with(GOOD);
    let imposter = setup.path().join("imposter");
    install_script(&imposter, "#!/bin/sh\necho I am no Python\n");
    let server = setup.start();
    let mut all = vec![
        line(
            "an address that is taken",
            format!("bind = '{taken}'"),
            &[
                "is already in use (rgunicorn.toml:4); stop the one who listens there, or take another address",
            ],
        ),
        line(
            "a socket's path that is a file",
            "bind = 'unix:app.py'",
            &["app.py` exists and is not a socket … (rgunicorn.toml:4); move it away"],
        ),
        line(
            "a line break in the access log's format",
            r#"log.format = "%(h)s %(r)s\n""#,
            &[
                "error: the line break or control character at byte 11 would break the lines of the log",
                "rgunicorn.toml:5:14",
            ],
        ),
        line(
            "a directory for a log",
            "log.access = '/'",
            &["`log.access`: `/` cannot be opened … (rgunicorn.toml:5); name a file"],
        ),
        line(
            "a log in a directory that is not there",
            "log.access = 'nowhere/access.log'",
            &[
                "there is no directory",
                "rgunicorn.toml:5:14",
                "help: make it",
            ],
        ),
        line(
            "no such interpreter",
            "python = 'nowhere/bin/python'",
            &[
                "there is no Python interpreter",
                "rgunicorn.toml:4:10",
                "help: name a virtualenv",
            ],
        ),
        line(
            "an interpreter that is no Python",
            "python = './imposter'",
            &[
                "imposter` (`python` in the configuration) is no Python 3 that works … (rgunicorn.toml:4); name a virtualenv",
            ],
        ),
        line(
            "no such directory to change to",
            "chdir = 'nowhere'",
            &[
                "`chdir`: there is no directory",
                "rgunicorn.toml:5:9",
                "help: make it",
            ],
        ),
        line(
            "no such user",
            "user = 'nobody-of-that-name'",
            &[
                "there is no user `nobody-of-that-name`",
                "rgunicorn.toml:5:8",
                "help: make it: `useradd",
            ],
        ),
        line(
            "no such group",
            "group = 'none-of-that-name'",
            &[
                "there is no group `none-of-that-name`",
                "rgunicorn.toml:5:9",
                "help: make it: `groupadd",
            ],
        ),
    ];
    let old = interpreters().iter().find(|found| found.version < (3, 10));
    if let Some(old) = old {
        all.push(line(
            "an interpreter that is too old",
            format!("python = '{}'", old.path.display()),
            &["which is too old (rgunicorn.toml:4); name CPython 3.10 or newer in `python`"],
        ));
    }
    nobody_notices(&server, GOOD, &all);
}

#[test]
fn what_is_wrong_with_the_code_is_told_with_its_place_and_its_mend() {
    let server = Server::start(GOOD);
    nobody_notices(&server, GOOD, &bad_code());
}

#[test]
fn what_is_wrong_with_preloaded_code_is_told_with_its_place_and_its_mend() {
    let good = GOOD.replace("proc_name", "preload = true\nproc_name");
    let server = Server::start(&good);
    nobody_notices(&server, &good, &bad_code());
}

fn bad_code() -> Vec<Bad> {
    vec![
        code(
            "a syntax error",
            "def application(:\n",
            &["app.py\", line 1", "SyntaxError: "],
        ),
        code(
            "an import of something that is not installed",
            "import os\nimport half_copied\n",
            &["app.py\", line 2", "No module named 'half_copied'"],
        ),
        code(
            "an import of a name that is not there",
            "from os import half_copied\n",
            &[
                "app.py\", line 1",
                "ImportError: cannot import name 'half_copied'",
            ],
        ),
        code(
            "an exception at import",
            "import os\nos.environ['DATABASE_URL']\n",
            &["app.py\", line 2", "KeyError: 'DATABASE_URL'"],
        ),
        code(
            "an exit at import",
            "import sys\nsys.exit('no settings')\n",
            &["app.py\", line 2", "SystemExit: no settings"],
        ),
        code(
            "no such attribute",
            "def app(environ, start_response):\n    pass\n",
            &["`app` has no attribute `application`; it has `app`"],
        ),
        code(
            "an app that is not callable",
            "application = 'text'\n",
            &["cannot load `app`: the app is not callable: it is an object of type `str`"],
        ),
        code(
            "an import that hangs",
            "import time\ntime.sleep(100)\n",
            &[
                "app.py\", line 2",
                "timeouts.boot … `app`; mend what it waits for, or give it a longer `[timeouts] boot`",
            ],
        ),
        code(
            "an import that ends the process",
            "import os\nos._exit(7)\n",
            &["died of exit code 7; `rgunicorn check` tries `app` alone"],
        ),
        code(
            "an import that crashes",
            "import ctypes\nctypes.string_at(0)\n",
            &[
                "app.py\", line 2",
                "signal SIGSEGV; `rgunicorn check` tries `app` alone",
            ],
        ),
        line(
            "no such module",
            "app = 'nowhere:app'",
            &[
                "cannot load `nowhere:app`: … No module named 'nowhere'; it is looked for in `chdir`, then in `python_path`",
            ],
        ),
        module(
            "a factory that raises",
            "other:make()",
            "def make():\n    raise RuntimeError('no database')\n",
            &["other.py\", line 2", "RuntimeError: no database"],
        ),
        module(
            "a factory that is called wrongly",
            "other:make(\"x\")",
            "def make():\n    pass\n",
            &["make() takes 0 positional arguments but 1 was given"],
        ),
        module(
            "a start-up that fails",
            "other:app",
            "async def app(scope, receive, send):\n    await receive()\n    raise RuntimeError('no database')\n",
            &[
                "lifespan startup failed",
                "other.py\", line 3",
                "RuntimeError: no database",
            ],
        ),
        Bad {
            what: "a worker that is not well",
            act: Act::Reload("health_check = { path = '/error' }"),
            says: vec!["health check failed: GET /error … 500"],
        },
    ]
}

#[test]
fn a_package_that_the_class_of_workers_needs_is_told_with_its_command() {
    let bare = interpreters().iter().rfind(|found| found.lacks("gevent"));
    let Some(bare) = bare else {
        eprintln!("no interpreter without gevent: skipped");
        return;
    };
    let bare = bare.path.display();
    let server = Server::start(GOOD);
    let lines = format!("python = '{bare}'\nworker_class = 'gevent'");
    let says =
        ["which `…` … does not have; install it with `… -m pip install gevent` (rgunicorn.toml:5)"];
    nobody_notices(
        &server,
        GOOD,
        &[line("a package that is not there", lines, &says)],
    );
}
