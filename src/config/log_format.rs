//! Templates of the access log: Gunicorn's atoms, checked before anything runs. Who fills them in is `telemetry`.

/// The atoms of one letter; headers and environ variables are named in braces.
const ATOMS: &str = "hlutrmUqHsbBfaTMDLp";
/// Of ours: the request's id, and the other end of the socket, where `h` is the client.
const OWN: [&str; 2] = ["request_id", "peer"];

/// What is wrong with each `%` in the template.
pub(super) fn faults(template: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        match rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            Some((atom, after)) if after.starts_with('s') => {
                rest = &after[1..];
                if !is_atom(atom) {
                    faults.push(format!("`%({atom})s` is not an atom of the access log"));
                }
            }
            Some((atom, after)) => {
                rest = after;
                faults.push(format!("the atom `%({atom})` lacks its final `s`"));
            }
            None => faults.push(
                "a `%` in the access log's format must begin an atom `%(…)s`, or be doubled: `%%`"
                    .to_owned(),
            ),
        }
    }
    faults
}

fn is_atom(atom: &str) -> bool {
    let named = atom
        .strip_prefix('{')
        .and_then(|inner| inner.split_once('}'));
    match named {
        Some((name, kind)) => !name.is_empty() && matches!(kind, "i" | "o" | "e"),
        None => OWN.contains(&atom) || (atom.len() == 1 && ATOMS.contains(atom)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gunicorns_default_and_named_atoms_pass() {
        let gunicorn = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;
        assert_eq!(faults(gunicorn), Vec::<String>::new());
        assert_eq!(
            faults("%({x-request-id}i)s 100%% %(L)s %(peer)s"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_fault_is_named() {
        assert_eq!(
            faults("%(x)s %(h) %h %({}i)s"),
            [
                "`%(x)s` is not an atom of the access log",
                "the atom `%(h)` lacks its final `s`",
                "a `%` in the access log's format must begin an atom `%(…)s`, or be doubled: `%%`",
                "`%({}i)s` is not an atom of the access log",
            ]
        );
    }
}
