//! The class and its loop, as they are chosen and named in the file.

use super::{APP, setup, start};
use crate::harness::{Hammer, Setup, interpreters};

#[test]
fn a_save_that_switches_the_worker_class_loses_nothing() {
    let both = format!(
        "{APP}\n\ndef wsgi(environ, start_response):\n    start_response('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n"
    );
    let threads = "app = 'app:wsgi'\nworker_class = 'gthread'\nthreads = 4\nworkers = 2";
    let asgi = "app = 'app:app'\nworker_class = 'asgi'\nworkers = 2";
    let server = Setup::with(threads).app(&both).start();
    let hammer = Hammer::start(server.address(), "/", 8, 4);
    hammer.lands(200);
    for config in [asgi, threads, asgi] {
        server.edit(config);
        server.applied();
        hammer.lands(200);
    }
    hammer.stop();
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn uvloop_that_is_missing_is_said_before_anything_is_replaced() {
    let bare = interpreters().iter().find(|found| found.lacks("uvloop"));
    let Some(bare) = bare else {
        eprintln!("no interpreter without uvloop: skipped");
        return;
    };
    let server = setup("worker_class = 'asgi'")
        .python(Some(bare.path.clone()))
        .start();
    server.edit("app = 'app:app'\nworker_class = 'asgi'\nloop = 'uvloop'");
    server.says("`loop = \"uvloop\"` needs the package uvloop…pip install uvloop");
    assert_eq!(server.text("/"), "hello from /");
}

/// As `SentryAsgiMiddleware` is made.
const SLOTTED: &str = "
class Middleware:
    __slots__ = ('app', '__call__')

    def __init__(self, app):
        self.app = app
        self.__call__ = self.run

    async def run(self, scope, receive, send):
        return await self.app(scope, receive, send)

async def hello(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'hello'})

app = Middleware(hello)
";

#[test]
fn an_app_whose_call_is_a_slot_is_recognised() {
    let supported = interpreters().iter().filter(|it| it.version >= (3, 10));
    for found in supported {
        let server = Setup::with("app = 'app:app'")
            .app(SLOTTED)
            .python(Some(found.path.clone()))
            .start();
        server.says("worker_class=asgi chosen: the app's `__call__` is a coroutine function");
        assert_eq!(server.text("/"), "hello", "{}", found.path.display());
    }
}

#[test]
fn gunicorns_word_for_uvicorn_is_understood_with_a_note() {
    let note = "`uvicorn.workers.UvicornWorker` is `worker_class = \"asgi\"` here";
    let line = "worker_class = 'uvicorn.workers.UvicornWorker'";
    let server = start(line);
    server.says(&format!("[INFO] rgunicorn.toml:5: {note}"));
    assert_eq!(server.text("/"), "hello from /");
    // What was said is not said again with each save.
    server.edit(&format!("app = 'app:app'\n{line}\nproc_name = 'other'"));
    server.applied();
    assert!(!server.has_said(note));

    let checked = setup(line).arguments(&["check", "-c", "rgunicorn.toml"]);
    let exit = checked.run();
    assert_eq!(exit.code, Some(0));
    assert!(
        exit.stdout.contains(&format!("rgunicorn.toml:5: {note}\n")),
        "{}",
        exit.stdout
    );
}
