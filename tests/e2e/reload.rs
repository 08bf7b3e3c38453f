//! Save the file, and the server becomes what it says; save a wrong one, and nothing happens but a message.

use std::{net::TcpListener, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{
    APP, Address, Client, Hammer, Process, Save, Server, Setup, eventually, free_port,
    interpreters, phrases::REJECTED,
};

/// The app of this version.
fn version(number: u32) -> String {
    let text = APP.replace("VERSION = \"1\"", &format!("VERSION = \"{number}\""));
    assert!(number == 1 || text != APP);
    text
}

/// What is in force when an edit could show in it: the environ says whether there are threads.
fn has_threads(server: &Server) -> bool {
    server.get("/environ").json()["wsgi.multithread"] == true
}

#[test]
fn a_good_edit_is_announced_carried_out_and_said_to_be_done() {
    let server = Server::start("threads = 1");
    server.edit("threads = 2");
    server.says("threads … 1 … 2");
    server.applied();
    assert!(has_threads(&server));
    assert_eq!(server.generations().len(), 1);
}

#[test]
fn an_edit_that_only_the_arbiter_minds_replaces_no_worker() {
    let server = Server::start("[timeouts]\nboot = '20s'");
    let worker = server.worker();
    server.edit("[timeouts]\nboot = '25s'");
    server.says("timeouts.boot … 20s … 25s");
    server.applied();
    assert_eq!(server.worker(), worker);
}

#[test]
fn an_edit_of_the_workers_scales_and_replaces_none() {
    let server = Server::start("workers = 1");
    let first = server.worker();
    server.edit("workers = 3");
    server.says("workers … 1 … 3");
    server.says_times(2, " ready");
    server.applied();
    let count = || server.generations()[0].children().len();
    eventually("three workers", || count() == 3);
    assert!(Process::find(first).is_some());
    server.edit("workers = 1");
    server.says("workers … 3 … 1");
    eventually("one worker", || count() == 1);
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn an_edit_that_changes_nothing_does_nothing() {
    let server = Server::start("threads = 1");
    let worker = server.worker();
    server.edit("# a comment\nthreads=1");
    server.edit("# another\nthreads=1\n[timeouts]\nboot = '21s'");
    server.applied();
    assert_eq!(server.worker(), worker);
    assert!(!server.has_said(" ready"));
}

#[test]
fn a_broken_file_is_shown_with_its_place_and_the_site_goes_on() {
    let server = Server::start("");
    let worker = server.worker();
    server.edit_raw("app = 'app'\nworkers = = 2\n");
    server.says("rgunicorn.toml:2:");
    server.says("workers = = 2");
    server.says(REJECTED);
    assert_eq!(server.worker(), worker);
    server.edit("threads = 2");
    server.applied();
    assert!(has_threads(&server));
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    let server = Server::start("");
    server.edit_raw("app = 'app'\nworker = 2\n\n[timeout]\nrequest = '5s'\n");
    server.says("rgunicorn.toml:2:1");
    server.says("`workers`");
    server.says("rgunicorn.toml:4:");
    server.says("`timeouts`");
    server.says(REJECTED);
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn broken_code_is_shown_with_its_traceback_and_the_old_code_goes_on() {
    for preload in [false, true] {
        let server = Server::start(&format!("preload = {preload}"));
        server.directory.write("app.py", "import nowhere\n");
        server.edit(&format!("preload = {preload}\nthreads = 2"));
        server.says("Traceback");
        server.says("ModuleNotFoundError: No module named 'nowhere'");
        server.says(REJECTED);
        assert_eq!(server.text("/version"), "1");
        server.directory.write("app.py", &version(2));
        server.signal(Signal::SIGHUP);
        server.applied();
        assert_eq!(server.text("/version"), "2");
        assert!(has_threads(&server));
    }
}

#[test]
fn code_that_hangs_at_import_is_given_up_and_the_old_code_goes_on() {
    let server = Server::start("[timeouts]\nboot = '6s'");
    server
        .directory
        .write("app.py", "import time\ntime.sleep(100)\n");
    server.signal(Signal::SIGHUP);
    server.says("timeouts.boot");
    server.says(REJECTED);
    assert_eq!(server.text("/version"), "1");
    eventually("the candidate is gone", || server.generations().len() == 1);
}

#[test]
fn an_interpreter_that_is_missing_is_refused_and_the_old_one_goes_on() {
    let server = Server::start("");
    server.edit("python = '/nowhere/bin/python'");
    server.says("/nowhere/bin/python");
    server.says(REJECTED);
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn another_interpreter_is_rolled_in_under_load() {
    let supported = interpreters()
        .iter()
        .filter(|found| ((3, 11)..=(3, 13)).contains(&found.version));
    let [old, .., new] = &supported.collect::<Vec<_>>()[..] else {
        eprintln!("only one supported interpreter here");
        return;
    };
    let config = |path: &std::path::Path| format!("workers = 2\npython = '{}'", path.display());
    let server = Setup::with(&config(&old.path)).start();
    assert_eq!(server.text("/python"), format!("3.{}", old.version.1));
    let hammer = Hammer::start(server.address(), "/python", 8, 8);
    for next in [new, old, new] {
        server.edit(&config(&next.path));
        server.applied();
        assert_eq!(server.text("/python"), format!("3.{}", next.version.1));
        hammer.lands(100);
    }
    let answered = hammer.stop();
    assert!(answered > 300, "{answered}");
}

#[test]
fn a_new_address_is_opened_and_the_old_one_closed() {
    let server = Server::start("");
    let old = server.address();
    let port = free_port();
    server.edit(&format!("bind = '127.0.0.1:{port}'"));
    server.says(&format!("bind … 127.0.0.1:0 … 127.0.0.1:{port}"));
    server.applied();
    let new = Address::Tcp(([127, 0, 0, 1], port).into());
    assert_eq!(Client::to(&new).get("/").text(), "hello from /");
    eventually("the old address is closed", || {
        Client::try_to(&old).is_err()
    });
}

#[test]
fn an_address_that_is_taken_rejects_the_edit() {
    let server = Server::start("");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    server.edit(&format!("bind = '{taken}'\nthreads = 2"));
    server.says(&format!("{taken} … in use"));
    server.says(REJECTED);
    assert_eq!(server.text("/"), "hello from /");
    assert!(!has_threads(&server), "nothing of the edit is in force");
}

#[test]
fn of_edits_during_a_roll_the_last_one_wins() {
    let slow = format!("import time\ntime.sleep(0.5)\n{APP}");
    let server = Setup::with("threads = 1").app(&slow).start();
    server.edit("threads = 2\n[env]\nCOLOUR = 'red'");
    server.says("threads … 1 … 2");
    server.edit("threads = 3\n[env]\nCOLOUR = 'green'");
    server.says("threads … 3");
    server.edit("threads = 4\n[env]\nCOLOUR = 'blue'");
    server.says("threads … 4");
    eventually("the last edit is in force", || {
        server.text("/env?name=COLOUR") == "blue"
    });
    eventually("one generation is left", || server.generations().len() == 1);
    assert_eq!(server.text("/env?name=COLOUR"), "blue");
}

#[test]
fn every_way_to_save_is_seen() {
    let server = Server::start("[env]\nHOW = 'not yet'");
    for save in [
        Save::InPlace,
        Save::Rename,
        Save::Backup,
        Save::Checkout,
        Save::Rename,
    ] {
        server.edit_by(save, &format!("[env]\nHOW = '{save:?}'"));
        server.applied();
        assert_eq!(server.text("/env?name=HOW"), format!("{save:?}"));
        server.edit("[env]\nHOW = 'between'");
        server.applied();
    }
}

#[test]
fn a_configmap_that_is_swapped_is_seen_each_time() {
    let config = |colour| format!("chdir = '{{dir}}'\n[env]\nCOLOUR = '{colour}'");
    let server = Setup::with(&config("red")).kubernetes().start();
    for colour in ["green", "blue"] {
        server.edit_by(Save::Kubernetes, &config(colour));
        server.applied();
        assert_eq!(server.text("/env?name=COLOUR"), colour);
    }
}

#[test]
fn without_watch_only_hup_reads_the_file() {
    let server = Server::start("[reload]\nwatch = false");
    server.edit("threads = 2\n[reload]\nwatch = false");
    thread::sleep(Duration::from_millis(700));
    assert!(!has_threads(&server));
    server.signal(Signal::SIGHUP);
    server.applied();
    assert!(has_threads(&server));
}

#[test]
fn hup_takes_new_code_up_with_preload_too() {
    for preload in [false, true] {
        let server = Server::start(&format!("preload = {preload}"));
        assert_eq!(server.text("/version"), "1");
        server.directory.write("app.py", &version(2));
        server.signal(Signal::SIGHUP);
        server.applied();
        assert_eq!(server.text("/version"), "2");
    }
}

#[test]
fn code_that_is_watched_is_rolled_in_when_it_changes() {
    let server = Server::start("[reload]\ncode = ['**/*.py']");
    server.directory.write("notes.txt", "not code");
    server.from_now();
    server.directory.write("app.py", &version(2));
    server.says("app.py");
    server.applied();
    assert_eq!(server.text("/version"), "2");
}

#[test]
fn a_file_that_is_named_from_the_root_on_is_watched_and_one_elsewhere_refused() {
    let setup = Setup::with("").file("flags.yaml", "a");
    let extra = setup.path().join("flags.yaml");
    let arguments = [
        "-c",
        "rgunicorn.toml",
        "--reload-extra-file",
        extra.to_str().unwrap(),
    ];
    let server = setup.arguments(&arguments).start();
    server.from_now();
    server.directory.write("flags.yaml", "b");
    server.says("code changed: flags.yaml");
    server.applied();
    let elsewhere = Setup::with("reload.code = ['app.py', '/etc/hostname']").start_and_fail();
    let told = "`/etc/hostname` matches no file below `chdir`";
    assert!(elsewhere.log.contains(told), "{}", elsewhere.log);
    let directory = Setup::with("reload.code = 'templates/'").file("templates/a.html", "");
    let exit = directory.start_and_fail();
    assert!(
        exit.log
            .contains("write `\"templates/**\"` for all files in it"),
        "{}",
        exit.log
    );
}

#[test]
fn while_code_is_written_a_mistake_is_shown_and_the_old_code_serves_until_it_is_mended() {
    let server = Server::start("[reload]\ncode = '**/*.py'\nignore = 'scratch'\nsurge = '100%'");
    server
        .directory
        .write("scratch/notes.py", "this is no code");
    server.directory.write("app.py", "def application(:\n");
    server.says("app.py\", line 1");
    server.says("SyntaxError");
    server.says(REJECTED);
    assert_eq!(server.text("/version"), "1");
    assert!(!server.has_said("scratch"));
    server.from_now();
    server.directory.write("app.py", &version(2));
    server.applied();
    assert_eq!(server.text("/version"), "2");
}

#[test]
fn a_file_that_is_touched_rolls_new_code_in() {
    let server = Server::start("[reload]\ntouch = 'tmp/restart.txt'");
    server.directory.write("app.py", &version(2));
    for _ in 0..2 {
        server.from_now();
        server.directory.write("tmp/restart.txt", "");
        server.says("asked for by reload.touch");
        server.applied();
        assert_eq!(server.text("/version"), "2");
    }
}

#[test]
fn a_release_that_is_linked_into_place_is_rolled_in_and_a_broken_one_is_not() {
    let setup = Setup::with("chdir = 'current'\n[reload]\ncode = '**/*.py'");
    let link = |folder: &std::path::Path, release: &str| {
        let next = folder.join("next");
        std::os::unix::fs::symlink(release, &next).unwrap();
        std::fs::rename(&next, folder.join("current")).unwrap();
    };
    for number in [1, 2] {
        let folder = setup.path().join(format!("releases/{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("app.py"), version(number)).unwrap();
    }
    std::fs::create_dir_all(setup.path().join("releases/3")).unwrap();
    std::fs::write(setup.path().join("releases/3/app.py"), "import nowhere").unwrap();
    link(setup.path(), "releases/1");
    let server = setup.start();
    assert_eq!(server.text("/version"), "1");
    link(server.directory.path(), "releases/2");
    server.applied();
    assert_eq!(server.text("/version"), "2");
    server.from_now();
    link(server.directory.path(), "releases/3");
    server.says(REJECTED);
    assert_eq!(server.text("/version"), "2");
}

#[test]
fn what_environment_and_command_line_say_stays_in_force() {
    let server = Setup::with("threads = 1")
        .arguments(&["-c", "rgunicorn.toml", "--threads", "2"])
        .environment("RGUNICORN_PROC_NAME", "named")
        .start();
    server.edit("threads = 1\nproc_name = 'other'\n[env]\nCOLOUR = 'blue'");
    server.applied();
    assert_eq!(server.text("/env?name=COLOUR"), "blue");
    assert!(has_threads(&server));
    assert!(
        server
            .below()
            .iter()
            .any(|process| process.title().contains("[named]"))
    );
}

#[test]
fn a_request_in_flight_is_finished_by_the_old_worker() {
    let server = Server::start("");
    let mut client = server.busy_with("/sleep?s=2");
    server.signal(Signal::SIGHUP);
    server.says(" ready");
    let response = client.response();
    assert_eq!(response.text(), "slept");
    assert!(!response.says_close(), "the new worker has the connection");
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn a_request_that_outlives_the_grace_ends_with_its_worker() {
    let server = Server::start("[timeouts]\ngraceful = '1s'");
    let mut client = server.busy_with("/sleep?s=60");
    server.signal(Signal::SIGHUP);
    server.says("timeouts.graceful");
    client
        .try_response("GET")
        .expect_err("an answer from a worker that was killed");
    eventually("one generation is left", || server.generations().len() == 1);
}

#[test]
fn a_kept_alive_connection_is_carried_to_the_next_generation() {
    for bind in ["127.0.0.1:0", "unix:run.sock"] {
        let server = Server::start(&format!("bind = '{bind}'"));
        let mut client = server.client();
        let old = client.get("/pid").text();
        for _ in 0..3 {
            server.signal(Signal::SIGHUP);
            server.applied();
            assert_ne!(client.get("/pid").text(), old);
        }
    }
}

#[test]
fn no_client_notices_edits_signals_and_scaling() {
    let server = Server::start("workers = 2");
    let hammer = Hammer::start(server.address(), "/pid", 8, 8);
    for round in 0..5 {
        server.edit(&format!("workers = 2\n[env]\nROUND = '{round}'"));
        server.applied();
        hammer.lands(50);
        server.edit(&format!(
            "workers = {}\n[env]\nROUND = '{round}'",
            3 - round % 2 * 2
        ));
        server.applied();
        hammer.lands(50);
        server.signal(Signal::SIGHUP);
        server.applied();
    }
    hammer.stop();
}

#[test]
fn no_client_with_threads_or_a_slow_app_notices_a_roll() {
    for (config, target) in [
        ("workers = 2\nthreads = 4", "/pid"),
        ("workers = 2", "/sleep?s=0.02"),
    ] {
        let server = Server::start(config);
        let hammer = Hammer::start(server.address(), target, 6, 6);
        for _ in 0..4 {
            server.signal(Signal::SIGHUP);
            server.applied();
            hammer.lands(30);
        }
        hammer.stop();
    }
}
