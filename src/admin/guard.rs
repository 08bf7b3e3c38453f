//! Who may ask for what.
//!
//! On the UNIX socket everybody may do everything: the file's mode decides who can connect. Over TCP it takes the token; what is
//! open without is read only. Whoever sends no token has to call the server by its address, or by a name without a dot: a page in
//! a browser that had its own name resolve to this machine (DNS rebinding) sends that name, and reaches the UNIX socket, too,
//! where somebody forwards it to a port (`ssh -L`).

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
        return by_address(request);
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
    by_address(request)
}

/// Nothing that an attacker's DNS could answer for: an IP address, a name without a dot (`localhost`, that of a container, whatever
/// one types with `curl --unix-socket`), or no host at all, which only tools leave out.
fn by_address(request: &Request) -> Result<(), Response> {
    match is_local(&request.host) {
        true => Ok(()),
        false => Err(Response::problem(
            403,
            "without the token the server has to be called by its address",
            "use an IP address or a name without a dot in the URL, or send the token to a TCP address",
        )),
    }
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

/// With or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    !name.contains('.') || name.parse::<IpAddr>().is_ok()
}
