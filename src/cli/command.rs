//! The grammar of the command line.

use std::path::Path;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

use super::{admin, completions, flags, help, init, migrate, plan};
use crate::arbiter::upgrade::CHECK_FLAG;

/// Looked for in the current directory where no `--config` is given.
pub(super) const DEFAULT_FILE: &str = "rgunicorn.toml";
/// Written beside the configuration, under the name that its first line has.
pub(super) const SCHEMA_FILE: &str = "rgunicorn.schema.json";
/// Of `check`: boot the app, too.
pub(super) const BOOT_FLAG: &str = "app-boot";

/// All that can be typed.
pub(super) fn command() -> Command {
    let command = Command::new("rgunicorn")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .args(configuration().into_iter().map(help::everyday_only))
        .disable_version_flag(true)
        // Of a flag that is given twice the last one counts, as Gunicorn's users know it.
        .args_override_self(true)
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
        .subcommands(subcommands())
        .subcommands(admin::commands());
    help::compose(command)
}

fn subcommands() -> [Command; 8] {
    [
        Command::new("run").about("Serve; what happens without a command").args(configuration()),
        Command::new("init").about("Write a starter rgunicorn.toml after a look at the project").args(init::arguments()),
        Command::new("migrate").about("Make an rgunicorn.toml from what Gunicorn is run with").args(migrate::arguments()),
        Command::new("check")
            .about("Show all that is wrong with the file and the app; exit with 1 if anything is")
            .args(configuration())
            .arg(
                Arg::new(BOOT_FLAG)
                    .long("app")
                    .action(ArgAction::SetTrue)
                    .help("Boot a worker, too: lifespan, health check and hooks, up to its being ready; it serves nothing"),
            ),
        Command::new("plan")
            .about("Tell what saving the file would do to the running server")
            .after_help(plan::EXIT_CODES)
            .arg(file())
            .args(plan::arguments()),
        Command::new("schema").about("Print the JSON schema of rgunicorn.toml, for editors"),
        Command::new("completions").about("Print the completions for a shell").args(completions::arguments()),
        Command::new("man").about("Print the man page"),
    ]
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
        .value_hint(ValueHint::FilePath)
        .help("The configuration; `rgunicorn.toml` in the current directory is found by itself")
}

/// What names this file in a command that is shown: nothing where it is found by itself.
pub(super) fn file_flag(path: &Path) -> String {
    match path == Path::new(DEFAULT_FILE) {
        true => String::new(),
        false => format!(" -c {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    /// Lines after a prompt, and codes that begin with the program's name.
    fn typed_on_a_page(page: &str) -> Vec<Vec<String>> {
        let prompts = page
            .lines()
            .filter_map(|line| line.trim().strip_prefix("$ "));
        let codes = page.split('`').skip(1).step_by(2);
        let typed = prompts
            .chain(codes)
            .filter(|code| code.starts_with("rgunicorn "));
        // Placeholders (`[APP]`, `COMMAND`) stand for what is not known here.
        let is_placeholder =
            |word: &String| word.chars().all(|c| c.is_uppercase() || "[]".contains(c));
        typed
            .filter_map(|code| shlex::split(code.split(['>', '|', '&', '#']).next()?))
            .map(|words| {
                words
                    .into_iter()
                    .filter(|word| !is_placeholder(word))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn what_the_pages_tell_people_to_type_is_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let docs = std::fs::read_dir(root.join("docs")).unwrap();
        let pages = docs
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "md"));
        let mut count = 0;
        for page in pages.chain([root.join("README.md")]) {
            let text = std::fs::read_to_string(&page).unwrap();
            for words in typed_on_a_page(&text) {
                let Err(error) = command().try_get_matches_from(&words) else {
                    count += 1;
                    continue;
                };
                let lacks_a_value = matches!(
                    error.kind(),
                    ErrorKind::InvalidValue | ErrorKind::MissingRequiredArgument
                );
                assert!(
                    !error.use_stderr() || lacks_a_value,
                    "{}: {words:?}: {error}",
                    page.display()
                );
            }
        }
        assert!(count > 30, "{count}");
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
