//! Sockets that the app has taken to speak on them itself: `gunicorn.socket` of WSGI. The reactor neither reads nor writes
//! nor watches one of them until the call is over; it only ends them when the worker leaves.

use std::os::fd::AsRawFd;

use super::Reactor;
use crate::{sys::net, worker::connection::Connection};

impl Reactor {
    /// The app takes the socket of a connection that is lent to it.
    pub fn let_take(&mut self, connection: &mut Connection) {
        connection.is_taken = true;
        if connection.is_registered.replace(false) {
            // Else each message would wake the reactor for nothing.
            let _ = self.epoll.remove(connection.socket());
        }
        if let Some(lent) = self.table.lent(connection.token) {
            lent.taken = Some(connection.socket().as_raw_fd());
        }
    }

    /// Ends the sockets that the app has taken: it reads the end, and its call comes back. Nothing else tells it that the worker
    /// leaves.
    pub(super) fn end_taken(&mut self) {
        for socket in self.table.taken().filter_map(Option::take) {
            net::shut_down_number(socket);
        }
    }
}
