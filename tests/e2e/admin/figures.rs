//! How fast it is with many workers under load.

use std::time::{Duration, Instant};

use super::support::{client, status};
use crate::harness::{Hammer, Server, eventually};

/// The figure is 10 ms on a machine of its own, in a release build; this is a debug build among other tests.
const STATUS_TIME_MAX: Duration = Duration::from_millis(100);

#[test]
fn status_of_64_workers_under_load_is_quick() {
    let server = Server::start("workers = 64\npreload = true\n[log]\naccess = 'off'");
    server.says("workers=64 serving");
    eventually("all are ready", || status(&server)["workers_ready"] == 64);
    let hammer = Hammer::start(server.address(), "/", 4, 8);
    hammer.lands(100);
    let mut client = client(&server);
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let start = Instant::now();
            let response = client.get("/status");
            assert_eq!(response.json()["workers"].as_array().unwrap().len(), 64);
            start.elapsed()
        })
        .collect();
    hammer.stop();
    times.sort();
    let (median, most) = (times[100], times[197]);
    eprintln!("status of 64 workers under load: median {median:?}, 99 % {most:?}");
    assert!(median < STATUS_TIME_MAX, "{median:?}");
}
