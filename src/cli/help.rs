//! What `--help` shows: the commands by what they are for, the everyday flags, examples. One screen; `rgunicorn run --help` has all
//! flags.

use clap::{Arg, Command};

/// Headings, and the commands under each. Every command that can be seen is in here once.
const GROUPS: &[(&str, &[&str])] = &[
    ("Serve", &["run"]),
    ("The file", &["init", "migrate", "check", "plan", "schema"]),
    (
        "A running server",
        &[
            "status",
            "top",
            "events",
            "reload",
            "scale",
            "stop",
            "worker",
            "log-level",
            "stacks",
            "upgrade",
        ],
    ),
    ("The shell", &["completions", "man"]),
];

/// Flags that are shown without being asked for, in a few words. The others are under `rgunicorn run --help`.
const EVERYDAY: &[(&str, &str)] = &[
    (
        "app",
        "`module`, `module:attribute` or `module:factory('argument')`",
    ),
    ("config", "The configuration [default: ./rgunicorn.toml]"),
    (
        "bind",
        "Where to listen, as often as wanted [default: 127.0.0.1:8000]",
    ),
    (
        "workers",
        "Worker processes [default: auto, by the processors]",
    ),
    (
        "worker-class",
        "sync, gthread, asgi, gevent or eventlet [default: auto]",
    ),
    ("threads", "Threads of each worker [default: 1]"),
    ("reload", "Roll in new code when a Python file changes"),
    ("env", "A variable of the environment for the app"),
    ("set", "Any key of the file, such as `timeouts.request=30s`"),
];

const EXAMPLES: &str = "\
Examples:
  rgunicorn                                    what ./rgunicorn.toml says
  rgunicorn -c /etc/mysite/rgunicorn.toml      what that file says
  rgunicorn mysite.wsgi -b 0.0.0.0:8000 -w 4   without a file, as with Gunicorn

Every key of the file can be set by the environment too: RGUNICORN_WORKERS, RGUNICORN_TIMEOUTS_KEEPALIVE.
An app whose module is called like a command is written with its attribute: `check:application`.";

/// Hides a flag from the first help, or shortens it: with all there is to say, it would be longer than a screen.
pub(super) fn everyday_only(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    let everyday = EVERYDAY.iter().find(|(name, _)| *name == id);
    let argument = argument.help_heading(None::<&str>);
    match everyday {
        Some((_, help)) => argument.help(*help),
        None => argument.hide(true),
    }
}

/// Gives the command its help. All commands are in it by then.
pub(super) fn compose(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n\
         Usage: rgunicorn [OPTIONS] [APP]\n       rgunicorn COMMAND [--help]\n\n\
         {}{{options}}\n      …                       all others: `rgunicorn run --help`{{after-help}}",
        groups(&command)
    );
    command.after_help(EXAMPLES).help_template(template)
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        text.push_str(&format!("{heading}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            // What else there is to say is in the command's own help.
            let about = about.split(": ").next().unwrap_or_default();
            text.push_str(&format!("  {name:<12} {about}\n"));
        }
        text.push('\n');
    }
    text.push_str("Options:\n");
    text
}

#[cfg(test)]
mod tests {
    use crate::cli::command::command;

    use super::*;

    /// A terminal of the usual height and a little more.
    const LINES_MAX: usize = 56;

    #[test]
    fn every_command_is_in_one_group_and_in_no_other() {
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let command = command();
        let seen = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let mut names: Vec<&str> = seen.map(Command::get_name).collect();
        let mut sorted = grouped.clone();
        sorted.sort_unstable();
        names.sort_unstable();
        assert_eq!(sorted, names);
    }

    #[test]
    fn the_first_help_fits_a_screen_and_runs_own_has_every_flag() {
        let help = command().term_width(100).render_help().to_string();
        assert!(help.lines().count() <= LINES_MAX, "{help}");
        let mut command = command();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        for argument in run
            .get_arguments()
            .filter_map(|argument| argument.get_long())
        {
            assert!(help.contains(&format!("--{argument}")), "{argument}");
        }
    }
}
