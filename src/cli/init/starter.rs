//! The text of a starter file. Every line of it is either needed or explained.

use std::path::Path;

use super::project::{App, Project};
use crate::cli::command::SCHEMA_FILE;

pub(super) fn text(project: &Project, app: &App) -> String {
    let mut text = format!(
        "#:schema {SCHEMA_FILE}\n\
         # What this file says, the server does: save a change while it runs, and it becomes so, without a lost request. A mistake\n\
         # changes nothing; the log shows it. The first line tells editors where the keys are described.\n\n"
    );
    match app.file.as_str() {
        "" => text.push_str("# A module, or module:attribute.\n"),
        file => text.push_str(&format!(
            "# {} in {file}.\n",
            app.framework.unwrap_or("Found")
        )),
    }
    text.push_str(&line("app", &app.name));
    if app.name.ends_with("()") {
        text.push_str("# A factory: literals may stand between its parentheses.\n");
    }
    if !app.chdir.is_empty() {
        text.push_str("\n# Where the app is imported from. All other paths start there.\n");
        text.push_str(&line("chdir", &app.chdir));
    }
    if let Some(python) = &project.python {
        let python = from_home(python, &app.chdir);
        text.push_str("\n# The interpreter that has the app's packages. It, too, can be changed while the server runs.\n");
        text.push_str(&line("python", &python));
    }
    text.push_str(NETWORK);
    text.push_str(if app.is_asgi { ASGI } else { WSGI });
    text.push_str(REST);
    text
}

/// A path from the project's directory as one from the app's.
fn from_home(path: &str, home: &str) -> String {
    match Path::new(path).strip_prefix(home) {
        Ok(below) => below.display().to_string(),
        Err(_) => format!(
            "{}{path}",
            "../".repeat(Path::new(home).components().count())
        ),
    }
}

fn line(key: &str, value: &str) -> String {
    format!("{key} = {}\n", toml::Value::from(value))
}

const NETWORK: &str = "
# For this machine alone, with a reverse proxy before it. In a container: \"0.0.0.0:8000\". Left out, the variable PORT counts,
# by which platforms (Heroku, Render, Cloud Run) say where to listen.
# bind = \"127.0.0.1:8000\"
";

const WSGI: &str = "
# As many processes as the processors (or the container's share of them) call for.
workers = \"auto\"

# Calls of the app side by side in each worker. More pay where the app waits for a database or for others; it has to be
# thread-safe then.
threads = 1
";

const ASGI: &str = "
# One process serves any number of requests at once, in an event loop. More (\"auto\": by the processors) are for apps that
# compute; what an app keeps in memory, such as WebSockets, they do not share.
workers = 1
";

const REST: &str = "
# Import the app once, before the workers are forked: they share its memory. Not for an app that opens connections or starts
# threads at import.
# preload = true

# Environment variables for the app; values in quotes.
[env]
# SITE_MODE = \"production\"

[timeouts]
# Answer 504 for a call of the app that takes longer; off unless set.
# request = \"30s\"
# What requests in flight may take when a worker leaves.
graceful = \"30s\"

[limits]
# The largest request body.
body = \"100MiB\"

[log]
# \"combined\", \"json\", or a template of Gunicorn's.
format = \"combined\"

[reload]
# In development: take new code up when a file is saved. In production a deployment sends HUP when it is complete.
# code = \"**/*.py\"
# A request that each new worker has to answer before it takes a connection.
# health_check = \"/healthz\"

[proxy]
# Who is believed about the client behind a proxy. A UNIX socket's peer always is.
forwarded_allow_ips = [\"127.0.0.1\", \"::1\"]
";
