//! The manifests of the examples: valid, and what they promise is true of a server that is started, probed, given another
//! ConfigMap and stopped as the kubelet would do it.

use std::{fs, path::Path, process::Command};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Client, Hammer, InTime, Save, Server, Setup, eventually, free_port, loopback, venv_bin,
    venv_python,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy/kubernetes");

/// A manifest as JSON.
fn manifest(name: &str) -> Value {
    let code = "import json, sys, yaml\njson.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let path = Path::new(FOLDER).join(name);
    let output = Command::new(venv_python())
        .args(["-c", code])
        .arg(path)
        .output_in_time()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pod() -> Value {
    manifest("deployment.yaml")["spec"]["template"]["spec"].clone()
}

/// The file in the ConfigMap, as it is but for what a cluster would provide: the app's place and addresses that are free here.
fn config(greeting: &str, admin: u16) -> String {
    let text = manifest("configmap.yaml")["data"]["rgunicorn.toml"].clone();
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/apps/flask");
    let changes = [
        ("Hello from Kubernetes", greeting.to_owned()),
        ("/srv/mysite", app.display().to_string()),
        ("0.0.0.0:8000", "127.0.0.1:0".to_owned()),
        ("\":9000\"", format!("'127.0.0.1:{admin}'")),
    ];
    changes
        .iter()
        .fold(text.as_str().unwrap().to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text.replace(from, to)
        })
}

fn start(admin: u16) -> Server {
    Setup::with(&config("one", admin))
        .environment("RGUNICORN_ADMIN_TOKEN", "a token of the tests")
        .kubernetes()
        .start()
}

#[test]
fn the_manifests_are_valid_and_belong_together() {
    for file in fs::read_dir(FOLDER).unwrap() {
        let output = Command::new(venv_bin("kubernetes-validate"))
            .arg("--strict")
            .arg(file.unwrap().path())
            .output_in_time()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
    }
    let (deployment, service) = (manifest("deployment.yaml"), manifest("service.yaml"));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);
    let pod = pod();
    assert_eq!(
        pod["volumes"][0]["configMap"]["name"],
        manifest("configmap.yaml")["metadata"]["name"]
    );
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/etc/rgunicorn");
    assert!(mount["subPath"].is_null(), "such a mount never changes");
}

#[test]
fn there_is_time_for_pre_stop_and_for_requests_in_flight() {
    let pod = pod();
    let pre_stop = &pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
    assert_eq!(pre_stop[0], "sleep");
    let pre_stop: u64 = pre_stop[1].as_str().unwrap().parse().unwrap();
    let config = manifest("configmap.yaml")["data"]["rgunicorn.toml"].clone();
    let config: toml::Table = config.as_str().unwrap().parse().unwrap();
    let graceful = config["timeouts"]["graceful"].as_str().unwrap();
    let graceful: u64 = graceful.trim_end_matches('s').parse().unwrap();
    let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(pre_stop + graceful < patience);
}

#[test]
fn the_probes_are_answered_from_the_start_to_the_end() {
    let admin = free_port();
    let server = start(admin);
    let container = pod()["containers"][0].clone();
    let ports = container["ports"].as_array().unwrap();
    let probe = |name: &str| {
        let request = &container[name]["httpGet"];
        let port = ports.iter().find(|port| port["name"] == request["port"]);
        assert_eq!(port.unwrap()["containerPort"], 9000);
        let path = request["path"].as_str().unwrap();
        // The kubelet names the pod by its address.
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{admin}\r\n\r\n");
        Client::to(&loopback(admin)).request(&request).status
    };
    eventually("the pod is ready", || probe("startupProbe") == 200);
    assert_eq!(
        (probe("readinessProbe"), probe("livenessProbe")),
        (200, 200)
    );
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
}

#[test]
fn another_configmap_is_in_force_without_a_restart_and_without_a_lost_request() {
    let admin = free_port();
    let server = start(admin);
    let hammer = Hammer::start(server.address(), "/", 4, 2);
    for greeting in ["two", "three"] {
        server.edit_by(Save::Kubernetes, &config(greeting, admin));
        server.applied();
        hammer.lands(20);
        assert!(server.text("/").contains(&format!("<h1>{greeting}</h1>")));
    }
    // One that is wrong changes nothing.
    server.edit_by(
        Save::Kubernetes,
        &format!("{}\nworkerz = 2", config("four", admin)),
    );
    server.says("unknown key `workerz`");
    assert!(server.text("/").contains("<h1>three</h1>"));
    hammer.stop();
}
