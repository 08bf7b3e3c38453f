//! `/stacks`: what the Python code of a worker is at, now.

use serde_json::json;

use super::{
    link::{Answer, Order},
    reply::{Reply, Response, Then},
    request::Request,
    situation::Situation,
};

/// `GET /stacks?pid=812`: the worker is interrupted for as long as it takes to write its stacks.
pub(super) fn stacks(request: &Request, _: &mut Situation<'_>) -> Reply {
    let Some(Ok(pid)) = request.query.get("pid").map(str::parse::<u32>) else {
        let what = "`pid` must be the process id of a worker";
        return Response::problem(400, what, "such as `GET /stacks?pid=812`").into();
    };
    let order = Order::Stacks { pid };
    let then: Then = Box::new(move |answer, _| match answer {
        Answer::Done(stacks) => {
            Response::json(200, &json!({ "pid": pid, "stacks": stacks })).into()
        }
        Answer::Refused(why) => {
            Response::problem(409, &why, "look at `rgunicorn status`, or /status").into()
        }
        Answer::Reload(_) | Answer::Scale(_) => {
            Response::problem(500, "the answer is for another order", "").into()
        }
    });
    Reply::Later { order, then }
}
