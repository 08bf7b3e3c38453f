//! `rgunicorn man`: the manual page, made from the grammar that `--help` shows.

use std::io::{self, Write};

use clap::{Arg, Command};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{FAILED, OK, command::command};

pub(super) fn man() -> u8 {
    match write(&mut io::stdout()) {
        Ok(()) => OK,
        Err(_) => FAILED,
    }
}

/// The page in roff(7), for `man -l`.
fn write(page: &mut dyn Write) -> io::Result<()> {
    let mut command = command();
    command.build();
    // The first help hides most flags; this command's has them all.
    let serving = command.find_subcommand("run").cloned().unwrap_or_default();
    let about = command.get_about().cloned().unwrap_or_default();
    let serving = serving.name("rgunicorn").display_name("rgunicorn");
    let man = Man::new(serving.bin_name("rgunicorn").about(about))
        .title("rgunicorn")
        .section("1")
        .manual("rgunicorn")
        .source(concat!("rgunicorn ", env!("CARGO_PKG_VERSION")));
    man.render_title(page)?;
    man.render_name_section(page)?;
    section(
        "SYNOPSIS",
        &["rgunicorn [OPTIONS] [APP]", "rgunicorn COMMAND [OPTIONS]"],
    )
    .to_writer(page)?;
    man.render_description_section(page)?;
    commands(&command).to_writer(page)?;
    man.render_options_section(page)?;
    for (heading, paragraphs) in MORE {
        section(heading, paragraphs).to_writer(page)?;
    }
    Ok(())
}

/// One paragraph for each command, with its own flags.
fn commands(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in subcommands(command) {
        describe(&mut roff, command.get_name(), command);
    }
    roff
}

/// `name` is what to type: of a command below another, both names.
fn describe(roff: &mut Roff, name: &str, command: &Command) {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(format!("{about}."))]);
    for argument in own_arguments(command) {
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        roff.control("RS", []);
        roff.control("TP", []);
        roff.text([bold(argument.to_string())]);
        roff.text([roman(help)]);
        roff.control("RE", []);
    }
    for below in subcommands(command) {
        describe(roff, &format!("{name} {}", below.get_name()), below);
    }
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
}

/// Those that are not under OPTIONS already.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let has_shared = command
        .get_arguments()
        .any(|argument| argument.get_id() == "bind");
    let shared = if has_shared {
        super::flags::names()
    } else {
        Vec::new()
    };
    command.get_arguments().filter(move |argument| {
        let name = argument.get_id().as_str();
        let is_known = matches!(name, "config" | "help") || shared.iter().any(|flag| flag == name);
        !is_known && !argument.is_hide_set()
    })
}

fn section(heading: &str, paragraphs: &[&str]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for paragraph in paragraphs {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    roff
}

const MORE: &[(&str, &[&str])] = &[
    (
        "SIGNALS",
        &[
            "TERM: finish what is in flight, within timeouts.graceful, and end.",
            "INT, QUIT: end now.",
            "HUP: read the file again and replace all workers by new ones with new code.",
            "TTIN, TTOU: one worker more, one fewer.",
            "USR1: reopen the log files.",
            "USR2: become the program that is installed now, with the same workers and sockets.",
        ],
    ),
    (
        "EXIT STATUS",
        &[
            "0: stopped as told; nothing to say.",
            "1: the configuration is wrong, an address is taken, a check found something.",
            "2: the command line is wrong; with `plan`: saving the file would change something.",
            "3: the app did not boot.",
            "4: the app's attribute is missing or cannot be called; of a command for a running server: there is none.",
            "5: of such a command: no answer in time.",
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            "RGUNICORN_KEY sets a key of the file: RGUNICORN_WORKERS, RGUNICORN_TIMEOUTS_KEEPALIVE.",
            "WEB_CONCURRENCY and FORWARDED_ALLOW_IPS count more than the file, less than RGUNICORN_KEY.",
            "PORT counts where nothing else names an address.",
            "RGUNICORN_ADMIN_TOKEN: the token of the admin address, which keeps it out of the file.",
            "SCRIPT_NAME: the prefix under which a WSGI app is mounted, such as /app.",
            "TMPDIR: where large request bodies wait; XDG_RUNTIME_DIR: where the admin socket is.",
        ],
    ),
    (
        "FILES",
        &[
            "rgunicorn.toml in the current directory, unless -c names another.",
            "The admin socket, named after the process id: in $XDG_RUNTIME_DIR, else in /run/rgunicorn, else below the temporary \
            directory, unless admin.socket says otherwise. The log tells it, and the commands find it.",
        ],
    ),
];
