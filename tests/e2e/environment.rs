//! The environment: variables of the server, variables for the app, and what may be told of either.

use crate::harness::{Server, Setup, eventually};

#[test]
fn no_message_holds_what_a_variable_of_the_app_or_the_token_says() {
    let server = Server::start("");
    for bad in [
        "[env]\nDB_PASSWORD = 12345678\n",
        "[env]\nDB_PASSWORD = \"12345678\n",
        "env = { DB_PASSWORD = [12345678] }\n",
        "[admin]\ntoken = \"12345678\"\n",
        "admin.token = 12345678x\n",
    ] {
        server.edit(bad);
        server.says("rejected");
        eventually("the problem is shown", || {
            server.has_said("rgunicorn.toml:")
        });
    }
    for command in ["status", "events"] {
        let pid = server.arbiter().pid.to_string();
        let told = Setup::without_file(&[command, "--pid", &pid]).run();
        assert_eq!(told.code, Some(0), "{}", told.log);
        assert!(!told.stdout.contains("12345678"), "{}", told.stdout);
    }
    assert!(!server.log().contains("12345678"));
}

#[test]
fn a_variable_that_is_not_understood_is_named_without_its_value() {
    for (name, value) in [
        ("RGUNICORN_ADMIN_TOKEN", "hush-hush"),
        ("RGUNICORN_ADMIN_TOKN", "hush-hush-hush-hush"),
        ("RGUNICORN_ENV", "A=hush-hush,B"),
    ] {
        let setup = Setup::without_file(&["check", "app"]);
        let exit = setup.environment(name, value).run();
        assert_eq!(exit.code, Some(1), "{name}");
        assert!(exit.log.contains(name), "{}", exit.log);
        assert!(!exit.log.contains("hush"), "{}", exit.log);
    }
}

#[test]
fn what_kubernetes_and_images_set_beside_the_settings_stops_no_start() {
    let start = |level: &str| {
        let setup = Setup::with(&format!("[log]\nlevel = '{level}'"))
            .environment("RGUNICORN_SERVICE_HOST", "10.0.0.1")
            .environment("RGUNICORN_PORT", "tcp://10.0.0.1:80")
            .environment("RGUNICORN_PORT_80_TCP_ADDR", "10.0.0.1")
            .environment("RGUNICORN_VERSION", "1.2.3");
        setup.start()
    };
    let server = start("info");
    server.says(
        "WARNING…not read from the environment, because they belong to no key: `RGUNICORN_VERSION`",
    );
    assert!(!server.log().contains("RGUNICORN_PORT"), "{}", server.log());
    start("debug").says("Kubernetes' about a Service: `RGUNICORN_PORT`, `RGUNICORN_PORT_80_TCP_ADDR`, `RGUNICORN_SERVICE_HOST`");
    let slip = Setup::plain().environment("RGUNICORN_WORKER", "2");
    let exit = slip.start_and_fail();
    assert!(
        exit.log.contains("did you mean `RGUNICORN_WORKERS`?"),
        "{}",
        exit.log
    );
}

#[test]
fn a_variable_for_the_app_is_taken_as_it_is_typed() {
    let python = crate::harness::venv_python();
    let server = Setup::without_file(&[
        "app",
        "-b",
        "127.0.0.1:0",
        "--python",
        python.to_str().unwrap(),
        "-e",
        r#"LIST=["https://a", "https://b"]"#,
        "-e",
        "QUOTED=\"v\"",
        "-e",
        "SPACE= v ",
        "--set",
        "env.SET='v'",
        "-e",
        "PAIR=a=b",
    ])
    .start();
    for (name, value) in [
        ("LIST", r#"["https://a", "https://b"]"#),
        ("QUOTED", "\"v\""),
        ("SPACE", " v "),
        ("SET", "'v'"),
        ("PAIR", "a=b"),
    ] {
        assert_eq!(server.text(&format!("/env?name={name}")), value);
    }
}

#[test]
fn a_port_that_does_not_count_is_told() {
    let server = Setup::plain().environment("PORT", "5000").start();
    server.says("`PORT=5000` does not count, because `bind` is set: rgunicorn.toml:");
}
