//! What a command says: answers to standard output, complaints to standard error. Nothing here
//! panics when the reader has gone away, as `println!` would.

use std::io::{self, Write as _};

/// Writes an answer to standard output, whole or not at all as far as this process can tell.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes a complaint to standard error. When even that is closed, nobody is left to tell.
pub fn complain(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "{text}");
}
