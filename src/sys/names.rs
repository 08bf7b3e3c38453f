//! Names of hosts.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc::sync_channel,
    time::Duration,
};

use super::without_signals;

const STACK_BYTES: usize = 512 * 1024;

/// The addresses that a host stands for, perhaps none. The resolver may take minutes where its servers do not answer, so it
/// is asked on a thread of its own, which is left alone when it takes longer than `time_max`: an error says so.
pub fn resolve_host(host: &str, port: u16, time_max: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (answer, told) = sync_channel(1);
    let name = host.to_owned();
    let thread = std::thread::Builder::new()
        .name("rg-resolve".to_owned())
        .stack_size(STACK_BYTES);
    without_signals(|| {
        thread.spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs();
            let _nobody_waits_any_more = answer.send(addresses.map(Iterator::collect));
        })
    })?;
    told.recv_timeout(time_max).map_err(|_| {
        let seconds = time_max.as_secs();
        io::Error::other(format!(
            "the address of `{host}` was not found within {seconds} seconds"
        ))
    })?
}
