//! The `muster` command: hands the arguments to the library and exits with what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_cli::run()
}
