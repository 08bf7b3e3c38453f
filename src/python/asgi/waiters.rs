//! Who of the app waits for a request or a WebSocket: for a message of the client, or for room to send. Each waits on a
//! future of the loop.

use pyo3::{intern, prelude::*};

use super::awaitable::Awaited;

#[derive(Default)]
pub(super) struct Waiters {
    receivers: Vec<Py<PyAny>>,
    senders: Vec<Py<PyAny>>,
}

/// To be woken while nothing is borrowed: code of the app's may run.
#[must_use]
#[derive(Default)]
pub(super) struct Sleepers(Vec<Py<PyAny>>);

impl Waiters {
    /// Forgets those that were cancelled meanwhile: an app may look again and again whether there is something.
    pub(super) fn add(&mut self, awaited: Awaited, future: &Bound<'_, PyAny>) {
        let waiting = self.of(awaited);
        waiting.retain(|other| !is_done(other.bind(future.py())).unwrap_or(false));
        waiting.push(future.clone().unbind());
    }

    /// Those who wait for that.
    pub(super) fn take(&mut self, awaited: Awaited) -> Sleepers {
        Sleepers(std::mem::take(self.of(awaited)))
    }

    /// All, those first who wait for a message.
    pub(super) fn take_all(&mut self) -> Sleepers {
        let mut all = std::mem::take(&mut self.receivers);
        all.append(&mut self.senders);
        Sleepers(all)
    }

    fn of(&mut self, awaited: Awaited) -> &mut Vec<Py<PyAny>> {
        match awaited {
            Awaited::Message => &mut self.receivers,
            Awaited::Room => &mut self.senders,
        }
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future
        .call_method0(intern!(future.py(), "done"))?
        .is_truthy()
}

impl Sleepers {
    /// Has them ask again.
    pub(super) fn wake(self, py: Python<'_>) -> PyResult<()> {
        for future in self.0 {
            let future = future.bind(py);
            if !is_done(future)? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }
}
