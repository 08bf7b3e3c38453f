//! Debian's nginx before a server, with a site file of our examples.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{DEADLINE, debian, within};

/// A running nginx. It ends with the test.
pub struct Nginx {
    child: Child,
    folder: PathBuf,
}

impl Nginx {
    /// Starts it in this folder. `site` stands in its `http` block; `stream`, if any, beside it. Every port in `ports` answers
    /// then. `None` where there is no nginx to be had.
    #[track_caller]
    pub fn start(folder: &Path, site: &str, stream: Option<&str>, ports: &[u16]) -> Option<Self> {
        let root = debian(&["nginx", "libnginx-mod-stream"])?;
        let folder = folder.join("nginx");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("site.conf"), site).unwrap();
        let path = folder.display();
        let module = root.join("usr/lib/nginx/modules/ngx_stream_module.so");
        let load = match stream {
            Some(_) => format!("load_module {};", module.display()),
            None => String::new(),
        };
        let stream = stream.map_or_else(String::new, |stream| format!("stream {{ {stream} }}"));
        // As the user of the tests: the workers must reach a socket in the test's own directory.
        let user = if nix::unistd::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "{load} {user} daemon off; worker_processes 1; pid {path}/pid; error_log {path}/error.log notice;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n\
             access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;\n\
             uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n\
             include {path}/site.conf;\n}}\n{stream}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new(root.join("usr/sbin/nginx"))
            .args(["-e", "stderr", "-p"])
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .spawn()
            .unwrap();
        let nginx = Self { child, folder };
        let answers = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        let is_up = within(DEADLINE, || ports.iter().all(answers));
        assert!(is_up, "nginx does not listen:\n{}", nginx.log());
        Some(nginx)
    }

    /// Its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        if !within(DEADLINE, || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        }) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- nginx ---\n{}\n--- end of nginx ---", self.log());
        }
    }
}
