//! The `secondkey` binary: the command line in, an exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A call is some thousand short-lived allocations, a good part of its time with the system's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    secondkey::cli::main()
}
