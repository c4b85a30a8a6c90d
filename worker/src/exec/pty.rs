//! A pseudo terminal for a command that wants one (SH-09).
//!
//! It is the command's standard input and output, but not its controlling
//! terminal: signals come from the worker, as for every other command.

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use tokio::net::unix::pipe::Receiver;

pub(super) struct Terminal {
    ours: OwnedFd,
    theirs: File,
}

impl Terminal {
    pub fn open() -> io::Result<Terminal> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname_r(&master)?;
        let flags = OFlag::O_NOCTTY.bits();
        let theirs = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name)?;
        // Lines end as in a log, not as on a screen.
        let mut settings = tcgetattr(&theirs)?;
        settings.output_flags.remove(OutputFlags::ONLCR);
        tcsetattr(&theirs, SetArg::TCSANOW, &settings)?;
        let ours = master.as_fd().try_clone_to_owned()?;
        Ok(Terminal { ours, theirs })
    }

    /// The command's side.
    pub fn side(&self) -> io::Result<Stdio> {
        Ok(self.theirs.try_clone()?.into())
    }

    /// Our side. It ends when the last process has closed the other one.
    pub fn into_reader(self) -> io::Result<Receiver> {
        Receiver::from_owned_fd_unchecked(self.ours)
    }
}
