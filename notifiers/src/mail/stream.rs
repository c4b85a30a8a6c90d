//! Connections to relays. All are sent without delay: the end of a mail is a
//! small packet, which would wait for the answer to the one before.

use futures_util::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Says hello over a connection; over TLS from the start if `tls` is given.
pub async fn greet(tcp: TcpStream, tls: Option<TlsParameters>, hello: &ClientId) -> Result<AsyncSmtpConnection, Error> {
    let Some(tls) = tls else {
        return AsyncSmtpConnection::connect_with_transport(Box::new(tcp), hello).await;
    };
    let peer = tcp.peer_addr();
    // The one way to TLS over a connection of our own making; lettre keeps it
    // under a deprecation of its name only.
    #[allow(deprecated)]
    let mut stream = lettre::transport::smtp::client::AsyncNetworkStream::use_existing_tokio1(Box::new(tcp));
    stream.upgrade_tls(tls).await?;
    AsyncSmtpConnection::connect_with_transport(Box::new(Wrapped { stream, peer }), hello).await
}

/// A TLS connection of lettre's as one of tokio's.
#[derive(Debug)]
struct Wrapped<S> {
    stream: S,
    peer: io::Result<SocketAddr>,
}

impl<S: FuturesRead + FuturesWrite + std::fmt::Debug + Send + Sync + Unpin> AsyncTokioStream for Wrapped<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.peer {
            Ok(peer) => Ok(*peer),
            Err(e) => Err(e.kind().into()),
        }
    }
}

impl<S: FuturesRead + Unpin> AsyncRead for Wrapped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: FuturesWrite + Unpin> AsyncWrite for Wrapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
