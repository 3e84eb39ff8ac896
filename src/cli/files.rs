//! Files that a person names: read whole, if they are files and of a size that makes sense.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a file of at most `most` bytes. A pipe or a device is refused before it is opened: one would
/// be waited for, and another never ends.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let found = std::fs::metadata(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            io::Error::new(error.kind(), "there is no such file")
        } else {
            error
        }
    })?;
    if !found.is_file() {
        return Err(wrong("it is not a file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= most) {
        Ok(bytes)
    } else {
        Err(wrong(&format!("it is longer than {most} bytes")))
    }
}

/// Like [`read`], for text in UTF-8.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
    String::from_utf8(read(path, most)?).map_err(wrong)
}
