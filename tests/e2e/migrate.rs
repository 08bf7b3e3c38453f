//! `rgunicorn migrate`: what Gunicorn is run with becomes a file that means the same.

mod cases;
mod hostile;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{APP, Exit, Setup, install_script, venv_python};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/migrate")
        .join(name)
}

/// A directory with the files of a case.
fn setup(name: &str, arguments: &[&str]) -> Setup {
    let setup = Setup::without_file(arguments).environment("VIRTUAL_ENV", environment());
    copy(&case(name), setup.path());
    setup
}

/// The virtualenv of the tests.
fn environment() -> PathBuf {
    let python = venv_python();
    python.ancestors().nth(2).unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            fs::create_dir_all(to.join(name)).unwrap();
            copy(&path, &to.join(name));
        } else if name != "rgunicorn.toml" {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn serve(setup: Setup, text: &str) -> crate::harness::Server {
    setup
        .file("rgunicorn.toml", text)
        .environment("RGUNICORN_BIND", "127.0.0.1:0")
        .environment("RGUNICORN_WORKERS", "1")
        .environment("RGUNICORN_LOG_LEVEL", "info")
        .start()
}

/// What is made of a configuration and the words of a command line.
#[track_caller]
fn translated(configuration: &str, words: &[&str]) -> String {
    // Comments without their line breaks.
    let text = written(configuration, words);
    text.replace("\n#   ", " ").replace("\n# ", " ")
}

#[track_caller]
fn written(configuration: &str, words: &[&str]) -> String {
    let arguments = [&["migrate", "-o", "-", "--"], words].concat();
    let exit = Setup::without_file(&arguments)
        .file("gunicorn.conf.py", configuration)
        .environment("VIRTUAL_ENV", environment())
        .environment("WEB_CONCURRENCY", "3")
        .run();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    exit.stdout
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_file_called_like_gunicorn_is_read_and_not_taken_for_the_program() {
    for lead in [&[][..], &["gunicorn"]] {
        let words = [lead, &["-c", "gunicorn_settings.py", "app:app"]].concat();
        let arguments = [&["migrate", "-o", "-", "--"], &words[..]].concat();
        let exit = Setup::without_file(&arguments)
            .file("gunicorn_settings.py", "workers = 7")
            .environment("VIRTUAL_ENV", environment())
            .run();
        has(&exit.stdout, &["workers = 7", "app = \"app:app\""]);
    }
}

#[test]
fn what_a_shell_is_given_is_read_without_its_variables() {
    let text = translated(
        "",
        &["sh", "-c", "exec gunicorn -w 2 -b 0.0.0.0:$PORT app:app"],
    );
    has(
        &text,
        &[
            "workers = 2",
            "Where the variable is set, it counts without being named here.",
        ],
    );
}

#[test]
fn who_believed_nobody_believes_nobody() {
    let text = translated(
        "forwarded_allow_ips = ''\nproxy_allow_ips = ''\nsecure_scheme_headers = {}",
        &["app:app"],
    );
    has(
        &text,
        &[
            "forwarded_allow_ips = []",
            "protocol_allow_ips = []",
            "scheme_headers = {}",
        ],
    );
}

#[test]
fn what_had_no_effect_gets_none() {
    let text = translated(
        "reload_extra_files = ['a.txt']\nsyslog_addr = 'udp://h:514'\nlogconfig = 'a.ini'\nlogconfig_json = 'a.json'",
        &["app:app"],
    );
    has(
        &text,
        &[
            "Without `reload` it had no effect.",
            "Without `syslog` it had no effect.",
            "python_config = \"a.json\"",
        ],
    );
    assert!(!text.contains("[reload]"), "{text}");
}

#[test]
fn extra_files_are_watched_where_they_lie() {
    let text = translated(
        "import os\nreload = True\nreload_extra_files = ['a.txt', './b[c].txt', os.path.abspath('conf/c.txt'), 'd/*.html', \
         '/etc/one.yaml', '/etc/two.yaml']\nopen('b[c].txt', 'w')",
        &["app:app"],
    );
    has(
        &text,
        &[
            "code = [\"**/*.py\", \"a.txt\", \"b[[]c[]].txt\", \"conf/c.txt\", \"d/*.html\"]",
            "touch = \"/etc/one.yaml\"",
            "reload_extra_files = /etc/two.yaml `reload.code` looks below `chdir` alone",
        ],
    );
}

#[test]
fn no_secret_of_the_environment_is_written_down() {
    let text = translated(
        "import os\nraw_env = ['TOKEN=' + os.environ['VIRTUAL_ENV'], 'MODE=live']\n\
         raw_env.append(f\"LATE={os.environ['VIRTUAL_ENV']}\")",
        &["app:app"],
    );
    has(
        &text,
        &[
            "MODE = \"live\"",
            "raw_env, TOKEN The value is made when the file runs",
            "raw_env, LATE The value is made when the file runs",
        ],
    );
    let environment = environment();
    assert!(!text.contains(environment.to_str().unwrap()), "{text}");
    let text = translated(
        "",
        &[
            "sh",
            "-c",
            "gunicorn -e A=hunter2 -e HOST=$HOSTNAME app:app",
        ],
    );
    has(
        &text,
        &["A = \"hunter2\"", "In the command: HOST=\"$HOSTNAME\"."],
    );
    assert_eq!(text.matches("hunter").count(), 1, "{text}");
}

#[test]
fn only_what_counts_processors_counts_processors() {
    let lead = "import os\nfrom multiprocessing import cpu_count\n";
    for more in [
        "workers = cpu_count() * 2 + 1",
        "cores = os.cpu_count() or 1\nfactor = 2\nworkers = int(cores * factor) + 1",
        "workers = len(os.sched_getaffinity(0))",
    ] {
        let text = translated(&format!("{lead}{more}"), &["app:app"]);
        has(&text, &["workers = \"auto\""]);
    }
    for (more, told) in [
        (
            "workers = min(1, cpu_count() * 2 + 1)",
            "set RGUNICORN_WORKERS",
        ),
        (
            "workers = int(os.environ.get('MANY', cpu_count() * 0 + 1))",
            "Here RGUNICORN_WORKERS counts more",
        ),
        (
            "debug = True\nworkers = debug and 1 or cpu_count()",
            "set RGUNICORN_WORKERS",
        ),
        (
            "workers = cpu_count()\nif workers > 0:\n    workers = 1",
            "set RGUNICORN_WORKERS",
        ),
    ] {
        let text = translated(&format!("{lead}{more}"), &["app:app"]);
        has(&text, &["\nworkers = 1", told]);
    }
}

#[test]
fn hooks_are_named_only_where_they_are_found_under_that_name() {
    let module = "import functools\n\
        def wrapped(function):\n    return functools.wraps(function)(lambda *them: function(*them))\n\
        def imported(server, worker):\n    pass\n";
    let configuration = "import functools\nfrom wrapping import imported, wrapped\n\
        @wrapped\ndef post_fork(server, worker):\n    pass\n\
        class Hook:\n    def __call__(self, worker):\n        pass\n\
        post_worker_init = Hook()\n\
        worker_exit = functools.partial(imported)\n\
        worker_int = wrapped(imported)\n\
        worker_abort = imported\n";
    let hooks = |name: &str| {
        let arguments = ["migrate", "-o", "-", name, "--", "app"];
        let setup = Setup::without_file(&arguments)
            .file("wrapping.py", module)
            .file(name, configuration)
            .environment("VIRTUAL_ENV", environment());
        let text = setup.run().stdout;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let hooks = lines.filter(|line| line.contains(':')).map(str::to_owned);
        hooks.collect::<Vec<_>>()
    };
    assert_eq!(
        hooks("gunicorn.conf.py"),
        ["worker_abort = \"wrapping:imported\""]
    );
    let own = hooks("hooked.py");
    for line in [
        "post_fork = \"hooked:post_fork\"",
        "worker_init = \"hooked:post_worker_init\"",
        "worker_exit = \"hooked:worker_exit\"",
    ] {
        assert!(own.iter().any(|own| own == line), "{line}: {own:?}");
    }
}

/// What the reader of the report could not take.
#[test]
fn values_that_no_file_can_have_are_told() {
    let text = translated(
        "timeout = float('inf')\nproc_name = '\\ud800'\nbacklog = 10 ** 400\nworkers = 2",
        &["app:app"],
    );
    has(
        &text,
        &[
            "workers = 2",
            "timeout = inf It is no whole number.",
            "proc_name = '\\ud800' It is no text.",
        ],
    );
    let exit = Setup::without_file(&["migrate", "-o", "-"])
        .file("gunicorn.conf.py", "raise ValueError('\\ud800')")
        .environment("VIRTUAL_ENV", environment())
        .run();
    assert!(
        exit.log.contains("line 1: ValueError: \\ud800"),
        "{}",
        exit.log
    );
}

#[test]
fn a_python_that_is_too_old_is_named() {
    let shim = format!(
        "#!/bin/sh\ncode=$2\nshift 2\nexec {} -c \"import sys; sys.version_info = (3, 8, 1)\n$code\" \"$@\"\n",
        venv_python().display()
    );
    let setup = Setup::without_file(&["migrate", "--python", "./old-python"])
        .file("gunicorn.conf.py", "workers = 2");
    install_script(&setup.path().join("old-python"), &shim);
    let exit = setup.run();
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.log.contains("is Python 3.8.1, too old to read it"),
        "{}",
        exit.log
    );
}

#[test]
fn the_next_command_is_one_that_starts() {
    let start = |arguments: &[&str], name: &str, line: &str| {
        let setup = Setup::without_file(&[&["migrate"], arguments].concat())
            .file(name, line)
            .file("backend/gunicorn.conf.py", "threads = 7")
            .environment("VIRTUAL_ENV", environment());
        let folder = fs::canonicalize(setup.path()).unwrap();
        let file = setup.path().join("rgunicorn.toml");
        let (exit, text) = within(&file, setup.spawn());
        (exit.stdout, text, folder.display().to_string())
    };
    let (told, text, _) = start(
        &["--procfile", "Procfile"],
        "Procfile",
        "web: cd backend && A='x y' gunicorn site.wsgi\n",
    );
    has(
        &told,
        &["Start it: cd backend && A='x y' rgunicorn -c ../rgunicorn.toml"],
    );
    has(&text, &["threads = 7", "chdir = \"backend\""]);
    let (told, _, folder) = start(
        &["--unit", "shop.service"],
        "shop.service",
        "[Service]\nExecStart=%h/venv/bin/gunicorn site.wsgi\n",
    );
    has(
        &told,
        &[&format!(
            "Start it: %h/venv/bin/rgunicorn -c {folder}/rgunicorn.toml"
        )],
    );
}

#[test]
fn values_beyond_a_range_become_its_end() {
    let words = "--timeout 999999 --limit-request-fields 32768 -e A=1 -e A=2 app:app";
    let text = translated("", &words.split(' ').collect::<Vec<_>>());
    has(&text, &["worker = \"1d\"", "headers = 512", "A = \"2\""]);
    has(
        &text,
        &[
            "Gunicorn has no limit for all of a head",
            "head = \"1024KiB\"",
        ],
    );
}

/// What Gunicorn accepted by its own limits is accepted by those that were made of them.
#[test]
fn a_large_head_that_gunicorn_was_told_to_accept_is_accepted() {
    let settings = "limit_request_field_size = 20000\nlimit_request_fields = 20";
    let text = written(settings, &["app"]);
    has(
        &text,
        &["header_size = 20000", "headers = 20", "head = \"395KiB\""],
    );
    let setup = Setup::without_file(&[]).app(APP);
    let server = serve(setup.environment("VIRTUAL_ENV", environment()), &text);
    let field = format!("X: {}\r\n", "x".repeat(19_000));
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", field.repeat(19));
    assert_eq!(server.client().request(&request).status, 200);
}

#[test]
fn variables_of_platforms_go_on_to_count() {
    let text = translated(
        "import os\nport = os.environ.get('PORT', '8000')\nbind = f'0.0.0.0:{port}'\nworkers = 2",
        &["app:app"],
    );
    assert!(!text.contains("\nbind"), "{text}");
    has(
        &text,
        &[
            "made from the variable PORT, which counts here without being named",
            "WEB_CONCURRENCY is set, as platforms do, it counts more here",
        ],
    );
    let text = translated(
        "import os\nbind = '127.0.0.1:' + os.getenv('PORT', '8000')",
        &["app:app"],
    );
    has(
        &text,
        &[
            "bind = \"127.0.0.1:8000\"",
            "which counts less here than this line",
        ],
    );
}

#[test]
fn what_went_to_syslog_goes_there() {
    let with_syslog_to = |address: &str, more: &[&str]| {
        let command = "migrate -o - -- gunicorn app:app --log-syslog --log-syslog-to";
        let words = command.split(' ').chain([address]);
        let words: Vec<&str> = words.chain(more.iter().copied()).collect();
        let setup = Setup::without_file(&words).environment("VIRTUAL_ENV", environment());
        setup.run().stdout
    };
    let text = with_syslog_to(
        "udp://127.0.0.1:5514",
        &[
            "--log-syslog-prefix",
            "shop",
            "--log-syslog-facility",
            "local3",
            "--error-logfile",
            "error.log",
        ],
    );
    for line in [
        "error = \"syslog:udp://127.0.0.1:5514\"",
        "access = \"syslog:udp://127.0.0.1:5514\"",
        "identifier = \"shop\"",
        "syslog_facility = \"local3\"",
        "# command line: errorlog = \"error.log\"",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
    assert!(!text.contains("The access log goes to the standard output"));
    let text = with_syslog_to("tcp://loghost:601", &[]);
    assert!(text.contains("by a UNIX socket or UDP here"), "{text}");
}

#[test]
fn nothing_is_written_over_unless_it_is_said() {
    let arguments = |more: &'static [&'static str]| [&["migrate"], more].concat();
    let run = |more| {
        let setup = Setup::without_file(&arguments(more))
            .file("rgunicorn.toml", "mine")
            .file("gunicorn.conf.py", "wsgi_app = 'app:app'")
            .environment("VIRTUAL_ENV", environment());
        let file = setup.path().join("rgunicorn.toml");
        let server = setup.spawn();
        // The directory lives as long as the server does.
        within(&file, server)
    };
    let (exit, text) = run(&[]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("is there already"), "{}", exit.log);
    assert_eq!(text, "mine");
    let (exit, text) = run(&["--force"]);
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(text.contains("app = \"app:app\""), "{text}");
}

/// The text of a file once the command has ended.
fn within(file: &Path, mut server: crate::harness::Server) -> (Exit, String) {
    crate::harness::eventually("the command ends", || server.has_ended());
    let text = fs::read_to_string(file).unwrap();
    (server.ended(), text)
}

#[test]
fn without_an_app_and_without_anything_it_says_so() {
    let run = |files: &[(&str, &str)]| {
        let setup = Setup::without_file(&["migrate"]).environment("VIRTUAL_ENV", environment());
        files
            .iter()
            .fold(setup, |setup, (name, text)| setup.file(name, text))
            .run()
    };
    let exit = run(&[("gunicorn.conf.py", "workers = 2")]);
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(exit.stdout.contains("No app was named"), "{}", exit.stdout);
    let exit = run(&[]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("nothing to migrate"), "{}", exit.log);
}
