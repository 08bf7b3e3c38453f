//! The binary: what was typed becomes an exit code.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    rgunicorn::cli::main(env::args_os()).into()
}
