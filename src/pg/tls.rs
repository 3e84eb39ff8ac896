//! TLS to the server, with as much verification as the URL asks for.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::core::refusal::{Code, Refusal};

/// What of the server's certificate is verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verify {
    /// Nothing: the line is encrypted, and that is all.
    Nothing,
    /// That a trusted authority signed it.
    Chain,
    /// That, and the name in it.
    ChainAndName,
}

/// The TLS configuration for a connection; `root` is a file with certificates in PEM form.
pub(super) fn config(verify: Verify, root: Option<&str>) -> Result<ClientConfig, Refusal> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match verify {
        Verify::Nothing => Arc::new(Lenient {
            chain: None,
            provider: Arc::clone(&provider),
        }),
        Verify::Chain => Arc::new(Lenient {
            chain: Some(chain(&provider, root)?),
            provider: Arc::clone(&provider),
        }),
        Verify::ChainAndName => chain(&provider, root)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS cannot be set up"))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn chain(
    provider: &Arc<CryptoProvider>,
    root: Option<&str>,
) -> Result<Arc<WebPkiServerVerifier>, Refusal> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = root {
        let read = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|_| unusable("the file of `sslrootcert` cannot be read"))?;
        roots.add_parsable_certificates(read);
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| unusable("no root certificates were found to verify the server with"))
}

fn unusable(what: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, what).hint(
        "name a PEM file with `sslrootcert=/path` in the database URL, or choose another `sslmode`",
    )
}

/// Verifies less than everything: perhaps the chain, never the name.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last, so an error about it means that the chain is good.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
