//! The commands that talk to a running server over its admin interface: what they have in common. How each asks and what it
//! shows is in its own file.

mod client;
mod connection;
mod events;
mod level;
mod reload;
mod scale;
mod stacks;
mod status;
mod stop;
mod text;
mod top;
mod upgrade;
mod wait;
mod worker;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{
    FAILED, OK,
    command::{DEFAULT_FILE, file},
    find_server::find_server,
};
use crate::arbiter::running::{self, Running};
use client::{AskError, Reply, Socket};
use text::safe_lines;

/// No server could be asked: none runs, or it has no admin interface, or it is not ours to ask.
const NO_SERVER: u8 = 4;
/// It did not answer, or was not done, in time. It may still do what it was told.
const NO_ANSWER: u8 = 5;

/// One command: its grammar and what it does.
struct Entry {
    name: &'static str,
    grammar: fn(Command) -> Command,
    run: fn(&Typed<'_>) -> Result<u8, Failure>,
}

#[rustfmt::skip]
const COMMANDS: &[Entry] = &[
    Entry { name: "status", grammar: status::grammar, run: status::run },
    Entry { name: "top", grammar: top::grammar, run: top::run },
    Entry { name: "events", grammar: events::grammar, run: events::run },
    Entry { name: "reload", grammar: reload::grammar, run: reload::run },
    Entry { name: "scale", grammar: scale::grammar, run: scale::run },
    Entry { name: "stop", grammar: stop::grammar, run: stop::run },
    Entry { name: "worker", grammar: worker::grammar, run: worker::run },
    Entry { name: "log-level", grammar: level::grammar, run: level::run },
    Entry { name: "stacks", grammar: stacks::grammar, run: stacks::run },
    Entry { name: "upgrade", grammar: upgrade::grammar, run: upgrade::run },
];

pub(super) fn commands() -> impl Iterator<Item = Command> {
    COMMANDS
        .iter()
        .map(|entry| (entry.grammar)(Command::new(entry.name)))
}

/// Does what was typed; `None` when it is not one of these commands.
pub(super) fn run(before: &ArgMatches) -> Option<u8> {
    let (name, after) = before.subcommand()?;
    let entry = COMMANDS.iter().find(|entry| entry.name == name)?;
    // `rgunicorn worker kill` has its arguments one level deeper.
    let innermost = after.subcommand().map_or(after, |(_, inner)| inner);
    let typed = Typed {
        levels: [before, innermost],
    };
    Some((entry.run)(&typed).unwrap_or_else(|failure| failure.tell()))
}

/// Which server, and how the answer is shown.
fn server_arguments() -> [Arg; 4] {
    [
        file(),
        Arg::new("pid")
            .long("pid")
            .value_name("PID")
            .value_parser(value_parser!(u32))
            .help("The server, where several have the same file or it has none"),
        Arg::new("socket")
            .long("socket")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("The server's admin socket, in place of looking for it"),
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print what the server says, as JSON"),
    ]
}

/// What was typed, before the command and after it.
struct Typed<'m> {
    levels: [&'m ArgMatches; 2],
}

/// Why it did not work, ready to print, and the exit code.
struct Failure {
    told: String,
    code: u8,
}

impl Failure {
    fn new(code: u8, told: impl Into<String>) -> Self {
        let told = told.into();
        Self { told, code }
    }

    fn tell(&self) -> u8 {
        // Whoever closed the pipe does not want to know.
        let _ = writeln!(io::stderr(), "error: {}", safe_lines(&self.told));
        self.code
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let code = match error {
            AskError::Connect { .. } => NO_SERVER,
            AskError::Late | AskError::Stopped(_) => NO_ANSWER,
            AskError::Broken(_) => FAILED,
        };
        Self::new(code, error.to_string())
    }
}

impl Typed<'_> {
    fn matches(&self) -> &ArgMatches {
        self.levels[1]
    }

    fn is_json(&self) -> bool {
        self.matches().get_flag("json")
    }

    /// Where the server is asked.
    fn socket(&self) -> Result<Socket, Failure> {
        if let Some(path) = self.matches().get_one::<PathBuf>("socket") {
            return Ok(Socket::at(path));
        }
        let running = self.server()?;
        match &running.admin {
            Some(path) => Ok(Socket::of(running.pid, path)),
            None => Err(Failure::new(
                NO_SERVER,
                format!(
                    "the server with pid {} has no admin socket\n  = help: see `admin.socket` in its configuration, and its error log",
                    running.pid
                ),
            )),
        }
    }

    fn server(&self) -> Result<Running, Failure> {
        let pid = self.matches().get_one::<u32>("pid").copied();
        let named = self.levels.iter().rev();
        let named = named
            .copied()
            .find_map(|matches| matches.get_one::<PathBuf>("config"));
        if let (Some(pid), None) = (pid, named) {
            let help = "run this as the server's user or as root, in its container if it has one";
            return running::of_pid(pid).ok_or_else(|| {
                Failure::new(
                    NO_SERVER,
                    format!("pid {pid} is not a server, or it is not yours to look into\n  = help: {help}"),
                )
            });
        }
        let path = named.map_or(Path::new(DEFAULT_FILE), PathBuf::as_path);
        find_server(path, pid).map_err(|told| Failure::new(NO_SERVER, told))
    }

    /// Asks how things are, and fails unless the answer is a success.
    fn look(&self, path: &str) -> Result<Value, Failure> {
        succeeded(self.socket()?.look(path)?)
    }

    /// Prints the answer to an order: its sentence, or all of it as JSON.
    fn order(&self, path: &str) -> Result<u8, Failure> {
        let answer = succeeded(self.socket()?.order(path)?)?;
        let done = answer["done"].as_str().unwrap_or_default();
        self.show(&answer, done);
        Ok(OK)
    }

    /// On standard output: JSON on one line if that was asked for, else the text, in which clients and the app may have had a say.
    fn show(&self, answer: &Value, text: &str) {
        let text = safe_lines(text);
        // Whoever closed the pipe does not want to know.
        let _ = if self.is_json() {
            writeln!(io::stdout(), "{answer}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}

fn succeeded(reply: Reply) -> Result<Value, Failure> {
    if reply.status < 300 {
        return Ok(reply.body);
    }
    let error = reply.body["error"].as_str().unwrap_or("the server refused");
    let help = reply.body["help"].as_str().unwrap_or_default();
    let code = if reply.status == 504 {
        NO_ANSWER
    } else {
        FAILED
    };
    let told = match help {
        "" => error.to_owned(),
        help => format!("{error}\n  = help: {help}"),
    };
    Err(Failure::new(code, told))
}
