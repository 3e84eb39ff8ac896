//! What a command says: answers to standard output, complaints to standard error. Nothing here
//! panics when the reader has gone away, as `println!` would.

use std::io::{self, Write as _};

/// Writes an answer to standard output. A reader that has gone away has read enough.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.trim_end().as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a complaint to standard error. When even that is closed, nobody is left to tell.
pub fn complain(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "{text}");
}
