use rgunicorn::{
    arbiter::{GenerationProcess, engine, interpreter},
    config::*,
    sys::*,
    wire::*,
};
use std::{
    fs::OpenOptions,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (dir, app, threads, workers, port) = (
        &args[1],
        &args[2],
        args[3].parse::<u16>().unwrap(),
        args[4].parse::<u16>().unwrap(),
        args[5].parse::<u16>().unwrap(),
    );
    let toml = format!(
        "app = \"{app}\"\nchdir = \"{dir}\"\nthreads={threads}\nworkers={workers}\n[log]\naccess = \"{}\"\n",
        args.get(6).map(String::as_str).unwrap_or("off")
    );
    std::fs::write("/tmp/dev/rig.toml", toml).unwrap();
    struct L;
    let out = std::process::Command::new(
        std::env::current_exe()
            .unwrap()
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("rgunicorn"),
    )
    .arg("check")
    .output();
    let _ = (out, L);
    let config: Config =
        serde_json::from_str(&std::fs::read_to_string("/tmp/dev/config.json").unwrap())
            .map(|mut c: Config| {
                c.chdir = dir.into();
                c.app.module = app.split(':').next().unwrap().into();
                c.app.attribute = app.split(':').nth(1).unwrap_or("application").into();
                c.threads = threads;
                c.workers = workers;
                c
            })
            .unwrap();
    let interpreter = interpreter::find(&config).unwrap();
    let engine = engine::find().unwrap();
    let mut process = GenerationProcess::spawn(&interpreter, &engine, &config).unwrap();
    let scoreboard = Scoreboard::create().unwrap();
    let bell = Bell::create().unwrap();
    let (_lifeline, lifeline_end) = Lifeline::create().unwrap();
    let lobby = seqpacket_pair().unwrap();
    let access = OpenOptions::new()
        .append(true)
        .create(true)
        .open("/tmp/dev/access.log")
        .unwrap();
    let error = OpenOptions::new()
        .append(true)
        .create(true)
        .open("/tmp/dev/error.log")
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let l: OwnedFd = listener.into();
    nix::sys::socket::setsockopt(&l, nix::sys::socket::sockopt::TcpNoDelay, &true).unwrap();
    nix::sys::socket::listen(&l, nix::sys::socket::Backlog::new(2048).unwrap()).ok();
    let settings = Box::new(WorkerSettings {
        generation: 1,
        config: config.clone(),
        listeners: vec![PassedListener {
            id: 0,
            address: ListenerAddress::Tcp(format!("127.0.0.1:{port}").parse().unwrap()),
        }],
    });
    let d: Vec<BorrowedFd<'_>> = vec![
        scoreboard.descriptor(),
        bell.as_fd(),
        lifeline_end.as_fd(),
        lobby.0.as_fd(),
        lobby.1.as_fd(),
        access.as_fd(),
        error.as_fd(),
        l.as_fd(),
    ];
    process
        .channel
        .send(ToGeneration::Start(settings), &d)
        .unwrap();
    for w in 0..workers as u64 {
        scoreboard.assign(w as u32, w, 1);
        process
            .channel
            .send(
                ToGeneration::Fork {
                    worker: w,
                    slot: w as u32,
                },
                &[],
            )
            .unwrap();
    }
    loop {
        std::thread::sleep(Duration::from_millis(500));
        while let Ok(m) = process.channel.receive() {
            match m {
                rgunicorn::wire::Received::Message(m, _) => eprintln!("{m:?}"),
                rgunicorn::wire::Received::Closed => return,
                _ => break,
            }
        }
        if std::path::Path::new("/tmp/dev/stat").exists() {
            for s in scoreboard.slots_in_use() {
                eprintln!(
                    "worker {} state {:?} conns {} requests {} idle {} watching {} inflight {:?}",
                    s.worker(),
                    s.state(),
                    s.connections.load(std::sync::atomic::Ordering::SeqCst),
                    s.requests.load(std::sync::atomic::Ordering::SeqCst),
                    s.idle.load(std::sync::atomic::Ordering::SeqCst),
                    s.watching.load(std::sync::atomic::Ordering::SeqCst),
                    s.requests_in_flight().len()
                );
            }
        }
    }
}
