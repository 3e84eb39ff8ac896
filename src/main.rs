//! The `secondkey` binary: the command line in, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    secondkey::cli::main()
}
