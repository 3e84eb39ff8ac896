//! Reading a signature must not crash; what is read is written the same; and nothing that no key of
//! ours made may hold. The first byte picks the armored form or the blob.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secondkey::core::approval::sshsig::{PublicKey, SshSig, signed_data};
use secondkey::core::approval::webauthn::ClientData;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let sig = match first % 4 {
        0 => SshSig::parse(&text).ok(),
        1 => SshSig::from_blob(rest).ok(),
        2 => {
            if let Ok(key) = text.parse::<PublicKey>() {
                assert_eq!(key.to_string().parse(), Ok(key));
            }
            None
        }
        _ => {
            let _ = ClientData::read(rest);
            None
        }
    };
    let Some(sig) = sig else { return };
    assert_eq!(SshSig::from_blob(&sig.to_blob()).as_ref(), Ok(&sig));
    assert_eq!(SshSig::parse(&sig.armored()).as_ref(), Ok(&sig));
    if sig.client().is_none() {
        // A fuzzer does not find a signature over a message that it has not seen.
        assert!(!sig.is_over(&signed_data("approval@secondkey.dev", b"never signed")));
    }
});
