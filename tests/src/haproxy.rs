//! A real HAProxy before any number of masters.

use crate::process::{Process, installed};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

pub struct HaProxy {
    pub address: SocketAddr,
    process: Process,
}

impl HaProxy {
    /// Balances over these addresses, dead or alive. None, said loudly, where
    /// HAProxy is not installed.
    pub fn start(dir: &Path, masters: &[SocketAddr]) -> Option<HaProxy> {
        if !installed("haproxy") {
            // Not by a macro: what a test that passes prints is not shown.
            let said = b"SKIPPED, NOT TESTED: haproxy is not installed (apt-get install haproxy)\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said);
            return None;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], crate::cluster::free_port()));
        let servers: String = masters
            .iter()
            .enumerate()
            .map(|(i, m)| format!("    server m{i} {m} check inter 200ms fall 1 rise 1\n"))
            .collect();
        let config = format!(
            "defaults\n    mode http\n    timeout connect 1s\n    timeout client 90s\n    timeout server 90s\n    \
             option redispatch\n    retries 2\nfrontend f\n    bind {address}\n    default_backend b\n\
             backend b\n    balance roundrobin\n    option httpchk GET /livez\n{servers}"
        );
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, config).expect("the test's folder is writable");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let process = Process::start("haproxy", command, &dir.join("haproxy.log"));
        Some(HaProxy { address, process })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn output(&self) -> String {
        self.process.output()
    }
}
