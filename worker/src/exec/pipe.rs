//! The output pipes of a command, read by the task that drives it.

use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::AsFd;
use tidemill_model::log::Channel;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::Receiver;

/// How much is read at once, and the size of the pipe of a command that writes a lot.
const READ: usize = 64 << 10;
const PIPE: i32 = 1 << 20;

/// A pipe of a command; without a reader the command is told so by its next write.
pub(super) fn receiver(pipe: std::io::Result<std::os::fd::OwnedFd>) -> Option<Receiver> {
    pipe.and_then(Receiver::from_owned_fd_unchecked)
        .inspect_err(|error| tracing::error!(%error, "cannot read the output of a command"))
        .ok()
}

/// One of the command's output pipes.
pub(super) struct Pipe<R> {
    pipe: Option<R>,
    pub channel: Channel,
    /// Its output is logged.
    pub wanted: bool,
    pub buffer: Vec<u8>,
    widened: bool,
    capture: usize,
    pub captured: Vec<u8>,
}

impl<R: AsyncRead + AsFd + Unpin> Pipe<R> {
    pub fn new(pipe: Option<R>, channel: Channel, wanted: bool, capture: usize) -> Self {
        // Small at first: most commands write little.
        Pipe { pipe, channel, wanted, buffer: vec![0; 4096], widened: false, capture, captured: Vec::new() }
    }

    pub fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    pub fn close(&mut self) {
        self.pipe = None;
    }

    pub async fn read(&mut self) -> usize {
        match &mut self.pipe {
            // An error of a pipe's reading end is as final as its end.
            Some(pipe) => pipe.read(&mut self.buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    /// Takes note of `n` bytes in the buffer; zero is the end.
    pub fn took(&mut self, n: usize) {
        if n == 0 {
            self.pipe = None;
            return;
        }
        let keep = self.capture.saturating_sub(self.captured.len()).min(n);
        self.captured.extend_from_slice(&self.buffer[..keep]);
        if n < self.buffer.len() {
            return;
        }
        if self.buffer.len() < READ {
            self.buffer.resize(READ, 0);
        } else if let Some(pipe) = self.pipe.as_ref().filter(|_| !self.widened) {
            self.widened = true;
            // Fewer switches between reader and writer; refused is fine.
            let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE));
        }
    }
}
