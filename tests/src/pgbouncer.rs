//! A real PgBouncer before a test's Postgres.

use crate::Cluster;
use crate::process::{Process, installed};
use crate::wait::{holds, wait_until};
use nix::unistd::{Uid, User};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

pub struct PgBouncer {
    port: u16,
    pub process: Process,
}

impl PgBouncer {
    /// In this mode: `session`, `transaction` or `statement`. None, said loudly, where it is not installed.
    pub async fn start(t: &Cluster, mode: &str) -> Option<PgBouncer> {
        if !installed("pgbouncer") {
            let said = b"SKIPPED, NOT TESTED: pgbouncer is not installed (apt-get install pgbouncer)\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said);
            return None;
        }
        let port = crate::cluster::free_port();
        let socket = socket_folder(t.postgres.url());
        let users = t.dir().join("pgbouncer.users");
        std::fs::write(&users, "\"tidemill\" \"\"\n").expect("the test's folder is writable");
        // Nothing but what it needs to run: as somebody installs it.
        let config = format!(
            "[databases]\ntidemill = host={socket} dbname=tidemill user=tidemill\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 300\ndefault_pool_size = 100\n",
            users.display()
        );
        let file = t.dir().join(format!("pgbouncer-{mode}.ini"));
        std::fs::write(&file, config).expect("the test's folder is writable");
        let mut command = Command::new("pgbouncer");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if Uid::effective().is_root() {
            // It refuses root; whose the socket is may use it.
            let owner = std::fs::metadata(&socket).expect("the socket's folder is there").uid();
            let user = User::from_uid(Uid::from_raw(owner)).ok().flatten().expect("Postgres runs as somebody");
            command.args(["-u", &user.name]);
        }
        command.arg(&file);
        let process = Process::start("pgbouncer", command, &t.dir().join(format!("pgbouncer-{mode}.log")));
        let this = PgBouncer { port, process };
        wait_until("PgBouncer to listen", || async {
            let there = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            holds(there.is_ok(), this.process.output())
        })
        .await;
        Some(this)
    }

    /// The database's address through it.
    pub fn url(&self) -> String {
        format!("postgres://tidemill@127.0.0.1:{}/tidemill", self.port)
    }
}

/// Where the test's Postgres listens.
fn socket_folder(url: &str) -> String {
    let (_, host) = url.split_once("host=").expect("the address names its socket's folder");
    url::Url::parse(&format!("http://x/?host={host}"))
        .expect("it is part of an address")
        .query_pairs()
        .find(|(name, _)| name == "host")
        .expect("it was written so")
        .1
        .into_owned()
}
