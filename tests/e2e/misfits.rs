//! Apps that can be imported and cannot be called: told when they are loaded, not with a 500 for each request.

use crate::harness::{Exit, Setup};

fn checked(app: &str, config: &str) -> Exit {
    Setup::with(config).app(app).arguments(&["check"]).run()
}

const FACTORY: &str = "
def application(config=None):
    pass
";

const ASYNC_FACTORY: &str = "
async def application():
    pass
";

/// As `aiohttp.web.Application` and `tornado.web.Application` are.
const FOREIGN: &str = "
class Application:
    def __call__(self):
        return self

application = Application()
";

const WSGI: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

const ASGI: &str = "
class Application:
    async def __call__(self, scope, receive, send):
        pass

application = Application()
";

#[test]
fn what_cannot_be_called_is_told_when_it_is_loaded() {
    let takes = "and WSGI calls an app with `environ` and `start_response`";
    for (app, config, said) in [
        (
            FACTORY,
            "",
            format!(
                "it takes `config`, {takes}; if it makes the app, write `app:application()`"
            ),
        ),
        (
            ASYNC_FACTORY,
            "",
            "it takes nothing, and ASGI calls an app with `scope`, `receive` and `send`\n"
                .to_owned(),
        ),
        (
            FOREIGN,
            "threads = 2",
            format!(
                "it takes nothing, {takes}; an object of type `app.Application` is neither a WSGI nor an ASGI app"
            ),
        ),
        (
            ASGI,
            "worker_class = 'gthread'",
            "it is an ASGI app, and `worker_class = \"gthread\"` calls WSGI apps; leave `worker_class` out"
                .to_owned(),
        ),
        (
            WSGI,
            "worker_class = 'asgi'",
            "it is a WSGI app, and `worker_class = \"asgi\"` calls ASGI apps; leave `worker_class` out"
                .to_owned(),
        ),
    ] {
        for config in [config.to_owned(), format!("preload = true\n{config}")] {
            let exit = checked(app, &config);
            assert_eq!(exit.code, Some(1), "{config}: {}", exit.log);
            let said = format!("cannot load `app`: the app cannot be served: {said}");
            assert!(exit.log.contains(&said), "{said}\n{}", exit.log);
        }
    }
}

#[test]
fn an_edit_that_names_a_factory_without_its_call_is_rejected() {
    let app = format!("{WSGI}\n\ndef create_app():\n    return application\n");
    let server = Setup::with("app = 'app'").app(&app).start();
    server.edit("app = 'app:create_app'");
    server.says("reload=1 rejected");
    server.says("if it makes the app, write `app:create_app()`");
    assert_eq!(server.text("/"), "ok");
    server.edit("app = 'app:create_app()'");
    server.applied();
    assert_eq!(server.text("/"), "ok");
}

/// Callables of all kinds, each with a signature that says less than a call shows, or something else.
const UNUSUAL: &str = "
import functools

def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']

def view(request):
    return application

@functools.wraps(view)
def wrapped(*arguments):
    return application(*arguments[-2:])

@functools.wraps(view)
def adapted(environ, start_response):
    return view(environ)(environ, start_response)

def with_more(environ, start_response, setting=None, *, other=None):
    return application(environ, start_response)

class Static:
    @staticmethod
    def __call__(environ, start_response):
        return application(environ, start_response)

class OfClass:
    @classmethod
    def __call__(cls, environ, start_response):
        return application(environ, start_response)

class Slotted:
    __slots__ = ('__call__',)

    def __init__(self):
        self.__call__ = lambda environ, start_response: application(environ, start_response)

class Response:
    def __init__(self, environ, start_response):
        self.body = application(environ, start_response)

    def __iter__(self):
        return iter(self.body)

class Lying:
    __signature__ = 'nonsense'

    def __call__(self, environ, start_response):
        return application(environ, start_response)

static, of_class, slotted, lying = Static(), OfClass(), Slotted(), Lying()
method = lying.__call__
partial = functools.partial(lambda setting, environ, start_response: application(environ, start_response), 1)
keywords = functools.partial(with_more, setting=1)
";

#[test]
fn callables_of_all_kinds_are_let_be() {
    let names =
        "wrapped adapted with_more static of_class slotted Response lying method partial keywords";
    for name in names.split(' ') {
        let config = format!("app = 'app:{name}'");
        let exit = checked(UNUSUAL, &config);
        assert_eq!(exit.code, Some(0), "{name}: {}", exit.log);
    }
    let server = Setup::with("app = 'app:static'").app(UNUSUAL).start();
    assert_eq!(server.text("/"), "ok");
    for name in ["of_class", "slotted", "adapted", "Response", "partial"] {
        server.edit(&format!("app = 'app:{name}'"));
        server.applied();
        assert_eq!(server.text("/"), "ok", "{name}");
    }
}
