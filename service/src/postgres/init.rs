//! Making a cluster. All of it happens in a folder with another name, and a
//! rename ends it, so that a crash on the way leaves nothing that looks whole.

use super::{Binaries, DATABASE, Error, Identity, USER};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Runs initdb into `data`, which must not exist. `durable` writes through to
/// the disk. With `database`, the cluster has our empty database from the
/// start (`postgres --single` needs no client program).
pub(super) fn initdb(
    binaries: &Binaries,
    identity: &Identity,
    data: &Path,
    durable: bool,
    database: bool,
) -> Result<(), Error> {
    let parent = data.parent().expect("a data folder lies in its cluster's folder");
    let failed = |detail: String| Error::Initdb { path: data.to_owned(), detail };
    let mut command = identity.command(&binaries.program("initdb"));
    command.current_dir(parent).arg("-D").arg(data);
    command.args(["-U", USER, "-E", "UTF8", "--locale=C", "-A", "trust"]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = command.stdin(Stdio::null()).output().map_err(Error::io("run", binaries.program("initdb")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    if !database {
        return Ok(());
    }
    let mut single = identity.command(&binaries.program("postgres"));
    single.current_dir(parent).args(["--single", "-D"]).arg(data).args(["-c", "log_min_messages=error"]);
    if !durable {
        single.args(["-c", "fsync=off"]);
    }
    single.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = single.spawn().map_err(Error::io("run", binaries.program("postgres")))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A server that ended early closes the pipe; its own words below say why.
    let _ = stdin.write_all(format!("create database {DATABASE}\n").as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(Error::io("run", binaries.program("postgres")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // In single mode an SQL error does not change the exit code.
    match output.status.success() && !said.contains("ERROR:") {
        true => Ok(()),
        false => Err(failed(format!("creating the database: {}", said.trim()))),
    }
}
