//! The examples: each starts and serves, and the editors' linters have nothing to say about them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{InTime, Setup, venv_bin, venv_python};

/// The first line of each example: what makes an editor complete, check and explain the keys.
const SCHEMA_LINE: &str = "#:schema ../../schema/rgunicorn.schema.json";

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/configs");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    assert!(paths.len() >= 6);
    paths
}

/// An example as it is, but for the address and the interpreter.
fn setup(path: &Path, command: &[&str]) -> Setup {
    let is_unix = fs::read_to_string(path).unwrap().contains("bind = \"unix:");
    let arguments = [command, &["-c", path.to_str().unwrap()]].concat();
    let setup = Setup::without_file(&arguments);
    let bind = match is_unix {
        true => format!("unix:{}", setup.path().join("run.sock").display()),
        false => "127.0.0.1:0".to_owned(),
    };
    let data = setup.path().join("data");
    fs::create_dir(&data).unwrap();
    setup
        .environment("RGUNICORN_BIND", bind)
        .environment("RGUNICORN_PYTHON", venv_python())
        .environment("MYSITE_DATA", data)
}

/// Makes the Django example's database.
fn migrate(data: &Path) {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/apps/django");
    let output = Command::new(venv_python())
        .args(["manage.py", "migrate", "--verbosity", "0"])
        .current_dir(site)
        .env("MYSITE_DATA", data)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output_in_time();
    assert!(output.unwrap().status.success());
}

#[test]
fn each_example_starts_and_serves() {
    for path in examples() {
        let setup = setup(&path, &[]);
        migrate(&setup.path().join("data"));
        let server = setup.start();
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\r\n";
        let response = server.client().request(request);
        assert_eq!(response.status, 200, "{}: {response:?}", path.display());
        assert!(
            response.text().contains("Hello"),
            "{}: {response:?}",
            path.display()
        );
    }
}

/// Whoever takes all three has nothing to change but names.
#[test]
fn nginx_the_configuration_and_the_unit_have_the_socket_in_one_place() {
    let socket = "unix:/run/mysite/app.sock";
    for (name, line) in [
        ("deploy/nginx/mysite.conf", format!("server {socket};")),
        ("configs/behind-nginx.toml", format!("bind = \"{socket}\"")),
        (
            "deploy/systemd/mysite.service",
            "RuntimeDirectory=mysite".to_owned(),
        ),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.contains(&line), "{name}: {line}");
    }
}

#[test]
fn each_example_passes_check() {
    for path in examples() {
        let exit = setup(&path, &["check"]).run();
        assert_eq!(exit.code, Some(0), "{}: {exit:?}", path.display());
    }
}

#[test]
fn each_example_begins_with_the_line_for_editors() {
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("{SCHEMA_LINE}\n")),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_editors_linters_accept_the_examples_and_see_a_typo() {
    for path in examples() {
        for (name, passes, output) in lint(&path) {
            assert!(passes, "{name}: {output}");
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lint/configs");
    fs::create_dir_all(&folder).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/rgunicorn.schema.json");
    let wrong = folder.join("wrong.toml");
    fs::write(
        &wrong,
        format!("#:schema {}\nworkerz = 2\n", schema.display()),
    )
    .unwrap();
    for (name, passes, output) in lint(&wrong) {
        assert!(!passes && output.contains("workerz"), "{name}: {output}");
    }
}

/// What tombi and taplo say: name, verdict, output. Neither may ask the network: the schema is in the repository.
fn lint(path: &Path) -> [(&'static str, bool, String); 2] {
    let run = |name: &'static str, arguments: &[&str]| {
        let output = Command::new(venv_bin(name))
            .args(arguments)
            .arg(path)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output_in_time()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            name,
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    [
        run(
            "tombi",
            &["lint", "--offline", "--no-cache", "--error-on-warnings"],
        ),
        run("taplo", &["check", "--no-auto-config"]),
    ]
}
