//! Any app, by any name, at any address, in any interpreter.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::harness::{
    Address, Client, Server, Setup, free_port, interpreters, system_python, venv_python,
};

#[test]
fn a_module_with_an_application_is_served() {
    let server = Server::start("");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn the_class_that_was_chosen_is_told_once_for_all_workers() {
    let server = Server::start("workers = 3");
    server.says_times(3, " ready");
    let told = server.log().matches("worker_class=sync chosen").count();
    assert_eq!(told, 1, "{}", server.log());
}

#[test]
fn an_attribute_of_a_module_is_served_dots_descend() {
    let server = Server::start("app = 'app:Holder.inner'");
    assert_eq!(server.text("/"), "made with 'held' and None");
}

#[test]
fn a_factory_is_called_with_its_arguments() {
    let server = Server::start(r#"app = "app:factory('arg', key=1)""#);
    assert_eq!(server.text("/"), "made with 'arg' and 1");
}

#[test]
fn no_file_is_needed() {
    let server = Setup::without_file(&["app", "-b", "127.0.0.1:0", "-w", "2"])
        .environment("VIRTUAL_ENV", venv())
        .start();
    server.says_times(2, " ready");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_file_in_the_working_directory_is_found_by_itself() {
    let server = Setup::with("app = 'app:Holder.inner'")
        .arguments(&[])
        .start();
    assert_eq!(server.text("/"), "made with 'held' and None");
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let environment = Setup::with("app = 'nowhere'").environment("RGUNICORN_APP", "app");
    assert_eq!(environment.start().text("/"), "hello from /");

    let command_line = Setup::with("app = 'nowhere'")
        .environment("RGUNICORN_APP", "nowhere.either")
        .arguments(&["-c", "rgunicorn.toml", "app"]);
    assert_eq!(command_line.start().text("/"), "hello from /");
}

#[test]
fn gunicorns_environment_variables_work() {
    let port = free_port();
    let server = Setup::without_file(&["app"])
        .environment("VIRTUAL_ENV", venv())
        .environment("PORT", port.to_string())
        .environment("WEB_CONCURRENCY", "2")
        .start();
    server.says_times(2, " ready");
    assert_eq!(server.port(), port);
    let mut client = Client::to(&Address::Tcp(([127, 0, 0, 1], port).into()));
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn flask_is_served() {
    let app = "
from flask import Flask, request
application = Flask(__name__)

@application.post('/hello')
def hello():
    return {'hello': request.get_json()['name']}
";
    let server = Setup::plain().app(app).start();
    let response = server.client().request(
        "POST /hello HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 14\r\n\r\n{\"name\": \"you\"}",
    );
    // The 15th byte of the body is not in its Content-Length: Flask must see broken JSON, and nothing of it.
    assert_eq!(response.status, 400);
    let response = server.client().request(
        "POST /hello HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 15\r\n\r\n{\"name\": \"you\"}",
    );
    assert_eq!(response.json()["hello"], "you");
}

const DJANGO: &str = "
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, SECRET_KEY='test')
urlpatterns = [path('sum/<int:a>/', lambda request, a: JsonResponse({'sum': a + int(request.POST['b'])}))]
application = get_wsgi_application()
";

#[test]
fn django_is_served() {
    let server = Setup::with("threads = 4").app(DJANGO).start();
    let response = server.client().request(
        "POST /sum/40/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 3\r\n\r\nb=2",
    );
    assert_eq!(response.json()["sum"], 42);
}

/// Django reads as much as CONTENT_LENGTH says and knows no other end; the length of a buffered body is known.
#[test]
fn a_chunked_body_reaches_django() {
    let server = Setup::plain().app(DJANGO).start();
    let response = server.client().request(
        "POST /sum/40/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nb=2\r\n0\r\n\r\n",
    );
    assert_eq!(response.json()["sum"], 42);
}

#[test]
fn a_unix_socket_is_served_with_its_mode_and_leaves_no_file() {
    let server = Server::start("bind = 'unix:run.sock'\nsocket_mode = '640'");
    let path = server.directory.path().join("run.sock");
    assert_eq!(server.address(), Address::Unix(path.clone()));
    assert_eq!(server.text("/"), "hello from /");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn an_inherited_socket_is_served() {
    let parent = "
import os, socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
os.dup2(listener.fileno(), 7)
os.execv(sys.argv[1], sys.argv[1:])
";
    let server = Setup::with("bind = 'fd://7'")
        .inside([venv_python().into_os_string(), "-c".into(), parent.into()])
        .start();
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn several_addresses_are_served_together() {
    let config = "bind = ['127.0.0.1:0', 'unix:{dir}/run.sock', '127.0.0.1:0']";
    let server = Server::start(config);
    server.says_times(3, "listening at ");
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3);
    for address in addresses {
        assert_eq!(Client::to(&address).get("/").text(), "hello from /");
    }
}

#[test]
fn ipv6_is_served() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here");
        return;
    }
    let server = Server::start("bind = '[::1]:0'");
    let environ = server.get("/environ").json();
    assert_eq!(environ["REMOTE_ADDR"], "::1");
    assert_eq!(environ["SERVER_NAME"], "::1");
}

#[test]
fn one_build_serves_every_supported_interpreter_of_this_machine() {
    let supported = interpreters()
        .iter()
        .filter(|found| ((3, 10)..=(3, 13)).contains(&found.version));
    for found in supported {
        let server = Setup::with("threads = 2")
            .python(Some(found.path.clone()))
            .start();
        let (major, minor) = found.version;
        assert_eq!(server.text("/python"), format!("{major}.{minor}"));
    }
}

#[test]
fn an_interpreter_that_is_missing_is_an_error_before_anything_runs() {
    let exit = Setup::plain()
        .python(Some(PathBuf::from("/nowhere/bin/python")))
        .start_and_fail();
    assert_ne!(exit.code, Some(0));
    assert!(exit.log.contains("/nowhere/bin/python"), "{}", exit.log);
    assert!(!exit.log.contains("listening"), "{}", exit.log);
}

#[test]
fn an_interpreter_that_is_too_old_is_an_error_before_anything_runs() {
    let Some(old) = interpreters().iter().rfind(|found| found.version < (3, 10)) else {
        eprintln!("no Python older than 3.10 here");
        return;
    };
    let exit = Setup::plain()
        .python(Some(old.path.clone()))
        .start_and_fail();
    assert_ne!(exit.code, Some(0));
    for part in [
        &format!("3.{}", old.version.1),
        "which is too old",
        "; name CPython 3.10 or newer in `python`, or a virtualenv that was made with it",
        old.path.to_str().unwrap(),
    ] {
        assert!(exit.log.contains(part), "no `{part}` in:\n{}", exit.log);
    }
    assert!(!exit.log.contains("listening"), "{}", exit.log);
}

#[test]
fn the_configured_virtualenv_is_the_one_that_runs() {
    let server = Server::start("");
    assert_eq!(PathBuf::from(server.text("/prefix")), venv());
}

#[test]
fn chdir_env_and_python_path_are_what_the_app_sees() {
    let config = "app = 'elsewhere'\nchdir = 'site'\npython_path = ['lib']\n[env]\nCOLOUR = 'blue'";
    let setup = Setup::with(config).file("site/lib/elsewhere.py", "from app import *");
    let path = setup.path().to_owned();
    fs::rename(path.join("app.py"), path.join("site/app.py")).unwrap();
    let server = setup.start();
    assert_eq!(PathBuf::from(server.text("/cwd")), path.join("site"));
    assert_eq!(server.text("/env?name=COLOUR"), "blue");
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_its_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let exit = Setup::with(&format!("bind = '{address}'")).start_and_fail();
    assert_ne!(exit.code, Some(0));
    assert!(exit.log.contains(&address), "{}", exit.log);
    assert!(exit.log.contains("already in use"), "{}", exit.log);
}

#[test]
fn an_address_of_no_interface_ends_the_start_with_what_it_lacks() {
    // Of a network that is for documentation only (RFC 5737).
    let exit = Setup::with("bind = '192.0.2.1:8000'").start_and_fail();
    assert_eq!(exit.code, Some(1));
    let told = "opening `192.0.2.1:8000` failed: Cannot assign requested address (os error 99)";
    assert!(exit.log.contains(told), "{}", exit.log);
    let help = "no network interface here has this address";
    assert!(exit.log.contains(help), "{}", exit.log);
}

#[test]
fn workers_run_as_the_configured_user_with_the_umask() {
    let Some(system) = system_python() else {
        return;
    };
    let app = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d %o' % (os.getuid(), os.getgid(), os.umask(0o77))]
";
    let config = "user = 'nobody'\ngroup = 'daemon'\numask = '027'";
    let setup = Setup::with(config).app(app).python(Some(system.path));
    fs::set_permissions(setup.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = setup.start();
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    assert_eq!(server.text("/"), format!("{} {} 27", user.uid, group.gid));
}

#[test]
fn the_pidfile_lives_as_long_as_the_server() {
    let server = Server::start("pidfile = 'run.pid'");
    let written = server.directory.read("run.pid");
    assert_eq!(written.trim(), server.arbiter().pid.to_string());
    let path = server.directory.path().join("run.pid");
    drop(server);
    assert!(!path.exists());
}

#[test]
fn process_titles_tell_role_generation_and_app() {
    let server = Server::start("");
    let titles: Vec<String> = server
        .below()
        .iter()
        .map(|process| process.title())
        .collect();
    let has = |role: &str| {
        titles
            .iter()
            .any(|t| t.contains("rgunicorn") && t.contains(role) && t.contains("[app]"))
    };
    assert!(has("generation 1") && has("worker"), "{titles:?}");
}

#[test]
fn check_passes_a_good_config_without_serving_it() {
    let exit = Setup::plain()
        .arguments(&["check", "-c", "rgunicorn.toml"])
        .run();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.log.is_empty(), "{}", exit.log);
}

#[test]
fn check_shows_a_wrong_config_with_its_place_and_a_hint() {
    let exit = Setup::with("worker = 3")
        .arguments(&["check", "-c", "rgunicorn.toml"])
        .run();
    assert_ne!(exit.code, Some(0));
    let shown = exit.log + &exit.stdout;
    for part in ["rgunicorn.toml:5:1", "worker = 3", "`workers`"] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }
}

#[test]
fn check_shows_the_traceback_of_an_app_that_does_not_import() {
    let setup = Setup::plain().app("import nowhere\n");
    let exit = setup.arguments(&["check", "-c", "rgunicorn.toml"]).run();
    assert_ne!(exit.code, Some(0));
    let shown = exit.log + &exit.stdout;
    for part in ["Traceback", "app.py\", line 1", "No module named 'nowhere'"] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }
}

#[test]
fn schema_prints_the_committed_schema() {
    let exit = Setup::plain().arguments(&["schema"]).run();
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/rgunicorn.schema.json");
    assert_eq!(
        exit.stdout.trim(),
        fs::read_to_string(committed).unwrap().trim()
    );
}

/// The folder of the tests' virtualenv.
fn venv() -> PathBuf {
    venv_python().parent().unwrap().parent().unwrap().to_owned()
}
