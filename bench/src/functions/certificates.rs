//! A chain of certificates like AWS's: RSA with 2048 bits, with one intermediate between the root and the server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RsaKeySize,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Where systems keep the certificates that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A server's certificate, with what it takes to trust it.
pub(crate) struct Certificates {
    root: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Files of root certificates.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// All that this machine trusts, and this root: a function has to read the others too, as on Lambda.
    pub(crate) all: PathBuf,
    /// This root alone, for what brings the others along in itself.
    pub(crate) own: PathBuf,
}

impl Certificates {
    /// New ones, for `localhost`.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let root = CertifiedIssuer::self_signed(authority("Example Root")?, key()?)?;
        let intermediate = CertifiedIssuer::signed_by(authority("Example Intermediate")?, key()?, &root)?;
        let server_key = key()?;
        let mut server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let server = server.signed_by(&server_key, &intermediate)?;
        Ok(Self {
            root: root.pem(),
            chain: vec![server.der().clone(), intermediate.der().clone()],
            key: PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
        })
    }

    /// Writes what a function shall trust.
    pub(crate) fn write_roots(&self, folder: &Path) -> anyhow::Result<Roots> {
        let bundle = BUNDLES.iter().map(Path::new).find(|bundle| bundle.is_file());
        let bundle =
            bundle.with_context(|| format!("this machine has no root certificates in {}", BUNDLES.join(", ")))?;
        let trusted =
            std::fs::read_to_string(bundle).with_context(|| format!("failed to read {}", bundle.display()))?;
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
            anyhow::Ok(file)
        };
        Ok(Roots {
            all: write("roots.pem", &format!("{}\n{}", trusted.trim_end(), self.root))?,
            own: write("root.pem", &self.root)?,
        })
    }

    /// Accepts connections with them.
    pub(crate) fn acceptor(self) -> anyhow::Result<TlsAcceptor> {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).context("failed to make a key")
}

fn authority(name: &str) -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}
