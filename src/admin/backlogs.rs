//! Connections that wait to be accepted, by listener.

use std::{os::fd::AsFd, sync::Arc};

use super::{link::Link, view::View};
use crate::{sys::net, telemetry::metrics::Backlog};

/// Tells of them from any thread.
pub struct Backlogs(pub(super) Arc<Link>);

impl Backlogs {
    /// Of all listeners together; `None` when the kernel tells of none.
    pub fn waiting(&self) -> Option<u64> {
        let backlogs = backlogs(&self.0.view());
        let waiting = backlogs.iter().map(|backlog| backlog.waiting);
        (!backlogs.is_empty()).then(|| waiting.sum())
    }
}

/// Of the listeners whose backlog the kernel tells.
pub(super) fn backlogs(view: &View) -> Vec<Backlog> {
    let listeners = view.listeners.iter();
    let backlogs = listeners.filter_map(|listener| {
        let socket = listener.socket.upgrade()?;
        let (waiting, limit) = net::backlog(socket.as_fd()).ok()?;
        Some(Backlog {
            address: listener.address.clone(),
            waiting: waiting.into(),
            limit: limit.into(),
        })
    });
    backlogs.collect()
}
