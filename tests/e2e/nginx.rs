//! The example of nginx before a UNIX socket, run with Debian's nginx; and nginx as a load balancer for TCP.

use std::{
    path::Path,
    process::{Command, Output},
};

use nix::sys::signal::Signal;

use crate::harness::{
    Address, Client, Hammer, InTime, Nginx, Server, Setup, free_port, loopback, venv_python,
};

const APP: &str = include_str!("apps/client.py");
const SITE: &str = include_str!("../../examples/deploy/nginx/mysite.conf");
/// The same for WSGI and ASGI.
const KINDS: [&str; 2] = ["app = 'app:application'", "app = 'app:app'"];

/// Where nginx listens: the ports of the example, and one more that speaks what the harness speaks.
struct Ports {
    redirecting: u16,
    tls: u16,
    plain: u16,
}

/// The example as it is, but for addresses, certificate and paths.
fn site(folder: &Path, ports: &Ports) -> String {
    let changes = [
        (
            "unix:/run/mysite/app.sock",
            format!("unix:{}/run.sock", folder.display()),
        ),
        (
            "listen 80;",
            format!("listen 127.0.0.1:{};", ports.redirecting),
        ),
        (
            "listen 443 ssl;",
            format!(
                "listen 127.0.0.1:{} ssl; listen 127.0.0.1:{};",
                ports.tls, ports.plain
            ),
        ),
        (
            "/etc/ssl/mysite.pem",
            folder.join("server.pem").display().to_string(),
        ),
        (
            "/etc/ssl/mysite.key",
            folder.join("server.key").display().to_string(),
        ),
    ];
    changes.iter().fold(SITE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

/// A server on a UNIX socket with nginx before it. The clients are on this machine, and no proxies.
#[track_caller]
fn start(config: &str) -> Option<(Server, Nginx, Ports)> {
    let server = Setup::with(&format!(
        "bind = 'unix:run.sock'\n{config}\n[proxy]\nforwarded_allow_ips = []"
    ))
    .app(APP)
    .start();
    let folder = server.directory.path();
    make_certificate(folder);
    let ports = Ports {
        redirecting: free_port(),
        tls: free_port(),
        plain: free_port(),
    };
    let listening = [ports.redirecting, ports.tls, ports.plain];
    let nginx = Nginx::start(folder, &site(folder, &ports), None, &listening)?;
    Some((server, nginx, ports))
}

fn make_certificate(folder: &Path) {
    let code = "import trustme\nca = trustme.CA()\nca.cert_pem.write_to_path('ca.pem')\n\
                cert = ca.issue_cert('mysite.example')\ncert.private_key_pem.write_to_path('server.key')\n\
                cert.cert_chain_pems[0].write_to_path('server.pem')";
    python(folder, code);
}

#[track_caller]
fn python(folder: &Path, code: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(venv_python())
        .args(["-c", code])
        .current_dir(folder)
        .output_in_time()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

#[test]
fn address_scheme_and_host_come_through_nginx() {
    for kind in KINDS {
        let Some((_server, _nginx, ports)) = start(kind) else {
            return;
        };
        let mut client = Client::to(&loopback(ports.plain));
        for forged in [
            "",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n",
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: mysite.example\r\n{forged}\r\n");
            assert_eq!(
                client.request(&request).text(),
                "127.0.0.1 - http mysite.example unix",
                "{kind}"
            );
        }
    }
}

#[test]
fn tls_ends_at_nginx_and_the_app_knows() {
    for kind in KINDS {
        let Some((server, _nginx, ports)) = start(kind) else {
            return;
        };
        let code = format!(
            "import http.client, socket, ssl\n\
             tls = ssl.create_default_context(cafile='ca.pem')\n\
             sock = tls.wrap_socket(socket.create_connection(('127.0.0.1', {})), server_hostname='mysite.example')\n\
             client = http.client.HTTPSConnection('mysite.example')\nclient.sock = sock\n\
             client.request('GET', '/')\nprint(client.getresponse().read().decode())",
            ports.tls
        );
        let told = python(server.directory.path(), &code);
        assert_eq!(told, "127.0.0.1 - https mysite.example unix", "{kind}");
        let mut client = Client::to(&loopback(ports.redirecting));
        let redirection = client.request("GET /x HTTP/1.1\r\nHost: mysite.example\r\n\r\n");
        assert_eq!(redirection.status, 301);
        assert_eq!(
            redirection.field("location").unwrap(),
            "https://mysite.example/x"
        );
    }
}

#[test]
fn a_websocket_goes_through_nginx() {
    for (kind, scheme) in KINDS.into_iter().zip(["https", "wss"]) {
        let Some((server, _nginx, ports)) = start(kind) else {
            return;
        };
        let code = format!(
            "import socket, ssl\nfrom websockets.sync.client import connect\n\
         tls = ssl.create_default_context(cafile='ca.pem')\n\
         sock = socket.create_connection(('127.0.0.1', {}))\n\
         with connect('wss://mysite.example/', sock=sock, ssl=tls) as ws:\n    first = ws.recv(20)\n    ws.send('x')\n    assert ws.recv(20) == first\n    print(first)",
            ports.tls
        );
        let told = python(server.directory.path(), &code);
        let expected = format!("127.0.0.1 - {scheme} mysite.example unix");
        assert_eq!(told, expected, "{kind}");
    }
}

#[test]
fn nginx_never_answers_502_while_the_server_rolls() {
    for kind in KINDS {
        let config = format!("{kind}\nworkers = 2");
        let Some((server, nginx, ports)) = start(&config) else {
            return;
        };
        server.says_times(2, " ready");
        let hammer = Hammer::start(loopback(ports.plain), "/", 6, 2);
        for reload in 1..=3 {
            server.signal(Signal::SIGHUP);
            server.says(&format!("reload={reload} done"));
            server.applied();
            hammer.lands(50);
        }
        hammer.stop();
        let log = nginx.log();
        assert!(!log.contains("[error]") && !log.contains("[warn]"), "{log}");
    }
}

#[test]
fn nginx_as_a_load_balancer_for_tcp_introduces_its_clients() {
    let config = format!(
        "{}\nbind = '127.0.0.1:{}'\n[proxy]\nprotocol = 'v1'",
        KINDS[0],
        free_port()
    );
    let server = Setup::with(&config).app(APP).start();
    let port = free_port();
    let stream = format!(
        "server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{}; proxy_protocol on; }}",
        server.port()
    );
    let Some(_nginx) = Nginx::start(server.directory.path(), "", Some(&stream), &[port]) else {
        return;
    };
    let Address::Tcp(address) = loopback(port) else {
        unreachable!("a port is one of TCP")
    };
    let socket = std::net::TcpStream::connect(address).unwrap();
    let own_port = socket.local_addr().unwrap().port();
    let mut client = Client::over(socket);
    for _ in 0..2 {
        let told = client.get("/").text();
        let expected = format!("127.0.0.1 {own_port} http localhost 127.0.0.1:");
        assert!(told.starts_with(&expected), "{told}");
    }
}
