//! Sockets: TCP or TLS, lines in, lines out.

use super::message::{LINE_WITH_TAGS, Line};
use super::settings::{Network, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
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
            Some(tls) => {
                let name = ServerName::try_from(network.host.clone()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(Arc::new(config(tls)?)).connect(name, tcp).await?)
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

fn config(tls: &Tls) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are left out; the others do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &tls.authorities {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|e| io::Error::other(format!("tls_ca: {e}")))?;
            roots.add(certificate).map_err(|e| io::Error::other(format!("tls_ca: {e}")))?;
        }
    }
    // By name: several providers may be linked into one program.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
