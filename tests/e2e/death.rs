//! Whatever dies, hangs or leaks: the site goes on, and the log tells the true cause.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{APP, Hammer, Process, Server, Setup, eventually};

#[test]
fn a_killed_worker_is_replaced_and_the_log_tells_the_signal_and_its_requests() {
    let server = Server::start("");
    let mut client = server.client();
    server.from_now();
    client.send("GET /die?signal=9 HTTP/1.1\r\nHost: test\r\n\r\n");
    client
        .try_response("GET")
        .expect_err("an answer from the dead");
    let death = server.says("worker=1 … SIGKILL");
    assert!(death.contains("MiB resident (not by the server"), "{death}");
    assert!(
        death.contains("; in flight: GET /die?signal=9 for 0."),
        "{death}"
    );
    server.says("worker=2 … ready");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_worker_that_crashes_leaves_its_python_stack() {
    let server = Server::start("");
    server.from_now();
    let mut client = server.client();
    client.send("GET /die?signal=11 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says(
        "worker=1 … SIGSEGV after … and 0 requests, at most … MiB resident; in flight: GET /die",
    );
    server.says("Fatal Python error: Segmentation fault");
    server.says("in route_die");
    server.says("worker=2 … ready");
}

/// It is on its own standard error, at once, and not below the line of a worker that dies of something else.
#[test]
fn the_stack_of_a_child_that_crashes_is_not_taken_for_the_workers() {
    let app = format!(
        "{APP}\ndef route_crash(environ, start_response, query):\n    if os.fork() == 0:\n        os.kill(os.getpid(), 11)\n    os.wait()\n    \
         return route_pid(environ, start_response, query)\n"
    );
    let server = Setup::plain().app(&app).start();
    let worker: i32 = server.text("/crash").parse().unwrap();
    server.says("Fatal Python error: Segmentation fault");
    server.from_now();
    Process::find(worker).unwrap().signal(Signal::SIGKILL);
    server.says("worker=2 … ready");
    assert!(!server.has_said("Fatal Python error"), "{}", server.log());
}

#[test]
fn the_peak_of_a_workers_memory_is_told_with_its_death() {
    let app = format!(
        "{APP}\ndef route_grow(environ, start_response, query):\n    text = b'x' * 200_000_000\n    del text\n    os._exit(7)\n"
    );
    let server = Setup::plain().app(&app).start();
    server.from_now();
    server
        .client()
        .send("GET /grow HTTP/1.1\r\nHost: test\r\n\r\n");
    let death = server.says("died of exit code 7");
    let (_, rest) = death.split_once("at most ").unwrap();
    let mebibytes: u64 = rest.split_once("MiB").unwrap().0.parse().unwrap();
    assert!((190..400).contains(&mebibytes), "{death}");
}

#[test]
fn a_worker_that_exits_is_replaced_and_the_log_tells_the_code() {
    let server = Server::start("");
    server.from_now();
    let mut client = server.client();
    client.send("GET /exit?code=7 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says("worker=1 … 7");
    server.says("worker=2 … ready");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_kill_from_outside_costs_only_that_worker() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let victim = Process::find(server.workers()[0]).unwrap();
    server.from_now();
    victim.signal(Signal::SIGKILL);
    server.says("SIGKILL");
    server.says(" ready");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_crash_loop_backs_off() {
    // Serves when it is first started, and dies young ever after.
    let app = format!(
        "{APP}
import pathlib, signal
marks = pathlib.Path('boots')
boots = marks.read_text() if marks.exists() else ''
marks.write_text(boots + '.')
if boots:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
"
    );
    let server = Setup::plain().app(&app).start();
    server.from_now();
    let mut client = server.client();
    client.send("GET /die HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says_times(3, "SIGALRM");
    thread::sleep(Duration::from_secs(3));
    let boots = server.directory.read("boots").len();
    assert!(boots < 12, "{boots} starts in a few seconds");
}

#[test]
fn a_worker_that_hangs_at_boot_is_killed_and_it_is_said() {
    let app = format!(
        "{APP}
import pathlib
if pathlib.Path('hang').exists():
    time.sleep(100)
"
    );
    let server = Setup::with("workers = 2\n[timeouts]\nboot = '6s'")
        .app(&app)
        .start();
    server.says_times(2, " ready");
    server.directory.write("hang", "");
    server.from_now();
    Process::find(server.worker())
        .unwrap()
        .signal(Signal::SIGKILL);
    server.says("worker=3 … timeouts.boot");
    assert_eq!(server.text("/"), "hello from /", "the other worker serves");
}

#[test]
fn an_app_that_does_not_import_ends_the_start_with_3_and_its_traceback() {
    for preload in [false, true] {
        let setup = Setup::with(&format!("preload = {preload}")).app("import nowhere\n");
        let exit = setup.start_and_fail();
        assert_eq!(exit.code, Some(3));
        for part in ["Traceback", "app.py\", line 1", "No module named 'nowhere'"] {
            assert!(exit.log.contains(part), "no `{part}` in:\n{}", exit.log);
        }
    }
}

#[test]
fn a_factory_that_fails_ends_the_start_with_3_and_its_traceback() {
    let app = "def factory():\n    raise RuntimeError('no database')\n";
    let exit = Setup::with("app = 'app:factory()'")
        .app(app)
        .start_and_fail();
    assert_eq!(exit.code, Some(3));
    assert!(
        exit.log.contains("RuntimeError: no database"),
        "{}",
        exit.log
    );
}

#[test]
fn an_attribute_that_is_missing_or_not_callable_ends_the_start_with_4() {
    for (app, part) in [("app:nothing", "nothing"), ("app:VERSION", "callable")] {
        let exit = Setup::with(&format!("app = '{app}'")).start_and_fail();
        assert_eq!(exit.code, Some(4), "{app}");
        assert!(exit.log.contains(part), "no `{part}` in:\n{}", exit.log);
    }
}

#[test]
fn an_app_that_hangs_at_the_first_start_ends_it() {
    let setup = Setup::with("[timeouts]\nboot = '1s'").app("import time\ntime.sleep(100)\n");
    let exit = setup.start_and_fail();
    assert_ne!(exit.code, Some(0));
    assert!(exit.log.contains("timeouts.boot"), "{}", exit.log);
}

#[test]
fn the_end_of_the_generation_process_loses_no_request() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let hammer = Hammer::start(server.address(), "/pid", 4, 4);
    let generation = server.generations()[0];
    server.from_now();
    generation.signal(Signal::SIGKILL);
    server.says("SIGKILL");
    server.says_times(2, " ready");
    hammer.lands(50);
    hammer.stop();
    // What the new generation serves can be edited as before.
    server.edit("workers = 2\nthreads = 2");
    server.applied();
    assert_eq!(server.get("/environ").json()["wsgi.multithread"], true);
}

#[test]
fn without_the_arbiter_workers_finish_and_leave() {
    let mut server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let family = server.below();
    let mut client = server.busy_with("/sleep?s=1");
    server.arbiter().signal(Signal::SIGKILL);
    assert_eq!(client.response().text(), "slept");
    eventually("the arbiter is dead", || server.has_ended());
    eventually("all others left", || {
        family.iter().all(|process| !process.is_alive())
    });
}

#[test]
fn without_the_arbiter_a_worker_whose_app_lets_nothing_else_run_is_ended() {
    let asgi = include_str!("apps/asgi.py");
    for (config, app, target) in [
        ("app = 'app:app'", asgi, "/block?s=60"),
        ("worker_class = 'gevent'", APP, "/spin?s=60"),
    ] {
        let config = format!("{config}\n[timeouts]\ngraceful = '1s'");
        let mut server = Setup::with(&config).app(app).start();
        let family = server.below();
        let _client = server.busy_with(target);
        server.arbiter().signal(Signal::SIGKILL);
        eventually("the arbiter is dead", || server.has_ended());
        server.says("did not leave within timeouts.graceful after the arbiter's end: killed");
        eventually("all others are gone", || {
            family.iter().all(|process| !process.is_alive())
        });
    }
}

#[test]
fn without_the_arbiter_an_app_that_hangs_while_it_is_preloaded_is_ended() {
    let setup = Setup::with("preload = true").app("import time\ntime.sleep(100)\n");
    let mut server = setup.spawn();
    eventually("a generation imports the app", || {
        let title = |process: &Process| process.title();
        server
            .below()
            .iter()
            .any(|one| title(one).contains("generation 1"))
    });
    let family = server.below();
    server.arbiter().signal(Signal::SIGKILL);
    eventually("the arbiter is dead", || server.has_ended());
    eventually("all others are gone", || {
        family.iter().all(|process| !process.is_alive())
    });
}

#[test]
fn a_request_past_its_time_is_answered_504_and_the_worker_lives() {
    for config in ["", "threads = 4"] {
        let server = Server::start(&format!("{config}\n[timeouts]\nrequest = '1s'"));
        let worker = server.worker();
        let response = server.get("/spin?s=60");
        assert_eq!(response.status, 504);
        server.says("GET /spin");
        assert_eq!(server.worker(), worker);
        assert_eq!(server.text("/"), "hello from /");
    }
}

#[test]
fn a_worker_without_progress_is_replaced_after_its_stacks_and_requests_are_logged() {
    // sleep() cannot be interrupted by an exception, so `timeouts.request` alone would not help here.
    for config in ["", "threads = 2"] {
        let server = Server::start(&format!("{config}\n[timeouts]\nworker = '1s'"));
        server.from_now();
        let mut stuck = [server.client(), server.client()];
        for client in &mut stuck {
            client.send("GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        server.says("route_sleep");
        server.says("GET /sleep");
        server.says("timeouts.worker");
        server.says("worker=2 … ready");
        assert_eq!(server.text("/"), "hello from /");
    }
}

#[test]
fn who_comes_while_the_only_worker_is_stuck_is_served_by_its_successor() {
    for threads in [1, 2] {
        let config = format!("threads = {threads}\n[timeouts]\nworker = '1s'");
        let server = Server::start(&config);
        let _stuck: Vec<_> = (0..threads)
            .map(|_| server.busy_with("/sleep?s=60"))
            .collect();
        let mut late = server.client();
        late.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(late.response().text(), "hello from /");
        assert!(server.has_said("timeouts.worker"));
    }
}

#[test]
fn a_long_request_beside_a_free_thread_is_progress_enough() {
    let server = Server::start("threads = 2\n[timeouts]\nworker = '1s'");
    let mut long = server.client();
    long.send("GET /sleep?s=3 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(long.response().text(), "slept");
    assert!(
        !server.log().contains("timeouts.worker"),
        "{}",
        server.log()
    );
}

#[test]
fn after_max_requests_a_worker_is_replaced_its_successor_first() {
    let server = Server::start("[limits]\nmax_requests = 50");
    let first = server.worker();
    let hammer = Hammer::start(server.address(), "/pid", 2, 2);
    server.says("worker=1 … max_requests");
    server.says("worker=2 … ready");
    hammer.lands(20);
    hammer.stop();
    eventually("the successor serves", || server.worker() != first);
}

#[test]
fn the_jitter_is_added_to_max_requests() {
    // The chance that no more than a hundred of four thousand million are drawn is one in forty million.
    let jitter = "[limits]\nmax_requests = 1\nmax_requests_jitter = 4_000_000_000";
    let server = Server::start(jitter);
    let first = server.worker();
    for _ in 0..100 {
        assert_eq!(server.worker(), first);
    }
    assert!(!server.has_said("max_requests"), "{}", server.log());
    server.edit("[limits]\nmax_requests = 1\nmax_requests_jitter = 0");
    server.says("reload=1 done");
    server.text("/");
    server.says("worker=1 … reached limits.max_requests");
}

#[test]
fn a_worker_over_its_memory_is_replaced_its_successor_first() {
    let app = format!(
        "{APP}\nheap = []\ndef route_leak(environ, start_response, query):\n    heap.append(bytearray(b'x') * 150_000_000)\n    return answer(start_response, 'leaked')\n"
    );
    let server = Setup::with("[limits]\nworker_memory = '128MiB'")
        .app(&app)
        .start();
    let first = server.worker();
    assert_eq!(server.text("/leak"), "leaked");
    server.says("worker=1 … worker_memory");
    server.says("worker=2 … ready");
    eventually("the successor serves", || server.worker() != first);
}

#[test]
fn a_worker_that_is_interrupted_from_outside_is_no_riddle() {
    let server = Server::start("");
    let worker = Process::find(server.workers()[0]).unwrap();
    server.from_now();
    worker.signal(Signal::SIGINT);
    server.says("worker=1 … left … (told to by somebody else than the arbiter)");
    server.says("worker=2 … ready");
}

#[test]
fn a_worker_that_leaves_untold_is_told_with_what_may_be_behind_it() {
    let server = Server::start("");
    server.from_now();
    let mut client = server.client();
    client.send("GET /exit?code=0 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says("worker=1 … exit code 0 … (nobody told it to: the app may have called `os._exit`");
    server.says("worker=2 … ready");
}

/// The listener is open elsewhere, too, so the kernel would report its connections for ever.
#[test]
fn an_app_that_replaces_a_listener_costs_its_worker_and_fills_no_log() {
    let app = format!(
        "{APP}
import socket

def route_replace(environ, start_response, query):
    time.sleep(float(query['s']))
    for number in range(3, 100):
        try:
            is_listener = socket.socket(fileno=os.dup(number)).getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            continue
        if is_listener:
            os.dup2(os.open('/dev/null', os.O_RDONLY), number)
    return answer(start_response, 'replaced')
"
    );
    // A worker that is busy for long does not watch its listener.
    for seconds in ["0", "0.1"] {
        let server = Setup::plain().app(&app).start();
        server.from_now();
        let replaced = server.text(&format!("/replace?s={seconds}"));
        assert_eq!(replaced, "replaced");
        assert_eq!(server.text("/"), "hello from /");
        server.says("worker=1 cannot accept: … the app has closed or replaced a descriptor of the server, so the worker ends");
        server.says("worker=2 … ready");
        let complaints = server.log().matches("cannot accept").count();
        assert!(complaints < 5, "{complaints} lines");
    }
}

#[test]
fn an_exception_of_several_lines_is_named_by_its_first() {
    let app = "raise RuntimeError('no multipart\\nInstall it with:\\n\\npip install it')\n";
    let exit = Setup::plain().app(app).start_and_fail();
    let headline = "cannot load `app`: RuntimeError: no multipart\n";
    assert!(exit.log.contains(headline), "{}", exit.log);
}
