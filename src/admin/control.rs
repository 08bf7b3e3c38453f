//! The routes that change something: each is an order for the arbiter.

use serde_json::json;

use super::{
    link::{Answer, Order},
    progress::{Goal, Progress},
    reply::{Reply, Response, Then},
    request::Request,
    situation::Situation,
};
use crate::config::LogLevel;

/// As the configuration has it for `workers`.
const WORKERS_MAX: u16 = 256;

/// `POST /reload`: lines of JSON until it is decided.
pub(super) fn reload(request: &Request, situation: &mut Situation<'_>) -> Reply {
    follow(Order::Reload, request, situation)
}

/// `POST /scale?workers=4`: lines of JSON until so many serve, or one cannot boot.
pub(super) fn scale(request: &Request, situation: &mut Situation<'_>) -> Reply {
    let workers = request.query.get("workers").map(str::parse::<u16>);
    match workers {
        Some(Ok(workers)) if (1..=WORKERS_MAX).contains(&workers) => {
            follow(Order::Scale(workers), request, situation)
        }
        _ => wrong(
            "`workers` must be a number from 1 to 256",
            "POST /scale?workers=4",
        ),
    }
}

/// `POST /stop` or `POST /stop?quick`.
pub(super) fn stop(request: &Request, _: &mut Situation<'_>) -> Reply {
    let quick = request.query.is_on("quick");
    simple(Order::Stop { quick })
}

/// `POST /worker/kill?pid=812` or `…&quick`.
pub(super) fn kill_worker(request: &Request, _: &mut Situation<'_>) -> Reply {
    let quick = request.query.is_on("quick");
    match request.query.get("pid").map(str::parse) {
        Some(Ok(pid)) => simple(Order::EndWorker { pid, quick }),
        _ => wrong(
            "`pid` must be the process id of a worker",
            "POST /worker/kill?pid=812",
        ),
    }
}

/// `POST /log-level?level=debug`.
pub(super) fn log_level(request: &Request, _: &mut Situation<'_>) -> Reply {
    let text = request.query.get("level").unwrap_or_default();
    match serde_json::from_value::<LogLevel>(text.into()) {
        Ok(level) => simple(Order::LogLevel(level)),
        Err(_) => wrong(
            "`level` must be debug, info, warning, error or critical",
            "POST /log-level?level=debug",
        ),
    }
}

/// `POST /upgrade`: whether it came about is in the status.
pub(super) fn upgrade(_: &Request, _: &mut Situation<'_>) -> Reply {
    simple(Order::Upgrade)
}

fn wrong(what: &str, example: &str) -> Reply {
    Response::problem(400, what, &format!("such as `{example}`")).into()
}

/// An order that is carried out when it is answered.
fn simple(order: Order) -> Reply {
    let then: Then = Box::new(|answer, _| match answer {
        Answer::Refused(why) => refused(&why),
        Answer::Done(done) => Response::json(200, &json!({ "done": done })).into(),
        Answer::Reload(reload) => Response::json(200, &json!({ "reload": reload })).into(),
        Answer::Scale(scale) => Response::json(200, &json!({ "scale": scale })).into(),
    });
    Reply::Later { order, then }
}

/// An order whose course the client watches.
fn follow(order: Order, request: &Request, situation: &Situation<'_>) -> Reply {
    let deadline_ns = match Progress::deadline_ns(request, situation.now_ns) {
        Ok(deadline_ns) => deadline_ns,
        Err(problem) => return problem.into(),
    };
    let then: Then = Box::new(move |answer, _| {
        let goal = match answer {
            Answer::Refused(why) => return refused(&why),
            Answer::Done(done) => return Response::json(200, &json!({ "done": done })).into(),
            Answer::Reload(reload) => Goal::Reload(reload),
            Answer::Scale(scale) => Goal::Scale(scale),
        };
        Reply::Follow(Box::new(Progress::new(goal, deadline_ns)))
    });
    Reply::Later { order, then }
}

fn refused(why: &str) -> Reply {
    Response::problem(409, why, "look at `rgunicorn status`, or /status").into()
}
