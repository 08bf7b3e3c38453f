//! `rgunicorn init`: a starter file for a project that was looked at, and `rgunicorn check --app`, which boots it.

use std::path::PathBuf;

use crate::harness::{Exit, Server, Setup, eventually, venv_python};

const DJANGO: &[(&str, &str)] = &[
    (
        "manage.py",
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n",
    ),
    ("mysite/__init__.py", ""),
    (
        "mysite/settings.py",
        "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'mysite.urls'\n",
    ),
    (
        "mysite/urls.py",
        "from django.http import HttpResponse\nfrom django.urls import path\n\nurlpatterns = [path('', lambda request: HttpResponse('django'))]\n",
    ),
    (
        "mysite/wsgi.py",
        "import os\nfrom django.core.wsgi import get_wsgi_application\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\napplication = get_wsgi_application()\n",
    ),
];

const FLASK: &[(&str, &str)] = &[
    ("src/shop/__init__.py", ""),
    (
        "src/shop/main.py",
        "from flask import Flask\n\n\ndef create_app():\n    app = Flask(__name__)\n    app.route('/')(lambda: 'flask')\n    return app\n",
    ),
];

const FASTAPI: &[(&str, &str)] = &[(
    "api.py",
    "from fastapi import FastAPI\n\nservice = FastAPI()\n\n\n@service.get('/')\ndef index():\n    return 'fastapi'\n",
)];

/// The harness's own app is not a part of these projects.
fn project(files: &[(&str, &str)], arguments: &[&str]) -> Setup {
    let setup = Setup::without_file(arguments).environment("VIRTUAL_ENV", environment());
    std::fs::remove_file(setup.path().join("app.py")).unwrap();
    files
        .iter()
        .fold(setup, |setup, (name, text)| setup.file(name, text))
}

fn environment() -> PathBuf {
    venv_python().ancestors().nth(2).unwrap().to_owned()
}

/// What the command printed and the file that it made.
fn init(files: &[(&str, &str)]) -> String {
    let exit = project(files, &["init", "-o", "-"]).run();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    format!("{}\n", exit.stdout)
}

fn in_project(files: &[(&str, &str)], text: &str, arguments: &[&str]) -> Setup {
    project(files, arguments)
        .file("rgunicorn.toml", text)
        .environment("RGUNICORN_BIND", "127.0.0.1:0")
        .environment("RGUNICORN_WORKERS", "1")
}

#[test]
fn a_starter_file_passes_check_and_serves() {
    for (files, app, body) in [
        (DJANGO, "app = \"mysite.wsgi\"", "django"),
        (FLASK, "app = \"shop.main:create_app()\"", "flask"),
        (FASTAPI, "app = \"api:service\"", "\"fastapi\""),
    ] {
        let text = init(files);
        assert!(
            text.starts_with("#:schema rgunicorn.schema.json\n"),
            "{text}"
        );
        assert!(text.contains(app), "{text}");
        for command in [&["check"][..], &["check", "--app"]] {
            let exit = in_project(files, &text, command).run();
            assert_eq!(exit.code, Some(0), "{command:?}: {}", exit.log);
        }
        let server: Server = in_project(files, &text, &[]).start();
        assert_eq!(server.text("/"), body);
    }
}

#[test]
fn a_platform_says_where_a_starter_file_listens() {
    let text = init(FLASK);
    let port = crate::harness::free_port();
    let setup = project(FLASK, &[]).file("rgunicorn.toml", &text);
    let server = setup.environment("PORT", port.to_string()).start();
    server.says(&format!("listening at http://0.0.0.0:{port}"));
}

#[test]
fn the_file_and_its_schema_are_written_once() {
    let run = |more: &[&str], first: Option<&str>| {
        let mut setup = project(FASTAPI, &[&["init"], more].concat());
        if let Some(text) = first {
            setup = setup.file("rgunicorn.toml", text);
        }
        let folder = setup.path().to_owned();
        let mut server = setup.spawn();
        eventually("the command ends", || server.has_ended());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let files = (read("rgunicorn.toml"), read("rgunicorn.schema.json"));
        (server.ended(), files)
    };
    let (exit, (file, schema)): (Exit, _) = run(&[], None);
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(file.contains("api:service") && schema.contains("\"title\": \"rgunicorn.toml\""));
    assert!(exit.stdout.contains("FastAPI in api.py"), "{}", exit.stdout);
    let (exit, (file, _)) = run(&[], Some("mine"));
    assert_eq!((exit.code, file.as_str()), (Some(1), "mine"));
    assert!(exit.log.contains("is there already"), "{}", exit.log);
    let (exit, (file, schema)) = run(&["--force", "--no-schema", "other:app"], Some("mine"));
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(file.contains("app = \"other:app\"") && schema.is_empty());
}

#[test]
fn what_gunicorn_says_already_is_left_to_migrate() {
    let gunicorn = [FASTAPI, &[("gunicorn.conf.py", "workers = 3\n")]].concat();
    let exit = project(&gunicorn, &["init", "-o", "-"]).run();
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("rgunicorn migrate"), "{}", exit.log);
    let exit = project(&[("notes.py", "print(1)\n")], &["init", "-o", "-"]).run();
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("no app was found"), "{}", exit.log);
}

const LIFESPAN: &str = "
async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
        return
    await send({'type': 'http.response.start', 'status': 503, 'headers': []})
    await send({'type': 'http.response.body', 'body': b''})
";

fn checked(app: &str, config: &str, flags: &[&str]) -> Exit {
    let arguments = [&["check"], flags].concat();
    Setup::with(config).app(app).arguments(&arguments).run()
}

#[test]
fn check_app_sees_what_only_a_worker_meets() {
    let exit = checked(LIFESPAN, "", &[]);
    assert_eq!(exit.code, Some(0), "an import is no start-up: {}", exit.log);
    let exit = checked(LIFESPAN, "", &["--app"]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("no database"), "{}", exit.log);
    assert!(
        exit.log.contains("a worker does not boot: exit code 3"),
        "{}",
        exit.log
    );

    let sick = "[reload]\nhealth_check = { path = '/', status = 200, tries = 1 }\n[timeouts]\nboot = '10s'";
    let exit = checked(LIFESPAN, &format!("lifespan = 'off'\n{sick}"), &["--app"]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("503"), "{}", exit.log);
}

#[test]
fn a_thread_that_starts_at_import_is_told_only_where_the_app_is_preloaded() {
    let app = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n\n\n\
               def application(environ, start_response):\n    pass\n";
    let exit = checked(app, "", &[]);
    assert_eq!((exit.code, &*exit.log), (Some(0), ""));
    let exit = checked(app, "preload = true", &[]);
    assert_eq!(exit.code, Some(0));
    assert!(exit.log.contains("while it was preloaded"), "{}", exit.log);
}

#[test]
fn check_app_boots_every_class_and_waits_for_no_one_who_hangs() {
    for config in [
        "",
        "preload = true",
        "threads = 3",
        "worker_class = 'gevent'",
    ] {
        let exit = checked(crate::harness::APP, config, &["--app"]);
        assert_eq!(exit.code, Some(0), "{config}: {}", exit.log);
        assert_eq!(exit.log, "", "{config}");
    }
    let hangs = "import time\n\nwhile True:\n    time.sleep(1)\n";
    let exit = checked(hangs, "[timeouts]\nboot = '1s'", &["--app"]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("timeouts.boot"), "{}", exit.log);
}
