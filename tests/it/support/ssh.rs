//! Keys as OpenSSH keeps them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;

/// A private key as OpenSSH writes one without a passphrase (PROTOCOL.key of OpenSSH).
pub(crate) fn private_file(key: &SigningKey) -> String {
    fn string(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length, bytes].concat()
    }
    let public = key.verifying_key().to_bytes();
    let blob = [string(b"ssh-ed25519"), string(&public)].concat();
    let mut secret = [[7; 4], [7; 4]].concat();
    secret.extend(&blob);
    secret.extend(string(&[key.to_bytes(), public].concat()));
    secret.extend(string(b"test"));
    let mut pad = 1;
    while !secret.len().is_multiple_of(8) {
        secret.push(pad);
        pad += 1;
    }
    let whole = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        vec![0, 0, 0, 1],
        string(&blob),
        string(&secret),
    ];
    let text = BASE64_STANDARD.encode(whole.concat());
    let mut lines = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(70) {
        lines += std::str::from_utf8(line).unwrap();
        lines.push('\n');
    }
    lines + "-----END OPENSSH PRIVATE KEY-----\n"
}
