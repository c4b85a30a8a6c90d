//! OpenLDAP's slapd as the directory.

use super::skipped;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tidemill_notifiers::mail::ldap::Directory;

struct Slapd {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Slapd {
    fn start() -> Option<Slapd> {
        if !Path::new("/usr/sbin/slapd").exists() {
            skipped("slapd is not installed (apt-get install slapd)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        std::fs::create_dir(folder.path().join("db")).unwrap();
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
        .unwrap();
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
        std::fs::write(&data, people.concat()).unwrap();
        let added = Command::new("/usr/sbin/slapadd").arg("-f").arg(&config).arg("-l").arg(&data).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("ldap://127.0.0.1:{port}");
        let process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &url, "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "slapd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Slapd { process, url, _folder: folder })
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_directory_knows_people_by_name_and_no_name_is_a_filter() {
    let Some(slapd) = Slapd::start() else { return };
    let directory = Directory {
        url: slapd.url.clone(),
        bind: Some(("cn=admin,dc=example,dc=org".into(), "geheim".into())),
        base: "dc=example,dc=org".into(),
        filter: "(uid=%s)".into(),
        attribute: "Mail".into(),
        within: Duration::from_secs(30),
    };
    let names = ["ann", "bob", "cid", "nobody", "*", "x)(uid=ann", "b\u{0}b", "ann\r\n", ""].map(str::to_owned);
    let found = directory.addresses(&names).await.unwrap();
    for name in &names {
        let known = match name.as_str() {
            "ann" => Some("ann@example.org"),
            "bob" => Some("bob@example.org"),
            _ => None,
        };
        assert_eq!(found[name].as_deref(), known, "{name:?}");
    }
    // Of several nobody is the one.
    let all = Directory { filter: "(|(sn=Lee)(uid=%s))".into(), ..directory.clone() };
    assert_eq!(all.addresses(&names[..1]).await.unwrap()["ann"], None);
    let anonymous = Directory { bind: None, ..directory.clone() };
    assert_eq!(anonymous.addresses(&names[..1]).await.unwrap()["ann"].as_deref(), Some("ann@example.org"));

    let wrong = Directory { bind: Some(("cn=admin,dc=example,dc=org".into(), "falsch".into())), ..directory.clone() };
    let why = wrong.addresses(&names).await.unwrap_err();
    assert!(why.contains("does not let") && !why.contains("falsch"), "{why}");
    for broken in [
        Directory { base: "dc=elsewhere".into(), ..directory.clone() },
        Directory { filter: "(uid=ann)".into(), ..directory.clone() },
        Directory { filter: "(((%s".into(), ..directory.clone() },
        Directory { url: "file:///etc/passwd".into(), ..directory.clone() },
        Directory { url: "ldap://127.0.0.1:1".into(), ..directory.clone() },
        Directory { url: slapd.url.replace("ldap:", "ldaps:"), ..directory },
    ] {
        assert!(broken.addresses(&names).await.unwrap_err().contains("the directory"), "{broken:?}");
    }
}
