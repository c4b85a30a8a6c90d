//! OpenLDAP's slapd with three people below `dc=example,dc=org`.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Knows ann and bob by `uid`, and cid, who has no mailbox; gone when it is dropped.
pub struct Slapd {
    process: Child,
    pub url: String,
    _folder: tempfile::TempDir,
}

impl Slapd {
    /// None, said loudly, where it is not installed.
    pub fn start(port: u16) -> Option<Slapd> {
        if !Slapd::there() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder of the test's own");
        let at = folder.path().display();
        std::fs::create_dir(folder.path().join("db")).expect("a folder of the test's own");
        let config = folder.path().join("slapd.conf");
        std::fs::write(
            &config,
            format!(
                "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
                 include /etc/ldap/schema/inetorgperson.schema\npidfile {at}/pid\n\
                 database ldif\nsuffix \"dc=example,dc=org\"\nrootdn \"cn=admin,dc=example,dc=org\"\n\
                 rootpw geheim\ndirectory {at}/db\n"
            ),
        )
        .expect("a folder of the test's own");
        let person = |uid: &str, mail: &str| {
            format!(
                "dn: uid={uid},dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: Lee\n{mail}\n\n"
            )
        };
        let people = [
            "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n".to_owned(),
            person("ann", "mail: ann@example.org\nmail: ann2@example.org"),
            person("bob", "mail: bob@example.org"),
            person("cid", "telephoneNumber: 1"),
        ];
        let data = folder.path().join("people.ldif");
        std::fs::write(&data, people.concat()).expect("a folder of the test's own");
        let added = Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(&config)
            .arg("-l")
            .arg(&data)
            .output()
            .expect("a folder of the test's own");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let url = format!("ldap://127.0.0.1:{port}");
        let process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &url, "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "slapd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Slapd { process, url, _folder: folder })
    }

    /// Whether it is installed; says so if not.
    pub fn there() -> bool {
        let there = Path::new("/usr/sbin/slapd").exists();
        if !there {
            let said = "SKIPPED, NOT TESTED: slapd is not installed (apt-get install slapd)\n";
            let _ = std::io::stderr().write_all(said.as_bytes());
        }
        there
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
