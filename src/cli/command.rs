//! The grammar of the command line.

use clap::{Arg, ArgAction, Command, value_parser};

use super::{admin, flags, plan};
use crate::arbiter::upgrade::CHECK_FLAG;

/// Looked for in the current directory where no `--config` is given.
pub(super) const DEFAULT_FILE: &str = "rgunicorn.toml";

const EXAMPLES: &str = "\
Examples:
  rgunicorn                                    what ./rgunicorn.toml says
  rgunicorn -c /etc/mysite/rgunicorn.toml      what that file says
  rgunicorn mysite.wsgi -b 0.0.0.0:8000 -w 4   without a file
  rgunicorn check                              show all that is wrong, serve nothing
  rgunicorn plan new.toml                      what saving this as ./rgunicorn.toml would do
  rgunicorn status                             how the server of ./rgunicorn.toml is
  rgunicorn reload                             take up new code, and tell how it went

Every key of the file can be set by the environment too: RGUNICORN_WORKERS, RGUNICORN_TIMEOUTS_KEEPALIVE.
An app whose module is called like a command is written with its attribute: `check:application`.";

pub(super) fn command() -> Command {
    Command::new("rgunicorn")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(EXAMPLES)
        .args(configuration())
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .short_alias('V')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        )
        .arg(
            Arg::new(CHECK_FLAG)
                .long(CHECK_FLAG)
                .action(ArgAction::SetTrue)
                .hide(true),
        )
        .disable_help_subcommand(true)
        .subcommand(Command::new("run").about("Serve; what happens without a command").args(configuration()))
        .subcommand(
            Command::new("check")
                .about("Check the configuration, show all that is wrong, and exit with 1 if anything is")
                .args(configuration()),
        )
        .subcommand(
            Command::new("plan")
                .about("Tell what saving the file would do to the running server: exit with 0 for nothing, 2 for something, 1 if it is wrong")
                .after_help(plan::EXIT_CODES)
                .arg(file())
                .args(plan::arguments()),
        )
        .subcommands(admin::commands())
        .subcommand(Command::new("schema").about("Print the JSON schema of rgunicorn.toml, for editors"))
}

fn configuration() -> Vec<Arg> {
    [file()].into_iter().chain(flags::arguments()).collect()
}

pub(super) fn file() -> Arg {
    Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(std::path::PathBuf))
        .help("The configuration; `rgunicorn.toml` in the current directory is found by itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn an_app_called_like_a_command_is_reached_by_its_attribute() {
        let matches = command()
            .try_get_matches_from(["rgunicorn", "check:application"])
            .unwrap();
        assert_eq!(matches.subcommand_name(), None);
        let matches = command()
            .try_get_matches_from(["rgunicorn", "check", "app", "-w", "2"])
            .unwrap();
        assert_eq!(matches.subcommand_name(), Some("check"));
    }

    #[test]
    fn a_command_is_one_after_flags_too() {
        let matches = command()
            .try_get_matches_from(["rgunicorn", "-c", "x.toml", "check"])
            .unwrap();
        assert_eq!(matches.subcommand_name(), Some("check"));
    }
}
