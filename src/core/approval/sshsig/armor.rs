//! The text around an SSHSIG blob (PROTOCOL.sshsig of OpenSSH, "Armored format").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{LONGEST_BLOB, SshSigError};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "\n-----END SSH SIGNATURE-----";
/// Characters in a line: ssh-keygen writes 70.
const WIDTH: usize = 70;
/// The specification's own width.
const WIDEST: usize = 76;

/// Wraps a blob as ssh-keygen does; ends in a newline.
pub(super) fn wrap(blob: &[u8]) -> String {
    let mut text = BEGIN.to_owned();
    let base64 = BASE64.encode(blob);
    for (at, character) in base64.chars().enumerate() {
        if at > 0 && at.is_multiple_of(WIDTH) {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// Unwraps a blob. Lines may have any one width up to 76; nothing may stand before or after.
pub(super) fn unwrap(text: &str) -> Result<Vec<u8>, SshSigError> {
    if text.len() > LONGEST_BLOB * 3 / 2 {
        return Err(SshSigError::TooLong);
    }
    let body = text.strip_prefix(BEGIN).ok_or(SshSigError::Armor)?;
    let body = body.strip_suffix('\n').unwrap_or(body);
    let body = body.strip_suffix(END).ok_or(SshSigError::Armor)?;
    let width = body.split('\n').next().map_or(0, str::len);
    let mut base64 = String::with_capacity(body.len());
    let mut lines = body.split('\n').peekable();
    while let Some(line) = lines.next() {
        let full = lines.peek().is_some();
        let fits = if full {
            line.len() == width
        } else {
            line.len() <= width
        };
        if !fits || line.is_empty() || width > WIDEST {
            return Err(SshSigError::Armor);
        }
        base64.push_str(line);
    }
    let blob = BASE64.decode(base64).map_err(|_| SshSigError::Base64)?;
    if blob.len() > LONGEST_BLOB {
        return Err(SshSigError::TooLong);
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_surrounds_a_signature_is_exact() {
        let good = wrap(&[7; 100]);
        assert_eq!(unwrap(&good), Ok(vec![7; 100]));
        assert_eq!(unwrap(good.trim_end()), Ok(vec![7; 100]));
        for bad in [
            format!(" {good}"),
            format!("{good}\n"),
            good.replace('\n', "\r\n"),
            good.replace("Bwc", "Bw c"),
            good.replace("\n-----END", "\n\n-----END"),
            good.replace("END SSH", "END PGP"),
        ] {
            assert!(unwrap(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn blobs_survive_being_wrapped(blob in proptest::collection::vec(any::<u8>(), 1..400)) {
            prop_assert_eq!(unwrap(&wrap(&blob)), Ok(blob));
        }
    }
}
