//! A TCP proxy that can cut, refuse, stall and delay, for one address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// New connections are closed at once, and old ones were cut.
    Refuse,
    /// Connections stay open and carry nothing, either way.
    Stall,
    /// Requests pass, answers do not: what a lost reply looks like.
    SwallowAnswers,
}

pub struct Proxy {
    pub address: SocketAddr,
    fault: watch::Sender<Fault>,
    /// Raised to cut all connections.
    cuts: watch::Sender<u64>,
    delay_us: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (fault, fault_rx) = watch::channel(Fault::None);
        let (cuts, cut_rx) = watch::channel(0);
        let delay_us = Arc::new(AtomicU64::new(0));
        let delay = delay_us.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *fault_rx.borrow() == Fault::Refuse {
                    continue;
                }
                tokio::spawn(connection(client, target, fault_rx.clone(), cut_rx.clone(), delay.clone()));
            }
        });
        Proxy { address, fault, cuts, delay_us, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
        if fault == Fault::Refuse {
            self.cut();
        }
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// Delays each piece of data, both ways.
    pub fn delay(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    mut cut: watch::Receiver<u64>,
    delay: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    cut.mark_unchanged();
    tokio::select! {
        _ = pump(&mut client_in, &mut server_out, fault.clone(), false, delay.clone()) => {}
        _ = pump(&mut server_in, &mut client_out, fault, true, delay) => {}
        _ = cut.changed() => {}
    }
}

/// Carries bytes one way until the end.
async fn pump(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    answers: bool,
    delay: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        let us = delay.load(Ordering::Relaxed);
        if us > 0 {
            tokio::time::sleep(Duration::from_micros(us)).await;
        }
        if answers && *fault.borrow() == Fault::SwallowAnswers {
            continue;
        }
        if fault.wait_for(|f| *f != Fault::Stall).await.is_err() || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
