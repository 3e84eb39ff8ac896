//! Software authenticators: a passkey in a browser, and a hardware key of SSH.
//!
//! They write their formats by hand (WebAuthn §6.1, PROTOCOL.u2f, PROTOCOL.sshsig), with nothing of the
//! code that they test. The unit tests of `core` use this file too.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256, Sha512};

/// Touched.
pub(crate) const PRESENT: u8 = 0x01;
/// Touched, and known by whom.
pub(crate) const VERIFIED: u8 = 0x05;

/// A passkey, and what a browser hands over from it.
pub(crate) struct Passkey {
    secret: p256::ecdsa::SigningKey,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    /// Extensions in CBOR; the flag for them is set where there are any.
    pub(crate) extensions: Vec<u8>,
}

impl Passkey {
    pub(crate) fn new(seed: u8, rp_id: &str) -> Self {
        Self {
            secret: p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap(),
            rp_id: rp_id.to_owned(),
            flags: VERIFIED,
            extensions: Vec::new(),
        }
    }

    /// 65 bytes, uncompressed.
    pub(crate) fn point(&self) -> Vec<u8> {
        let point = self.secret.verifying_key().to_encoded_point(false);
        point.as_bytes().to_vec()
    }

    /// `navigator.credentials.get`: authenticator data and the DER signature.
    pub(crate) fn get(&self, client_data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut data = self.data(0);
        data.extend_from_slice(&self.extensions);
        let mut signed = data.clone();
        signed.extend_from_slice(&Sha256::digest(client_data));
        let signature: p256::ecdsa::DerSignature = self.secret.sign(&signed);
        (data, signature.as_bytes().to_vec())
    }

    /// `navigator.credentials.create`: authenticator data with the key in COSE (RFC 9053 §7.1).
    pub(crate) fn create(&self, credential: &[u8]) -> Vec<u8> {
        let mut data = self.data(0x40);
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(&u16::try_from(credential.len()).unwrap().to_be_bytes());
        data.extend_from_slice(credential);
        let point = self.point();
        data.extend_from_slice(&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend_from_slice(&point[1..33]);
        data.extend_from_slice(&[0x22, 0x58, 0x20]);
        data.extend_from_slice(&point[33..]);
        data.extend_from_slice(&self.extensions);
        data
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        let extended = if self.extensions.is_empty() { 0 } else { 0x80 };
        data.push(self.flags | flags | extended);
        data.extend_from_slice(&7_u32.to_be_bytes());
        data
    }
}

/// Client data as browsers write them; `more` begins with a comma or is empty.
pub(crate) fn client_data(kind: &str, challenge: &[u8], origin: &str, more: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more}}}"#).into()
}

/// A hardware key of SSH.
pub(crate) enum HardwareKey {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

const APPLICATION: &[u8] = b"ssh:";

impl HardwareKey {
    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Self::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn blob(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => {
                let point = key.verifying_key().to_bytes();
                strings(&[self.name().as_bytes(), &point, APPLICATION])
            }
            Self::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let name = self.name().as_bytes();
                strings(&[name, b"nistp256", point.as_bytes(), APPLICATION])
            }
        }
    }

    /// The line of its `.pub` file.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.name(), STANDARD.encode(self.blob()))
    }

    /// An armored SSHSIG with these flags.
    pub(crate) fn sign(&self, namespace: &str, message: &[u8], flags: u8) -> String {
        let hash = Sha512::digest(message);
        let mut data = b"SSHSIG".to_vec();
        data.extend(strings(&[namespace.as_bytes(), b"", b"sha512", &hash]));
        let mut signed = Sha256::digest(APPLICATION).to_vec();
        signed.push(flags);
        signed.extend_from_slice(&9_u32.to_be_bytes());
        signed.extend_from_slice(&Sha256::digest(&data));
        let raw = match self {
            Self::Ed25519(key) => key.sign(&signed).to_bytes().to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(&signed);
                let (r, s) = signature.split_bytes();
                strings(&[&mpint(&r), &mpint(&s)])
            }
        };
        let mut signature = strings(&[self.name().as_bytes(), &raw]);
        signature.push(flags);
        signature.extend_from_slice(&9_u32.to_be_bytes());
        let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
        let parts: [&[u8]; 5] = [
            &self.blob(),
            namespace.as_bytes(),
            b"",
            b"sha512",
            &signature,
        ];
        blob.extend(strings(&parts));
        armor(&blob)
    }
}

/// Lines of 76, as the specification has them; ssh-keygen's own are shorter.
fn armor(blob: &[u8]) -> String {
    let base64 = STANDARD.encode(blob);
    let lines = base64.as_bytes().chunks(76);
    let lines: Vec<_> = lines
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n")
}

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn mpint(number: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
    if digits[0] >= 128 {
        digits.insert(0, 0);
    }
    digits
}
