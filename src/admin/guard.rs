//! Who may ask for what.
//!
//! On the UNIX socket everybody may do everything: the file's mode decides who can connect; but no page of another site, for
//! whose browser somebody forwards the socket to a port (`ssh -L`), under whatever name it calls that port. Over TCP it takes the token;
//! what is open without is read only, and only by who calls the server by its address: a page in a browser that had its own
//! name resolve to this machine (DNS rebinding) sends that name.

use std::net::IpAddr;

use super::{
    link::{DoorKind, Policy},
    reply::Response,
    request::Request,
    route::Access,
};

pub(super) fn admit(request: &Request, access: Access, policy: &Policy) -> Result<(), Response> {
    if is_from_another_site(request) {
        return Err(Response::problem(
            403,
            "pages of other sites may not ask this server",
            "open the page of this server itself, or use a tool that is no browser",
        ));
    }
    if request.door == DoorKind::Unix {
        return match request.origin.is_none() || is_plain_address(&request.host) {
            true => Ok(()),
            // A browser that was told a name: that may be an attacker's, made to resolve to the forwarded port.
            false => Err(not_by_address()),
        };
    }
    if has_token(request, policy) {
        return Ok(());
    }
    let is_open = match access {
        Access::Anyone => return Ok(()),
        Access::Open => true,
        Access::Read => policy.open.contains(&request.path),
        Access::Change => false,
    };
    if !is_open {
        let problem = Response::problem(
            401,
            "this needs the token",
            "send `Authorization: Bearer …` with the token of `[admin]`, or use the UNIX socket",
        );
        return Err(problem.with_field("WWW-Authenticate", "Bearer".to_owned()));
    }
    match is_plain_address(&request.host) {
        true => Ok(()),
        false => Err(not_by_address()),
    }
}

fn not_by_address() -> Response {
    Response::problem(
        403,
        "without the token the server has to be called by its address",
        "use an IP address or `localhost` in the URL, or send the token to a TCP address",
    )
}

fn has_token(request: &Request, policy: &Policy) -> bool {
    let (Some(token), Some(sent)) = (&policy.token, &request.token) else {
        return false;
    };
    token.is(sent)
}

/// A browser says so with what a page may send without being asked: a form, a script.
fn is_from_another_site(request: &Request) -> bool {
    request.origin.as_deref().is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host != Some(request.host.as_str())
    })
}

/// An IP address or `localhost`, with or without a port: nothing that an attacker's DNS could answer for.
fn is_plain_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
