//! OpenSMTPD as the relay, passing mails on to the sink.
//! Its queue and its socket have fixed places, so one runs at a time, as root.

use super::tls::{certificates, proving, run};
use super::{Sink, mail, parsed, settings, skipped};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tidemill_notifiers::Outcome;
use tidemill_notifiers::mail::{Relay, RelayTls};
use tidemill_tests::cluster::free_port;

struct Smtpd {
    process: Child,
    plain: u16,
    starttls: u16,
    folder: tempfile::TempDir,
    _alone: File,
}

impl Smtpd {
    fn start(next: u16) -> Option<Smtpd> {
        if !Path::new("/usr/sbin/smtpd").exists() {
            skipped("OpenSMTPD is not installed (apt-get install opensmtpd)");
            return None;
        }
        if !nix::unistd::Uid::effective().is_root() {
            skipped("OpenSMTPD starts as root only");
            return None;
        }
        let lock = std::env::temp_dir().join("tidemill-tests-opensmtpd.lock");
        let alone = OpenOptions::new().create(true).append(true).open(lock).unwrap();
        alone.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let hash = run("openssl", &["passwd", "-6", "geheim"], folder.path());
        let (plain, starttls) = (free_port(), free_port());
        let config = folder.path().join("smtpd.conf");
        let at = folder.path().display();
        let text = format!(
            "pki test cert \"{at}/cert.pem\"\npki test key \"{at}/key.pem\"\n\
             table creds {{ \"ci\" = \"{hash}\" }}\n\
             listen on 127.0.0.1 port {plain}\n\
             listen on 127.0.0.1 port {starttls} tls-require pki test auth <creds>\n\
             action \"on\" relay host \"smtp://127.0.0.1:{next}\"\n\
             match from any for domain \"example.org\" action \"on\"\n\
             match from any for any reject\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("/usr/sbin/smtpd")
            .args(["-d", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("smtpd starts");
        let mut smtpd = Smtpd { process, plain, starttls, folder, _alone: alone };
        let started = Instant::now();
        while !greets(plain) {
            let said = || std::fs::read_to_string(smtpd.folder.path().join("log")).unwrap_or_default();
            if let Some(status) = smtpd.process.try_wait().unwrap() {
                panic!("smtpd ended with {status}: {}", said());
            }
            assert!(started.elapsed() < Duration::from_secs(60), "smtpd does not answer: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(smtpd)
    }

    /// Whether its TLS works at all: that of 6.8 does not with OpenSSL 3.
    fn speaks_tls(&self) -> bool {
        let connected = Command::new("openssl")
            .args(["s_client", "-starttls", "smtp", "-quiet", "-connect", &format!("127.0.0.1:{}", self.starttls)])
            .stdin(Stdio::null())
            .output();
        connected.is_ok_and(|c| c.status.success())
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Whether a relay says hello there.
fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("220 ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_passes_mail_on_changes_nothing_in_it_and_says_whom_it_does_not_know() {
    let Some(sink) = Sink::start() else { return };
    let Some(smtpd) = Smtpd::start(sink.port) else { return };
    let relay = Relay::new(settings(smtpd.plain)).unwrap();
    for i in 0..5 {
        let outcome = relay.send(&mail(&format!("r{i}@example.org"))).await;
        assert!(matches!(&outcome, Outcome::Sent { answer } if answer.starts_with("250 2.0.0 ")), "{outcome:?}");
        let outcome = relay.send(&mail("ann@elsewhere.example")).await;
        assert!(matches!(&outcome, Outcome::Refused { why } if why.contains("550 ")), "{outcome:?}");
    }
    relay.close().await;
    for kept in sink.wait_for(5).await {
        let seen = parsed(&kept.mail);
        assert_eq!(seen["defects"], serde_json::json!([]), "{seen}");
        assert_eq!(seen["parts"][0]["content"], "t\n", "{seen}");
    }
    if !smtpd.speaks_tls() {
        skipped("this OpenSMTPD cannot do TLS with its OpenSSL; TLS is tested with aiosmtpd alone");
        return;
    }
    let relay = Relay::new(proving(smtpd.folder.path(), smtpd.starttls, RelayTls::Required)).unwrap();
    let outcome = relay.send(&mail("tls@example.org")).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    sink.wait_for(6).await;
}
