//! The table of routes. One line here and a handler in a file of its own make a route.

use serde_json::json;

use super::{
    config, control, events, guard, health, metrics, page,
    reply::{Reply, Response},
    request::Request,
    situation::Situation,
    stacks, status,
};

/// Where a handler is found, and who may use it.
pub(super) struct Route {
    /// `GET` answers HEAD too. What changes something is a `POST`.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// For the list of routes.
    about: &'static str,
    handler: fn(&Request, &mut Situation<'_>) -> Reply,
}

/// What a stranger needs, one who comes over TCP. On the UNIX socket there are no strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing, under whatever name they call the server: the answer tells nothing of it.
    Anyone,
    /// Nothing.
    Open,
    /// The token, unless `admin.open` names the path.
    Read,
    /// The token.
    Change,
}

#[rustfmt::skip]
const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/", access: Access::Anyone, about: "A page for browsers that shows the server live", handler: page::page },
    Route { method: "GET", path: "/healthz", access: Access::Open, about: "200 while the server is alive, else 503", handler: health::alive },
    Route { method: "GET", path: "/readyz", access: Access::Open, about: "200 while a worker takes connections, else 503", handler: health::ready },
    Route { method: "GET", path: "/status", access: Access::Read, about: "Generations, workers, requests in flight, the last reload", handler: status::status },
    Route { method: "GET", path: "/metrics", access: Access::Read, about: "Metrics for Prometheus", handler: metrics::text },
    Route { method: "GET", path: "/metrics.json", access: Access::Read, about: "The same as JSON, for live views", handler: metrics::json },
    Route { method: "GET", path: "/events", access: Access::Read, about: "The last lines of the arbiter's log; ?after=17: those with a greater number", handler: events::events },
    Route { method: "GET", path: "/config", access: Access::Read, about: "The configuration in force, where each value was set, and what the last reload changed", handler: config::config },
    Route { method: "GET", path: "/stacks", access: Access::Read, about: "?pid=812: the Python stacks of this worker now", handler: stacks::stacks },
    Route { method: "POST", path: "/reload", access: Access::Change, about: "Read the configuration and the code again; lines of JSON until it is decided", handler: control::reload },
    Route { method: "POST", path: "/scale", access: Access::Change, about: "?workers=4: so many workers, until the file changes `workers`; lines of JSON until they serve", handler: control::scale },
    Route { method: "POST", path: "/stop", access: Access::Change, about: "Finish the requests in flight and stop; ?quick does not wait for them", handler: control::stop },
    Route { method: "POST", path: "/worker/kill", access: Access::Change, about: "?pid=812: replace this worker when its requests are finished; &quick does not wait for them", handler: control::kill_worker },
    Route { method: "POST", path: "/log-level", access: Access::Change, about: "?level=debug: until the next reload", handler: control::log_level },
    Route { method: "POST", path: "/upgrade", access: Access::Change, about: "Execute the program on disk in place, as USR2 does", handler: control::upgrade },
];

/// Finds the handler, asks the guard, and answers.
pub(super) fn answer(request: &Request, situation: &mut Situation<'_>) -> Reply {
    let route = find(request, ROUTES);
    let access = route.as_ref().map_or(Access::Read, |route| route.access);
    // A stranger does not even learn what there is.
    if let Err(refusal) = guard::admit(request, access, &situation.policy) {
        return refusal.into();
    }
    match route {
        Ok(route) => (route.handler)(request, situation),
        Err(refusal) => refusal.into(),
    }
}

fn find<'r>(request: &Request, routes: &'r [Route]) -> Result<&'r Route, Response> {
    let at_path: Vec<&Route> = routes
        .iter()
        .filter(|route| route.path == request.path)
        .collect();
    let found = at_path
        .iter()
        .find(|route| route.method == request.method());
    if let Some(route) = found {
        return Ok(route);
    }
    if at_path.is_empty() {
        let listed: Vec<String> = routes
            .iter()
            .map(|route| format!("{} {}: {}", route.method, route.path, route.about))
            .collect();
        let body = json!({
            "error": "there is nothing at this path",
            "help": "ask for one of the routes",
            "routes": listed,
        });
        return Err(Response::json(404, &body));
    }
    let allowed: Vec<&str> = at_path.iter().map(|route| route.method).collect();
    let allowed = allowed.join(", ");
    let help = format!("use {allowed}");
    Err(
        Response::problem(405, "the method is not for this path", &help)
            .with_field("Allow", allowed),
    )
}
