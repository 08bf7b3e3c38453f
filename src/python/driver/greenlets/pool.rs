//! The greenlets that requests are served in: made when none is idle, and ended when they are not needed any more.

use std::{os::fd::AsRawFd, sync::Arc};

use pyo3::{intern, prelude::*, types::PyCFunction};

use super::Greenlets;
use crate::{
    python::wsgi::{Desk, Gateway},
    sys,
    worker::{Connection, Seat},
};

/// Between two looks for greenlets that were not needed.
const TRIM_EVERY_NS: u64 = 5_000_000_000;
/// So many are kept in any case.
const IDLE_MIN: usize = 4;

/// A greenlet and what it works on.
pub(super) struct Member {
    pub(super) greenlet: Py<PyAny>,
    pub(super) seat: Arc<Seat>,
    /// The request to begin with at the next switch.
    job: Option<Box<Connection>>,
}

impl Greenlets {
    /// Has an idle greenlet begin with a request; returns when the app waits for something, or is done.
    pub(super) fn start(
        self: &Arc<Self>,
        py: Python<'_>,
        connection: Box<Connection>,
    ) -> PyResult<()> {
        let mut state = self.state.borrow(py);
        let idle = state.idle.pop();
        state.unused = state.unused.min(state.idle.len());
        drop(state);
        let index = match idle {
            Some(index) => index,
            None => self.hire(py)?,
        };
        let mut state = self.state.borrow(py);
        state.in_flight += 1;
        let Some(member) = &mut state.members[index] else {
            unreachable!("who has ended is not idle")
        };
        member.job = Some(connection);
        let greenlet = member.greenlet.clone_ref(py);
        drop(state);
        greenlet.call_method0(py, intern!(py, "switch")).map(drop)
    }

    /// Ends the greenlets that had nothing to do since the last time: they would else keep what a burst of requests took, 40 KiB for each.
    pub(super) fn trim(&self, py: Python<'_>) -> PyResult<()> {
        let now_ns = sys::monotonic_ns();
        let mut state = self.state.borrow(py);
        if now_ns < state.trim_ns {
            return Ok(());
        }
        let count = state.unused.min(state.idle.len().saturating_sub(IDLE_MIN));
        let unneeded: Vec<_> = state.idle.drain(..count).collect();
        state.unused = state.idle.len();
        state.trim_ns = now_ns + TRIM_EVERY_NS;
        let members = unneeded
            .iter()
            .filter_map(|index| state.members[*index].as_ref());
        let greenlets: Vec<_> = members.map(|it| it.greenlet.clone_ref(py)).collect();
        drop(state);
        for greenlet in greenlets {
            // It finds that it is not idle and has no request, and ends.
            greenlet.call_method0(py, intern!(py, "switch"))?;
        }
        Ok(())
    }

    /// Makes another greenlet.
    fn hire(self: &Arc<Self>, py: Python<'_>) -> PyResult<usize> {
        let mut state = self.state.borrow(py);
        let vacant = state.members.iter().position(Option::is_none);
        let index = vacant.unwrap_or(state.members.len());
        if vacant.is_none() {
            state.members.push(None);
        }
        drop(state);
        let this = Arc::clone(self);
        let life = PyCFunction::new_closure(py, None, None, move |arguments, _| {
            this.live(arguments.py(), index);
        })?;
        let member = Member {
            greenlet: self.event_loop.greenlet(py, &life)?,
            seat: Arc::default(),
            job: None,
        };
        self.state.borrow(py).members[index] = Some(member);
        Ok(index)
    }

    /// The life of a greenlet. It ends with the worker, when it is not needed, or when somebody kills it while it is idle.
    fn live(self: &Arc<Self>, py: Python<'_>, index: usize) {
        let lived = self.serve(py, index);
        let mut state = self.state.borrow(py);
        state.idle.retain(|idle| *idle != index);
        let member = state.members[index].take();
        drop(state);
        drop(member);
        if let Err(error) = lived {
            self.give_up(py, &error);
        }
    }

    /// Serves requests until the greenlet is killed. An error: the server's own objects could not be made.
    fn serve(&self, py: Python<'_>, index: usize) -> PyResult<()> {
        let Some((greenlet, seat)) = self.myself(py, index) else {
            return Ok(());
        };
        let mut gateway = self.gateway(py, &seat)?;
        loop {
            match self.take_job(py, index) {
                Some(job) => {
                    self.work(py, job, &greenlet, &seat, &mut gateway)?;
                    self.become_idle(py, index);
                }
                // Not the hub but somebody who kept this greenlet has switched here: it waits on, in its place.
                None if self.state.borrow(py).idle.contains(&index) => {}
                None => return Ok(()),
            }
            if self.event_loop.switch(py).is_err() {
                return Ok(());
            }
        }
    }

    /// Has the app answer this request, and then those that have come in meanwhile.
    fn work(
        &self,
        py: Python<'_>,
        first: Box<Connection>,
        greenlet: &Py<PyAny>,
        seat: &Seat,
        gateway: &mut Gateway,
    ) -> PyResult<()> {
        let hub = &self.green.hub;
        let mut job = Some(first);
        while let Some(connection) = job {
            let context = self.context.call_method0(py, intern!(py, "copy"))?;
            greenlet.setattr(py, intern!(py, "gr_context"), context)?;
            if hub.station.slow.limit_ns().is_some() {
                seat.describe(&hub.station.request_ids, &connection);
            }
            seat.keep_id(&hub.station.request_ids, &connection);
            let socket = connection.socket().as_raw_fd();
            seat.begin(sys::monotonic_ns(), socket, connection.is_head());
            let served = gateway.serve(py, connection)?;
            seat.end();
            hub.finish(served.connection, served.then_close, served.status);
            job = self.next_job();
        }
        Ok(())
    }

    fn become_idle(&self, py: Python<'_>, index: usize) {
        let mut state = self.state.borrow(py);
        state.in_flight -= 1;
        state.idle.push(index);
        let is_turning = state.is_turning;
        drop(state);
        if !is_turning {
            self.green.hub.ask_for_turn();
        }
    }

    fn myself(&self, py: Python<'_>, index: usize) -> Option<(Py<PyAny>, Arc<Seat>)> {
        let state = self.state.borrow(py);
        let member = state.members[index].as_ref()?;
        Some((member.greenlet.clone_ref(py), Arc::clone(&member.seat)))
    }

    fn take_job(&self, py: Python<'_>, index: usize) -> Option<Box<Connection>> {
        self.state.borrow(py).members[index].as_mut()?.job.take()
    }

    fn gateway(&self, py: Python<'_>, seat: &Arc<Seat>) -> PyResult<Gateway> {
        let desk = Desk::Greenlet {
            hub: Arc::clone(&self.green.hub),
            seat: Arc::clone(seat),
            sleep: self.event_loop.sleep.clone_ref(py),
        };
        let app = self.green.app.clone_ref(py);
        let hooks = self.green.hooks.clone();
        Gateway::new(
            py,
            app,
            hooks,
            desk,
            &self.green.config,
            &self.green.listeners,
        )
    }
}
