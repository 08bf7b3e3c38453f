//! The configurations in `tests/migrate`, each in the style of a kind of project, become files that are served. What is made of
//! them is committed beside them; `RGUNICORN_BLESS=1 cargo test` rewrites it.

use std::{env, fs};

use super::{case, environment, serve, setup};
use crate::harness::Setup;

/// What is made of a case, compared with what is committed.
#[track_caller]
fn migrated(name: &str, arguments: &[&str]) -> String {
    let arguments = [&["migrate", "-o", "-"], arguments].concat();
    let exit = setup(name, &arguments).run();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let text = format!("{}\n", exit.stdout);
    let snapshot = case(name).join("rgunicorn.toml");
    if env::var_os("RGUNICORN_BLESS").is_some() {
        fs::write(&snapshot, &text).unwrap();
    }
    let expected = fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(text == expected, "{} differs:\n{text}", snapshot.display());
    text
}

/// The case with the new file in it, served.
fn served(name: &str, text: &str) -> crate::harness::Server {
    serve(setup(name, &[]), text)
}

#[test]
fn a_django_sites_configuration_is_translated_and_serves() {
    let text = migrated("django", &[]);
    let server = served("django", &text);
    assert_eq!(server.text("/"), "mysite.settings");
}

#[test]
fn a_file_of_plain_settings_is_translated_and_serves() {
    let text = migrated(
        "netbox-like",
        &["gunicorn.py", "--", "gunicorn", "site_wsgi"],
    );
    let server = served("netbox-like", &text);
    let request = "GET /a HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(server.client().request(request).text(), "https /a");
}

#[test]
fn a_configuration_that_imports_its_settings_and_hooks_is_translated() {
    migrated("airflow-like", &["webserver_conf.py"]);
}

#[test]
fn a_procfile_is_translated_and_its_next_line_told() {
    migrated("procfile", &["--procfile", "Procfile"]);
    let exit = setup("procfile", &["migrate", "--procfile", "Procfile"]).run();
    assert!(
        exit.stdout
            .contains("newrelic-admin run-program rgunicorn -c rgunicorn.toml"),
        "{}",
        exit.stdout
    );
}

#[test]
fn a_unit_of_systemd_is_translated() {
    migrated("unit", &["--unit", "shop.service"]);
}

#[test]
fn what_is_stronger_in_gunicorn_is_stronger_here() {
    let setup = Setup::without_file(&[
        "migrate", "-o", "-", "--", "gunicorn", "-c", "conf.py", "app:app", "-w", "3",
    ])
    .file("conf.py", "workers = 1\nthreads = 1\nbacklog = 1\n")
    .environment("GUNICORN_CMD_ARGS", "--workers 2 --threads 2")
    .environment("VIRTUAL_ENV", environment());
    let text = setup.run().stdout;
    for line in [
        "workers = 3",
        "threads = 2",
        "backlog = 1",
        "app = \"app:app\"",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
}
