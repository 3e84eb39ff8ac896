//! How relays of one store know each other: TLS 1.3 with raw public keys (RFC 7250), the same one at both ends. Each
//! proves by its signature over the handshake that it holds the private half, which comes from `keys/cluster.key`.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use crate::core::refusal::{Code, Refusal};
use crate::core::work::Digest;

/// What is spoken inside.
const HTTP2: &[u8] = b"h2";

/// A relay as the others of its store know it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    #[cfg(test)]
    key: CertificateDer<'static>,
}

impl Identity {
    /// Whoever has this secret.
    pub(super) fn of(secret: &[u8; 32]) -> Result<Self, Refusal> {
        made(secret).map_err(|why| {
            let sentence = format!("the relays of this store cannot know each other: {why}");
            Refusal::new(Code::Internal, sentence)
        })
    }
}

fn made(secret: &[u8; 32]) -> Result<Identity, String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let seed = Digest::of(&[b"secondkey cluster identity\n", secret]);
    let key = SigningKey::from_bytes(seed.as_bytes());
    let key = key.to_pkcs8_der().map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| said(&error))?;
    let public = key.public_key().ok_or("the key has no public half")?;
    let public = CertificateDer::from(public.to_vec());
    let same = Arc::new(Same {
        key: public.clone(),
        provider: Arc::clone(&provider),
    });
    let certified = Arc::new(CertifiedKey::new(vec![public.clone()], key));
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| said(&error))?
        .with_client_cert_verifier(Arc::clone(&same) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            Arc::clone(&certified),
        )));
    server.alpn_protocols = vec![HTTP2.to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| said(&error))?
        .dangerous()
        .with_custom_certificate_verifier(same)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    client.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Identity {
        server: Arc::new(server),
        client: Arc::new(client),
        #[cfg(test)]
        key: public,
    })
}

/// Takes whoever proves to hold this key, and nobody else.
#[derive(Debug)]
struct Same {
    key: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Same {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if *shown == self.key {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn signed(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn no_older() -> Error {
    Error::General("nothing older than TLS 1.3 is spoken here".to_owned())
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Same {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// Whether both ends take each other.
    async fn meet(server: &Identity, client: &Identity) -> (bool, bool) {
        let (one, other) = duplex(16 * 1024);
        let accepting = TlsAcceptor::from(Arc::clone(&server.server)).accept(one);
        let connecting = TlsConnector::from(Arc::clone(&client.client))
            .connect(ServerName::try_from("relay").unwrap(), other);
        let (accepted, connected) = tokio::join!(accepting, connecting);
        (accepted.is_ok(), connected.is_ok())
    }

    #[tokio::test]
    async fn only_those_with_the_same_secret_meet() {
        let [ours, again] = [
            Identity::of(&[1; 32]).unwrap(),
            Identity::of(&[1; 32]).unwrap(),
        ];
        let theirs = Identity::of(&[2; 32]).unwrap();
        assert_eq!(meet(&ours, &again).await, (true, true));
        assert_eq!(meet(&ours, &theirs).await, (false, false));
        // Whoever shows nothing is not taken either.
        let stranger =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Same {
                    key: ours.key.clone(),
                    provider: Arc::new(rustls::crypto::ring::default_provider()),
                }))
                .with_no_client_auth();
        let stranger = Identity {
            client: Arc::new(stranger),
            ..ours.clone()
        };
        assert!(!meet(&ours, &stranger).await.0);
    }
}
