//! What the app prints and what it logs: `log.capture_output` and `log.python_config`.

use nix::sys::signal::Signal;

use super::start_unseen;
use crate::harness::{APP, Client, Server, Setup, eventually};

const ROUTES: &str = r#"
import ctypes
print("printed at the import")

def route_print(environ, start_response, query):
    print("worker=9 pid=1 \x1b[2J told", end="")
    print(" in one line")
    print("a warning", file=sys.stderr)
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    return answer(start_response, "printed")

def route_last_words(environ, start_response, query):
    os.write(2, b"free(): invalid pointer")
    os.abort()

def route_flood(environ, start_response, query):
    for number in range(20000):
        print("x" * 80)
    return answer(start_response, "flooded")

def route_close(environ, start_response, query):
    os.close(1)
    return answer(start_response, "closed")

def route_log(environ, start_response, query):
    import logging
    logging.getLogger("mysite").info("logged by %s", "the app")
    return answer(start_response, "logged")
"#;

fn app() -> String {
    format!("{APP}{ROUTES}")
}

#[test]
fn what_the_app_prints_is_in_the_error_log_line_by_line_with_its_worker() {
    for class in ["sync", "gevent", "eventlet"] {
        let config =
            format!("worker_class = '{class}'\n[log]\ncapture_output = true\naccess = 'off'");
        let server = Setup::with(&config).app(&app()).start();
        let worker = server.worker();
        server.says(&format!(
            "[{worker}] [INFO] generation=1 worker=1 stdout: printed at the import"
        ));
        server.text("/print");
        server
            .says("[INFO] generation=1 worker=1 stdout: worker=9 pid=1 \\x1B[2J told in one line");
        server.says("[WARNING] generation=1 worker=1 stderr: a warning");
        server.says("stdout: from C");
        assert_eq!(server.printed(), "", "{class}");
    }
}

#[test]
fn the_last_words_of_a_worker_come_before_the_news_of_its_death() {
    let server = Setup::with("[log]\ncapture_output = true")
        .app(&app())
        .start();
    server
        .client()
        .send("GET /last_words HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says("SIGABRT");
    let log = server.log();
    let words = log
        .find("worker=1 stderr: free(): invalid pointer")
        .unwrap();
    assert!(words < log.find("SIGABRT").unwrap(), "{log}");
    server.says("worker=2 … ready");
}

#[test]
fn a_flood_of_output_and_a_closed_stream_do_no_harm() {
    let server = Setup::with("[log]\ncapture_output = true\naccess = 'off'")
        .app(&app())
        .start();
    assert_eq!(server.text("/flood"), "flooded");
    eventually("all is told", || {
        server.log().matches(" stdout: xxxx").count() == 20_000
    });
    assert_eq!(server.text("/close"), "closed");
    assert_eq!(server.text("/"), "hello from /");
    let generation = server.generations()[0];
    let before = generation.cpu_ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let spent = generation.cpu_ticks() - before;
    assert!(
        spent < 20,
        "the generation spins: {spent} ticks in a second"
    );
}

#[test]
fn nobody_who_reads_the_error_log_does_not_stop_the_app() {
    let setup =
        Setup::with("bind = 'unix:run.sock'\n[log]\ncapture_output = true\nerror = '{dir}/pipe'");
    let pipe = setup.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open for both, so that the server can open it; nobody reads.
    let _held = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let (_server, address) = start_unseen(setup.app(&app()));
    let begun = std::time::Instant::now();
    assert_eq!(Client::to(&address).get("/flood").text(), "flooded");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn an_app_prints_on_while_there_is_no_generation_to_read_it() {
    for class in ["sync", "gthread", "asgi", "gevent"] {
        let app = match class {
            "asgi" => ASGI_FLOOD.to_owned(),
            _ => app(),
        };
        // The generation that comes after takes long to import, so the workers of the one before are alone.
        let slow = "import os, time\nif os.path.exists('slow'):\n    time.sleep(30)\n";
        let config = format!(
            "worker_class = '{class}'\n[log]\ncapture_output = true\naccess = 'off'\n[timeouts]\nboot = '60s'"
        );
        let server = Setup::with(&config).app(&format!("{slow}{app}")).start();
        server.directory.write("slow", "");
        server.from_now();
        server.generations()[0].signal(Signal::SIGKILL);
        server.says("its workers go on");
        assert_eq!(server.text("/flood"), "flooded", "{class}");
        server.says("worker=1 stdout: xxxx");
    }
}

const ASGI_FLOOD: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    for number in range(20000):
        print("x" * 80)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"flooded"})
application = app
"#;

#[test]
fn what_a_preloaded_app_prints_at_its_import_is_told_once() {
    let server = Setup::with("preload = true\nworkers = 2\n[log]\ncapture_output = true")
        .app(&app())
        .start();
    server.says("generation=1 stdout: printed at the import");
    server.text("/print");
    server.says("worker= … stdout: from C");
    assert_eq!(server.log().matches("printed at the import").count(), 1);
}

#[test]
fn without_it_the_output_goes_where_the_servers_goes() {
    let server = Setup::with("[log]\naccess = 'off'").app(&app()).start();
    server.text("/print");
    server.signal(Signal::SIGTERM);
    assert!(server.ended().stdout.contains("told in one line"));
}

const TOML: &str = r#"
[formatters.plain]
format = "%(levelname)s from %(name)s: %(message)s"
[handlers.file]
class = "logging.FileHandler"
filename = "app.log"
formatter = "plain"
[loggers.mysite]
level = "INFO"
handlers = ["file"]
"#;

const JSON: &str = r#"{
    "version": 1,
    "formatters": {"plain": {"format": "%(levelname)s from %(name)s: %(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "app.log", "formatter": "plain"}},
    "loggers": {"mysite": {"level": "INFO", "handlers": ["file"]}}
}"#;

const INI: &str = r"
[loggers]
keys = root, mysite
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
handlers =
[logger_mysite]
qualname = mysite
level = INFO
handlers = file
[handler_file]
class = FileHandler
args = ('app.log',)
formatter = plain
[formatter_plain]
format = %(levelname)s from %(name)s: %(message)s
";

#[test]
fn pythons_logging_is_set_up_before_the_app_is_imported() {
    for (name, text) in [
        ("logging.json", JSON),
        ("logging.ini", INI),
        ("logging.toml", TOML),
    ] {
        for preload in [false, true] {
            let config = format!("preload = {preload}\n[log]\npython_config = '{name}'");
            let app = format!(
                "{}\nimport logging\nlogging.getLogger('mysite').info('imported')\n",
                app()
            );
            let server = Setup::with(&config).file(name, text).app(&app).start();
            server.text("/log");
            assert_eq!(
                server.directory.read("app.log"),
                "INFO from mysite: imported\nINFO from mysite: logged by the app\n",
                "{name}"
            );
        }
    }
}

#[test]
fn a_logging_file_with_a_fault_rejects_the_reload_and_says_what_python_says() {
    let server = Server::start("");
    server.directory.write(
        "logging.json",
        r#"{"handlers": {"a": {"class": "no.such.Handler"}}}"#,
    );
    server.edit("[log]\npython_config = 'logging.json'");
    server.says("`log.python_config` … logging.json: ValueError: Unable to configure handler 'a': … No module named 'no'");
    server.says("reload … rejected");
    assert_eq!(server.text("/"), "hello from /");
    server.edit("[log]\npython_config = 'nowhere.json'");
    server.says("rejected");
    server.says("there is no file");
    server.directory.write("logging.yaml", "");
    server.edit("[log]\npython_config = 'logging.yaml'");
    server.says("must end in .toml, .json, .ini, .conf or .cfg");
}

#[test]
fn what_is_printed_while_the_app_is_preloaded_is_printed_once() {
    let app = "
print('loading the app')

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']

def gone(server, worker):
    print('one has gone')
";
    let server = Setup::with("preload = true\nworkers = 2\n[hooks]\nchild_exit = 'app:gone'")
        .app(app)
        .environment("PYTHONUNBUFFERED", "")
        .start();
    server.signal(Signal::SIGTERM);
    server.says("stopped");
    server.prints("one has gone");
    let printed = server.printed();
    assert_eq!(printed.matches("loading the app").count(), 1, "{printed}");
}
