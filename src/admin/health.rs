//! `/healthz` and `/readyz`: for whoever decides whether to restart the server, or to send it requests.

use serde_json::json;

use super::{
    reply::{Reply, Response},
    request::Request,
    situation::{Situation, seconds},
    view::ServerState,
};

/// The arbiter does nothing that takes longer: a new interpreter, or a new program, is given 10 seconds.
const BUSY_MAX_NS: u64 = 30_000_000_000;

/// 200 while the arbiter works. Busy workers are no reason to restart it.
pub(super) fn alive(_: &Request, situation: &mut Situation<'_>) -> Reply {
    if situation.busy_ns > BUSY_MAX_NS {
        let busy_seconds = seconds(situation.busy_ns);
        let body = json!({ "status": "stuck", "why": "the arbiter makes no progress", "busy_seconds": busy_seconds });
        return Response::json(503, &body).into();
    }
    Response::json(200, &json!({ "status": "alive" })).into()
}

/// 200 while a worker of the serving generation takes connections, and new ones are welcome.
pub(super) fn ready(_: &Request, situation: &mut Situation<'_>) -> Reply {
    let view = &situation.view;
    let (ready, wanted) = (view.workers_ready(), view.workers_wanted);
    let why = match (view.state, ready) {
        (ServerState::Starting, _) => "the first workers boot",
        (ServerState::Stopping, _) => "the server stops",
        (ServerState::Serving, 0) => "no worker takes connections",
        (ServerState::Serving, _) => {
            let body =
                json!({ "status": "ready", "workers_ready": ready, "workers_wanted": wanted });
            return Response::json(200, &body).into();
        }
    };
    let body = json!({ "status": "not ready", "why": why, "workers_ready": ready, "workers_wanted": wanted });
    Response::json(503, &body).into()
}
