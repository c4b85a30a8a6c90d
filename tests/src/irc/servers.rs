//! Real IRC servers and services on loopback: ngircd, InspIRCd, Atheme.

use crate::cluster::free_port;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for what must happen; a test that passes never waits that long.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Debian keeps servers in sbin, which is not in everybody's path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of ours: ends with this value.
pub struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it is here. If not, that is said loudly, not by a macro: what a
/// test that passes prints is not shown.
fn installed(program: &str, package: &str) -> bool {
    let here = PATH.split(':').any(|dir| Path::new(dir).join(program).is_file());
    if !here {
        let said = format!("SKIPPED, NOT TESTED: {program} is not installed (apt-get install {package})\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    here
}

fn start(mut command: Command, log: &Path) -> Running {
    let file = std::fs::File::create(log).unwrap();
    command.env("PATH", PATH).stdin(Stdio::null());
    command.stdout(file.try_clone().unwrap()).stderr(file);
    Running { child: command.spawn().unwrap() }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}

fn until(what: &str, log: &Path, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(begun.elapsed() < PATIENCE, "waited for {what}; its log:\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts by configuration file, again too.
pub struct Server {
    pub port: u16,
    pub tls_port: u16,
    /// Who signed its certificate: a file.
    pub authority: PathBuf,
    dir: TempDir,
    program: &'static str,
    links: u16,
    running: Option<Running>,
    services: Option<Running>,
}

impl Server {
    /// None, said loudly, where it is not installed. `more` goes into `[Options]` or a section of its own.
    pub fn ngircd(more: &str) -> Option<Server> {
        installed("ngircd", "ngircd").then(|| {
            let server = Server::new("ngircd");
            let port = server.port;
            // Started by root it becomes nobody after reading this. Penalties would only make tests slow.
            let config = format!(
                "[Global]\nName = irc.test\nInfo = test\nAdminEMail = a@irc.test\nListen = 127.0.0.1\nPorts = {port}\n\
                 MotdPhrase = hello\n{more}\n[Limits]\nMaxConnectionsIP = 0\nMaxNickLength = 20\nMaxPenaltyTime = 0\n\
                 [Options]\nPAM = no\nIdent = no\nDNS = no\nIncludeDir = {dir}\n\
                 [Operator]\nName = oper\nPassword = oper\n",
                dir = server.dir.path().join("none").display(),
            );
            std::fs::create_dir(server.dir.path().join("none")).unwrap();
            std::fs::write(server.config(), config).unwrap();
            server.started()
        })
    }

    /// InspIRCd. `more` is configuration.
    pub fn inspircd(more: &str) -> Option<Server> {
        installed("inspircd", "inspircd").then(|| {
            let server = Server::new("inspircd");
            certificate(server.dir.path());
            let (port, tls, links, dir) = (server.port, server.tls_port, server.links, server.dir.path().display());
            let config = format!(
                r#"<config format="xml">
<server name="irc.test" description="test" network="testnet" id="1AA">
<admin name="a" nick="a" email="a@irc.test">
<bind address="127.0.0.1" port="{port}" type="clients">
<bind address="127.0.0.1" port="{tls}" type="clients" sslprofile="tls">
<bind address="127.0.0.1" port="{links}" type="servers">
<module name="ssl_gnutls">
<sslprofile name="tls" provider="gnutls" certfile="{dir}/cert.pem" keyfile="{dir}/key.pem">
<module name="spanningtree"><module name="services_account"><module name="cap"><module name="ircv3">
<module name="sasl"><sasl target="services.test" requiressl="no">
<connect name="main" allow="*" timeout="30" pingfreq="120" hardsendq="1048576" softsendq="262144" recvq="65536"
 threshold="100" commandrate="1000000" fakelag="no" localmax="100" globalmax="100" resolvehostnames="no" useident="no">
<pid file="{dir}/inspircd.pid">
<path configdir="{dir}" datadir="{dir}" logdir="{dir}">
<link name="services.test" ipaddr="127.0.0.1" port="7000" allowmask="127.0.0.0/8" sendpass="link" recvpass="link">
<uline server="services.test" silent="yes">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="inspircd.log">
{more}
"#
            );
            std::fs::write(server.config(), config).unwrap();
            server.started()
        })
    }

    /// Atheme beside InspIRCd. False, said loudly, where it is not installed.
    pub fn with_services(mut self) -> Option<Server> {
        if !installed("atheme-services", "atheme-services") {
            return None;
        }
        let dir = self.dir.path().to_owned();
        let config = dir.join("atheme.conf");
        std::fs::write(&config, ATHEME.replace("PORT", &self.links.to_string())).unwrap();
        let mut command = Command::new("atheme-services");
        command.arg("-n").arg("-c").arg(&config).arg("-D").arg(&dir).arg("-l").arg(dir.join("atheme.log"));
        command.arg("-p").arg(dir.join("atheme.pid"));
        let log = dir.join("atheme.out");
        self.services = Some(start(command, &log));
        until("atheme to be linked", &log, || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("finished synching with uplink"))
        });
        Some(self)
    }

    fn new(program: &'static str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let (port, tls_port, links) = (free_port(), free_port(), free_port());
        let authority = dir.path().join("ca.pem");
        Server { port, tls_port, authority, dir, program, links, running: None, services: None }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join(format!("{}.conf", self.program))
    }

    fn started(mut self) -> Server {
        self.start();
        self
    }

    /// After [`Server::kill`], at the same port.
    pub fn start(&mut self) {
        let mut command = Command::new(self.program);
        match self.program {
            "ngircd" => command.arg("-n").arg("-f").arg(self.config()),
            _ => command.arg("--nofork").arg("--runasroot").arg(format!("--config={}", self.config().display())),
        };
        let log = self.dir.path().join(format!("{}.out", self.program));
        self.running = Some(start(command, &log));
        until(self.program, &log, || answers(self.port));
    }

    /// As by kill -9.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Stops it without ending it; [`Server::thaw`] goes on.
    /// It says nothing more from here on.
    pub fn freeze(&self) {
        self.signal("-STOP");
        let id = Id::Pid(Pid::from_raw(self.running.as_ref().unwrap().child.id() as i32));
        // Also if it ends instead, which is left to be waited for.
        waitid(id, WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.running.as_ref().unwrap().child.id().to_string();
        assert!(Command::new("kill").arg(name).arg(id).status().unwrap().success());
    }
}

/// An authority, and by it the server's certificate, in files.
fn certificate(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    std::fs::write(dir.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
}

const ATHEME: &str = r#"
loadmodule "modules/backend/opensex";
loadmodule "modules/crypto/posix";
loadmodule "modules/protocol/inspircd";
loadmodule "modules/nickserv/main";
loadmodule "modules/nickserv/identify";
loadmodule "modules/nickserv/register";
loadmodule "modules/saslserv/main";
loadmodule "modules/saslserv/plain";
serverinfo {
	name = "services.test";
	desc = "services";
	numeric = "00A";
	recontime = 1;
	netname = "testnet";
	hidehostsuffix = "users.test";
	adminname = "a";
	adminemail = "a@irc.test";
	registeremail = "a@irc.test";
	loglevel = { error; info; admin; network; };
	maxlogins = 50;
	maxusers = 0;
	mdlimit = 30;
	emaillimit = 10;
	emailtime = 300;
	auth = none;
	casemapping = rfc1459;
};
uplink "irc.test" {
	host = "127.0.0.1";
	password = "link";
	port = PORT;
};
nickserv {
	nick = "NickServ";
	user = "NickServ";
	host = "services.test";
	real = "Nickname Services";
};
saslserv {
	nick = "SaslServ";
	user = "SaslServ";
	host = "services.test";
	real = "SASL";
};
general {
	commit_interval = 5;
};
"#;
