//! The admin interface.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use super::Resolver;
use crate::config::{Admin, AdminSocket, Secret, file};

/// `sun_path` of `sockaddr_un`, without the byte that ends it.
const SOCKET_PATH_MAX: usize = 107;
/// What the kernel's largest process id, 4194304, takes in the place of `{pid}`.
const PID_DIGITS: usize = 7;

impl Resolver<'_> {
    /// Whether the socket can be made is not asked here: the server serves without.
    pub(super) fn admin(&mut self, written: file::Admin, chdir: &Path) -> Admin {
        let address = written
            .address
            .as_deref()
            .and_then(|text| self.admin_address(text));
        if address.is_some() && written.token.is_none() && written.token_file.is_none() {
            self.problem(
                "/admin/address",
                "`admin.address` needs a token".to_owned(),
                "whoever can connect could stop the server",
                Some(
                    "set `admin.token_file`, or RGUNICORN_ADMIN_TOKEN in the environment"
                        .to_owned(),
                ),
            );
        }
        if written.token.is_some() && written.token_file.is_some() {
            let title = "`admin.token` and `admin.token_file` exclude each other";
            self.problem_with_key("/admin/token_file", title.to_owned(), None);
        }
        Admin {
            socket: self.admin_socket(&written.socket, chdir),
            address,
            token: written.token.map(Secret::new),
            token_file: written.token_file.map(|path| chdir.join(path)),
            open: written.open.0,
        }
    }

    fn admin_socket(&mut self, text: &str, chdir: &Path) -> AdminSocket {
        match text {
            "auto" => AdminSocket::Auto,
            "off" => AdminSocket::Off,
            path => {
                let path = chdir.join(path);
                let text = path.to_string_lossy();
                let length = text.replace("{pid}", &"0".repeat(PID_DIGITS)).len();
                if length > SOCKET_PATH_MAX {
                    let title = format!(
                        "`admin.socket` is a path of {length} bytes; the kernel takes at most {SOCKET_PATH_MAX}"
                    );
                    self.problem("/admin/socket", title, "", None);
                }
                AdminSocket::Path(path)
            }
        }
    }

    fn admin_address(&mut self, text: &str) -> Option<SocketAddr> {
        let (host, port) = text.rsplit_once(':')?;
        let address = match host {
            "" => port
                .parse()
                .ok()
                .map(|port| (Ipv4Addr::UNSPECIFIED, port).into()),
            "localhost" => port
                .parse()
                .ok()
                .map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            _ => text.parse().ok(),
        };
        if address.is_none() {
            let title = format!("`{text}` is no address with a port from 0 to 65535");
            self.problem("/admin/address", title, "", None);
        }
        address
    }
}
