//! The course of a reload or a change of the number of workers, as lines of JSON, each an object with `event`.

use serde_json::{Value, json};

use super::{
    reply::{Follow, Response},
    request::Request,
    situation::Situation,
    status::ReloadStatus,
    view::{GenerationState, Outcome, ScaleFailure, ServerState, View},
};

const SECOND_NS: u64 = 1_000_000_000;
/// For how long a client is kept informed unless it says otherwise, in seconds: many workers may boot in turn.
const TIMEOUT_SECONDS: u64 = 600;
const TIMEOUT_SECONDS_MAX: u64 = 3600;

/// What ends it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// The reload with this number is decided.
    Reload(u64),
    /// As many workers serve as are wanted, and no others; or those of the order with this number cannot be brought up.
    Scale(u64),
}

pub(super) struct Progress {
    goal: Goal,
    deadline_ns: u64,
    /// The line that was said last.
    said: Option<Value>,
}

impl Progress {
    pub(super) fn new(goal: Goal, deadline_ns: u64) -> Self {
        Self {
            goal,
            deadline_ns,
            said: None,
        }
    }

    /// Of `?timeout=30`, in seconds.
    pub(super) fn deadline_ns(request: &Request, now_ns: u64) -> Result<u64, Response> {
        let seconds = match request.query.get("timeout").map(str::parse) {
            None => TIMEOUT_SECONDS,
            Some(Ok(seconds @ 1..=TIMEOUT_SECONDS_MAX)) => seconds,
            Some(_) => {
                let what = "`timeout` must be seconds from 1 to 3600";
                return Err(Response::problem(400, what, "leave it out for 600"));
            }
        };
        Ok(now_ns + seconds * SECOND_NS)
    }

    /// The line for the present state, and whether it is the last.
    fn line(&self, view: &View) -> (Value, bool) {
        match self.goal {
            Goal::Reload(number) => {
                let reload = view.reloads.iter().find(|reload| reload.reload == number);
                match reload {
                    // The view was published before it began.
                    None => (json!({ "event": "reading", "reload": number }), false),
                    Some(reload) if reload.outcome == Outcome::Pending => {
                        (self.workers(view), false)
                    }
                    Some(reload) => {
                        let status = ReloadStatus::of(reload);
                        (json!({ "event": "ended", "reload": status }), true)
                    }
                }
            }
            Goal::Scale(number) => self.scale(view, number),
        }
    }

    fn scale(&self, view: &View, number: u64) -> (Value, bool) {
        let failure = view.scale_failure.as_ref();
        let failure = failure.filter(|failure| failure.scale >= number);
        let workers = view.workers_wanted;
        if view.state == ServerState::Stopping {
            let outcome = Outcome::Cancelled;
            (json!({ "event": "ended", "outcome": outcome }), true)
        } else if let Some(ScaleFailure {
            reason, problems, ..
        }) = failure
        {
            let ended = json!({
                "event": "ended",
                "outcome": Outcome::Rejected,
                "workers": workers,
                "reason": reason,
                "problems": problems,
            });
            (ended, true)
        } else if is_settled(view) {
            let outcome = Outcome::Done;
            let ended = json!({ "event": "ended", "outcome": outcome, "workers": workers });
            (ended, true)
        } else {
            (self.workers(view), false)
        }
    }

    /// `3 of 4`: of the generation that boots, else of the one that serves.
    fn workers(&self, view: &View) -> Value {
        let booting = view.generation(GenerationState::Booting);
        let Some(generation) = booting.or_else(|| view.generation(GenerationState::Serving)) else {
            return json!({ "event": "starting" });
        };
        let id = generation.generation;
        let own = view.workers.iter().filter(|worker| worker.generation == id);
        let ready = own.filter(|worker| view.is_serving_worker(worker)).count();
        json!({ "event": "workers", "generation": id, "ready": ready, "of": generation.workers_wanted })
    }
}

impl Follow for Progress {
    fn advance(&mut self, situation: &mut Situation<'_>, out: &mut Vec<u8>) -> bool {
        let (mut line, mut is_last) = self.line(&situation.view);
        if !is_last && self.deadline_ns <= situation.now_ns {
            line = json!({ "event": "timeout", "help": "it goes on; look at /status" });
            is_last = true;
        }
        if self.said.as_ref() != Some(&line) {
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
            self.said = Some(line);
        }
        is_last
    }

    fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }
}

fn is_settled(view: &View) -> bool {
    let wanted = usize::from(view.workers_wanted);
    view.generation(GenerationState::Booting).is_none()
        && view.workers_ready() == wanted
        && view.workers.len() == wanted
}
