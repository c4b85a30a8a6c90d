//! Relays with TLS and a password: aiosmtpd over Python's OpenSSL.

use super::{Sink, mail, settings};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tidemill_notifiers::mail::{Relay, RelaySettings, RelayTls};
use tidemill_notifiers::{Outcome, Verify};

pub fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().expect("the program starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An authority, and a certificate for `localhost` by it.
pub fn certificates(folder: &Path) {
    let openssl = |arguments: &[&str]| run("openssl", arguments, folder);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority =
        ["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2"];
    openssl(&[&authority[..], &key[..]].concat());
    let request = ["req", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost"];
    openssl(&[&request[..], &key[..]].concat());
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ]);
    std::fs::set_permissions(folder.join("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
}

/// One that proves itself as `localhost` by the authority of this folder, and knows `ci`.
pub fn proving(folder: &Path, port: u16, tls: RelayTls) -> RelaySettings {
    RelaySettings {
        tls,
        credentials: Some(("ci".into(), "geheim".into())),
        verify: Verify::Authorities(folder.join("ca.pem")),
        host: "localhost".into(),
        ..settings(port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_tls_and_a_password_takes_mail_by_starttls_and_by_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificates(folder);
    let at = folder.to_str().unwrap();
    let (Some(starttls), Some(smtps)) = (Sink::with(&["starttls", at]), Sink::with(&["smtps", at])) else { return };
    let send = async |settings: RelaySettings| {
        let relay = Relay::new(settings).unwrap();
        let outcome = relay.send(&mail("ann@example.org")).await;
        relay.close().await;
        outcome
    };
    let ways = [
        (starttls.port, RelayTls::Required),
        (starttls.port, RelayTls::Opportunistic),
        (smtps.port, RelayTls::Wrapped),
    ];
    for (port, tls) in ways {
        let outcome = send(proving(folder, port, tls)).await;
        assert!(matches!(&outcome, Outcome::Sent { answer } if answer.starts_with("250 ")), "{tls:?}: {outcome:?}");
    }
    for (port, tls) in ways {
        let mut wrong = proving(folder, port, tls);
        wrong.credentials = Some(("ci".into(), "falsch".into()));
        let outcome = send(wrong).await;
        assert!(
            matches!(&outcome, Outcome::Down { why } if why.contains("535") && why.contains("check the user")),
            "{outcome:?}"
        );

        let mut stranger = proving(folder, port, tls);
        stranger.verify = Verify::Yes;
        let outcome = send(stranger).await;
        assert!(matches!(&outcome, Outcome::Down { why } if why.contains("certificate")), "{tls:?}: {outcome:?}");

        let mut other = proving(folder, port, tls);
        other.host = "127.0.0.1".into();
        let outcome = send(other).await;
        assert!(matches!(&outcome, Outcome::Down { why } if why.contains("certificate")), "{tls:?}: {outcome:?}");

        let mut anybody = proving(folder, port, tls);
        anybody.verify = Verify::No;
        assert!(matches!(send(anybody).await, Outcome::Sent { .. }), "{tls:?}");
    }
    let mut nobody = proving(folder, starttls.port, RelayTls::Required);
    nobody.credentials = None;
    let outcome = send(nobody).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("wants TLS or a user")), "{outcome:?}");
    let mut bare = proving(folder, starttls.port, RelayTls::None);
    bare.credentials = None;
    let outcome = send(bare).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("530")), "{outcome:?}");
    assert_eq!((starttls.wait_for(4).await.len(), smtps.wait_for(2).await.len()), (4, 2));
    let missing = RelaySettings {
        verify: Verify::Authorities("/nowhere/ca.pem".into()),
        ..proving(folder, 25, RelayTls::Wrapped)
    };
    assert!(Relay::new(missing).err().unwrap().contains("/nowhere/ca.pem"));
}
