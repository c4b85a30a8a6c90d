//! Sockets: TCP or TLS, lines in, lines out.

use super::message::{LINE_WITH_TAGS, Line};
use super::settings::Network;
use crate::verify::Verify;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// In a line that is longer than any may be: thrown away up to its end.
    skipping: bool,
}

impl Connection {
    pub async fn open(network: &Network) -> io::Result<Connection> {
        let tcp = TcpStream::connect((network.host.as_str(), network.port)).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &network.tls {
            None => Box::new(tcp),
            Some(verify) => {
                let name = ServerName::try_from(network.host.clone()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(Arc::new(config(verify)?)).connect(name, tcp).await?)
            }
        };
        Ok(Connection { stream, buffer: Vec::new(), skipping: false })
    }

    /// The next line. None: the other side closed. Dropping the future loses nothing.
    pub async fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if !std::mem::take(&mut self.skipping)
                    && let Some(line) = Line::parse(&line)
                {
                    return Ok(Some(line));
                }
            }
            if self.buffer.len() > LINE_WITH_TAGS {
                self.skipping = true;
                self.buffer.clear();
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub async fn write(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 2);
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    pub async fn close(mut self) {
        // It may be gone already.
        let _ = self.stream.shutdown().await;
    }
}

fn config(verify: &Verify) -> io::Result<ClientConfig> {
    // By name: several providers may be linked into one program.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    match verify {
        Verify::No => {
            let anyone = Arc::new(Anyone(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
        }
        // Certificates that cannot be read are left out; the others do.
        Verify::Yes => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Verify::Authorities(file) => {
            let wrong = |e: String| io::Error::other(format!("the authorities in {}: {e}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))? {
                let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// `verify = False`: any certificate will do, as long as the server holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
