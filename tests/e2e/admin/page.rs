//! The page for browsers: what its head promises, and what it shows in a browser under load.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use super::support::{get, post, status};
use crate::harness::{
    Address, Browser, Client, Hammer, InTime, Server, Setup, eventually, free_port, venv_python,
};

const TOKEN: &str = "0123456789abcdef";
/// A path that is a script where somebody takes it for HTML.
const HOSTILE: &str =
    "/sleep?s=3&x=<img/src=x/onerror=window.harmed=1><script>window.harmed=1</script>";

fn with_tcp(config: &str) -> (Server, u16) {
    let port = free_port();
    let admin = format!("[admin]\naddress = '127.0.0.1:{port}'\ntoken = '{TOKEN}'\n");
    (Server::start(&format!("{config}\n{admin}")), port)
}

/// Of the text between the tags, as browsers and RFC 6234 reckon it.
fn digest(page: &str, tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let text = page
        .split_once(&open)
        .unwrap()
        .1
        .split_once(&close)
        .unwrap()
        .0;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    fs::write(&file, text).unwrap();
    let script = "import base64, hashlib, sys; print(base64.b64encode(hashlib.sha256(open(sys.argv[1], 'rb').read()).digest()).decode())";
    let output = Command::new(venv_python())
        .args(["-c", script])
        .arg(&file)
        .output_in_time()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_page_is_for_everyone_and_allows_nothing_but_its_own_script() {
    let (server, port) = with_tcp("");
    let address = Address::Tcp(([127, 0, 0, 1], port).into());
    let request = "GET / HTTP/1.1\r\nHost: server.example\r\n\r\n";
    let response = Client::to(&address).request(request);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.field("Content-Type").as_deref(),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        response.field("X-Content-Type-Options").as_deref(),
        Some("nosniff")
    );
    assert_eq!(response.field("X-Frame-Options").as_deref(), Some("DENY"));
    assert_eq!(response.field("Cache-Control").as_deref(), Some("no-store"));
    let policy = response.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = response.text();
    for tag in ["script", "style"] {
        let named = format!("{tag}-src 'sha256-{}'", digest(&page, tag));
        assert!(
            policy.contains(&named),
            "write this into src/admin/page.rs: {named}"
        );
    }
    assert!(
        !page.contains("http://")
            || page.matches("http").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    let foreign = "GET / HTTP/1.1\r\nHost: server.example\r\nOrigin: http://evil.example\r\n\r\n";
    assert_eq!(Client::to(&address).request(foreign).status, 403);
    assert_eq!(get(&server, "/").text(), page, "on the UNIX socket, too");
}

#[test]
fn the_configuration_is_told_with_origins_and_changes_and_without_secrets() {
    let (server, _) = with_tcp("workers = 1\n[env]\nPASSWORD = 'hush-hush'");
    let config = get(&server, "/config").json();
    let value = |config: &serde_json::Value, key: &str| {
        let values = config["values"].as_array().unwrap();
        values.iter().find(|one| one["key"] == key).unwrap().clone()
    };
    let workers = value(&config, "workers");
    assert_eq!(workers["value"], "1");
    let origin = workers["origin"].as_str().unwrap();
    assert!(origin.contains("rgunicorn.toml:"), "{origin}");
    assert!(value(&config, "timeouts.keepalive")["origin"].is_null());
    assert_eq!(value(&config, "env.PASSWORD")["value"], "(hidden)");
    assert_eq!(value(&config, "admin.token")["value"], "(hidden)");
    assert!(config["reload"].is_null());
    server.edit("workers = 2\n[timeouts]\nkeepalive = '9s'");
    server.says("reload=1 done");
    eventually("it is told", || {
        let config = get(&server, "/config").json();
        let changes = config["reload"]["changes"].to_string();
        value(&config, "workers")["value"] == "2"
            && changes.contains(r#"{"apply":"scale","key":"workers","new":"2","old":"1"}"#)
    });
    let all = get(&server, "/config").text();
    assert!(!all.contains("hush-hush") && !all.contains(TOKEN), "{all}");
}

#[test]
fn a_browser_shows_load_rolls_and_hostile_paths_live() {
    let (server, port) = with_tcp("workers = 2\nthreads = 2");
    let Some(mut browser) = Browser::open(&format!("http://127.0.0.1:{port}/")) else {
        return;
    };
    browser.shows("!document.getElementById('gate').hidden");
    let give = |browser: &mut Browser, token: &str| {
        browser.evaluate(&format!(
            "document.getElementById('token').value = '{token}'; document.querySelector('#token-form button').click(); true"
        ));
    };
    give(&mut browser, "not-the-token-at-all");
    browser.shows("document.getElementById('gate-why').textContent === 'This is not the token.'");
    give(&mut browser, TOKEN);
    browser.shows("!document.getElementById('main').hidden");
    assert_eq!(
        browser.evaluate("location.href"),
        format!("http://127.0.0.1:{port}/")
    );

    let hammer = Hammer::start(server.address(), "/", 2, 2);
    browser.shows("document.querySelectorAll('#workers tr').length === 2");
    browser
        .shows("parseFloat(document.querySelector('#tiles dd').textContent.replace(',', '')) > 1");
    browser.shows("/ (µs|ms|s)$/.test(document.querySelectorAll('#tiles dd')[2].textContent)");
    browser.shows("document.querySelectorAll('#rate .area').length > 0");
    browser.shows("document.querySelectorAll('#memory .curve').length >= 2");

    let mut hostile = server.client();
    hostile.send(format!("GET {HOSTILE} HTTP/1.1\r\nHost: h\r\n\r\n"));
    browser
        .shows("document.getElementById('workers').textContent.includes('<script>window.harmed')");

    let before = status(&server)["workers"][0]["pid"].to_string();
    assert_eq!(post(&server, "/reload").status, 200);
    browser.shows("document.getElementById('events').textContent.includes('reload=1 done')");
    browser.shows(&format!(
        "!document.getElementById('workers').textContent.includes('{before}')"
    ));
    browser.shows("document.getElementById('reload').textContent.startsWith('Reload 1 done')");
    browser.shows("document.querySelectorAll('#generations .band.serving').length >= 2");
    assert_eq!(browser.evaluate("window.harmed === undefined"), true);
    assert_eq!(
        browser.evaluate("document.querySelectorAll('main img, main script').length"),
        0
    );

    browser.evaluate("const search = document.getElementById('search'); search.value = 'keepalive'; search.dispatchEvent(new Event('input')); true");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#config tr').length"),
        1
    );
    hammer.stop();
}

#[test]
fn the_page_says_that_the_server_is_gone_and_comes_back_by_itself() {
    let port = free_port();
    let config = format!(
        "[admin]\naddress = '127.0.0.1:{port}'\ntoken = '{TOKEN}'\nopen = ['/status', '/metrics.json', '/events', '/config']"
    );
    let server = Server::start(&config);
    let Some(mut browser) = Browser::open(&format!("http://127.0.0.1:{port}/")) else {
        return;
    };
    let live = "document.getElementById('link').textContent === 'live'";
    browser.shows(live);
    drop(server);
    browser.shows(
        "document.getElementById('link').textContent.startsWith('the server does not answer')",
    );
    let _second = Setup::with(&config).start();
    browser.shows(live);
}

#[test]
fn an_upgrade_is_among_the_events_and_origins_outlive_it() {
    let port = free_port();
    let server = Server::start(&format!(
        "[admin]\naddress = '127.0.0.1:{port}'\ntoken = '{TOKEN}'\nopen = ['/status', '/metrics.json', '/events', '/config']"
    ));
    let before = get(&server, "/config").json();
    let browser = Browser::open(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(post(&server, "/upgrade").status, 200);
    server.says("upgrade done");
    if let Some(mut browser) = browser {
        browser.shows("document.getElementById('events').textContent.includes('upgrade done')");
        browser.shows("document.getElementById('link').textContent === 'live'");
    }
    assert_eq!(get(&server, "/config").json()["values"], before["values"]);
}

const SHOP: &str = r#"
import random, time

STATUSES = {"/cart": "303 See Other", "/missing": "404 Not Found", "/broken": "503 Service Unavailable"}

def application(environ, start_response):
    path = environ["PATH_INFO"]
    time.sleep(2 if path == "/report" else 0.002 + 0.02 * random.random() ** 6)
    start_response(STATUSES.get(path, "200 OK"), [("Content-Length", "4")])
    return [b"shop"]
"#;

/// Visitors of the shop, until told that it is over; what goes wrong is for the picture.
fn visit(address: &Address, number: u64, is_over: &AtomicBool) {
    let targets = [
        "/books",
        "/books/17",
        "/cart",
        "/books",
        "/missing",
        "/books/4",
    ];
    for round in number.. {
        if is_over.load(Relaxed) {
            return;
        }
        let target = match (number, round % 97) {
            (0, _) => "/report?month=11",
            (_, 0) => "/broken",
            (_, other) => targets[other as usize % targets.len()],
        };
        if let Ok(mut client) = Client::try_to(address) {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n"));
            let _ = client.try_response("GET");
        }
        let wave = (round as f64 / 40.0).sin() * 15.0;
        std::thread::sleep(Duration::from_millis((25.0 + wave) as u64));
    }
}

#[test]
#[ignore = "makes the pictures in docs/images, and takes two minutes"]
fn makes_the_pictures_of_the_docs() {
    let port = free_port();
    let config = |keepalive: u32| {
        format!(
            "workers = 3\nthreads = 4\nproc_name = 'bookshop'\n[timeouts]\nkeepalive = {keepalive}\n[reload]\nprobation = 15\n\
             [log]\naccess = 'off'\n[admin]\naddress = '127.0.0.1:{port}'\ntoken = '{TOKEN}'\nopen = ['/status', '/metrics.json', '/events', '/config']"
        )
    };
    let server = Setup::with(&config(5)).app(SHOP).start();
    let mut browser = Browser::open(&format!("http://127.0.0.1:{port}/")).unwrap();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&images).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (address, is_over) = (server.address(), &is_over);
            scope.spawn(move || visit(&address, number, is_over));
        }
        std::thread::sleep(Duration::from_secs(30));
        assert_eq!(post(&server, "/reload").status, 200);
        std::thread::sleep(Duration::from_secs(25));
        server.edit(&config(20));
        std::thread::sleep(Duration::from_secs(15));
        for (name, size, dark) in [
            ("page-light.png", [1280, 1184], false),
            ("page-dark.png", [1280, 1184], true),
            ("page-phone.png", [390, 1400], false),
        ] {
            let [width, _] = browser.screenshot(&images.join(name), size, dark);
            assert_eq!(width, u64::from(size[0]), "{name} is as wide as the screen");
        }
        is_over.store(true, Relaxed);
    });
}
