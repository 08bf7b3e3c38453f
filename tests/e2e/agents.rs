//! What looks at the app from inside its interpreter: the agents of monitoring services, tracers, debuggers.

use nix::sys::signal::Signal;

use crate::harness::{Setup, eventually};

/// `sitecustomize` is where `opentelemetry-instrument`, `ddtrace-run` and `newrelic-admin` begin.
#[test]
fn an_agent_is_started_in_each_generation_and_in_no_other_process() {
    for preload in [false, true] {
        let setup = Setup::with(&format!("preload = {preload}"));
        let folder = setup.path().join("agent");
        let agent =
            "import os, sys\nprint('agent', os.getpid(), sys.argv, file=open('started', 'a'))";
        let server = setup
            .file("agent/sitecustomize.py", agent)
            .environment("PYTHONPATH", folder)
            .start();
        server.signal(Signal::SIGHUP);
        server.applied();
        let pid = server.generations().last().unwrap().pid;
        let started = server.directory.read("started");
        assert_eq!(started.lines().count(), 2, "{started}");
        assert!(started.contains(&format!("agent {pid} ")), "{started}");
    }
}

/// To look for a package, the interpreter needs its site modules. coverage.py, which begins with them, would leave half a file.
#[test]
fn what_an_agent_does_at_the_end_is_not_begun_where_nobody_waits_for_it() {
    let agent = "import atexit\natexit.register(lambda: open('ended', 'w'))";
    let setup = Setup::with("worker_class = 'gevent'").file("agent/sitecustomize.py", agent);
    let folder = setup.path().join("agent");
    let server = setup.environment("PYTHONPATH", folder).start();
    let has_ended = || server.directory.path().join("ended").exists();
    assert!(!has_ended());
    server.signal(Signal::SIGTERM);
    eventually("a worker runs what is for its end", has_ended);
}

/// coverage.py, debuggers and profilers leave out code that says it is in no file.
#[test]
fn no_python_code_of_the_server_says_that_it_is_in_a_file() {
    let app = "
import sys

def names():
    for name, module in sorted(sys.modules.items()):
        if name.startswith('_rgunicorn_'):
            yield module.__file__
            for one in vars(module).values():
                if getattr(one, '__module__', None) == name and hasattr(one, '__code__'):
                    yield one.__code__.co_filename

def application(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(names()).encode()]

async def asgi(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': ' '.join(names()).encode()})

def post_fork(server, worker):
    pass
";
    for entry in ["application", "asgi"] {
        let config = format!("app = 'app:{entry}'\n[hooks]\npost_fork = 'app:post_fork'");
        let server = Setup::with(&config).app(app).start();
        let names = server.text("/");
        assert!(names.contains("<rgunicorn/hooks.py>"), "{names}");
        let all = names.split(' ');
        let of_files: Vec<_> = all.filter(|name| !name.starts_with('<')).collect();
        assert!(of_files.is_empty(), "{of_files:?}");
    }
}
