//! OpenLDAP's slapd as the directory.

use std::time::Duration;
use tidemill_notifiers::mail::ldap::Directory;
use tidemill_tests::slapd::Slapd;

#[tokio::test]
async fn a_directory_knows_people_by_name_and_no_name_is_a_filter() {
    let Some(slapd) = Slapd::start(tidemill_tests::cluster::free_port()) else { return };
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
