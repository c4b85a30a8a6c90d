//! What proves that a forge sent a delivery: a MAC over the body as it came, a
//! token of its own, or HTTP basic authentication. All compared in constant time.

use axum::http::{HeaderMap, header};
use base64::Engine;
use ring::hmac;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidemill_lang::definition::{HookDef, HookDialect};

/// How a dialect proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// HMAC-SHA256 of the body in hexadecimal, after `sha256=` or bare.
    Signature(&'static [&'static str]),
    /// The same in a header that the project names.
    SignatureIn(String),
    /// The secret itself.
    Token(String),
    /// By its own means it cannot.
    None,
}

pub fn of(hook: &HookDef) -> Proof {
    match hook.dialect {
        HookDialect::Github => Proof::Signature(&["x-hub-signature-256"]),
        HookDialect::Gitea => Proof::Signature(&["x-gitea-signature", "x-forgejo-signature", "x-hub-signature-256"]),
        HookDialect::Bitbucket | HookDialect::BitbucketServer => Proof::Signature(&["x-hub-signature"]),
        HookDialect::Gitlab => Proof::Token("x-gitlab-token".into()),
        HookDialect::Custom => match (&hook.token_header, &hook.signature_header) {
            (Some(name), _) => Proof::Token(name.clone()),
            (None, Some(name)) => Proof::SignatureIn(name.clone()),
            (None, None) => Proof::None,
        },
        HookDialect::Base | HookDialect::Gerrit | HookDialect::Poller => Proof::None,
    }
}

/// Why it proves nothing.
pub fn check(proof: &Proof, secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let (name, given) = given(proof, headers)?;
    match proof {
        Proof::Token(_) => {
            same(given, secret).then_some(()).ok_or_else(|| format!("the header {name} has another token"))
        }
        _ => signed(name, given, secret, body),
    }
}

/// The header that is to prove it, and what it says. The error is of one that
/// lacks it, whatever the body is.
pub fn given<'p>(proof: &'p Proof, headers: &'p HeaderMap) -> Result<(&'p str, &'p str), String> {
    let one = |name: &'p str| Some((name, value(headers, name)?));
    let (found, name) = match proof {
        Proof::None => return Err("this dialect has no signature".into()),
        Proof::Token(name) | Proof::SignatureIn(name) => (one(name), name.as_str()),
        Proof::Signature(names) => (names.iter().find_map(|name| one(name)), names[0]),
    };
    found.ok_or_else(|| format!("the header {name} is missing"))
}

/// A header that is there once: of two, each proxy could take another.
fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

fn signed(name: &str, given: &str, secret: &str, body: &[u8]) -> Result<(), String> {
    let hex = match given.split_once('=') {
        Some(("sha256", hex)) => hex,
        Some((other, _)) => return Err(format!("the header {name} is of {other}; only sha256 is good enough")),
        None => given,
    };
    let mac = hex::decode(hex).map_err(|_| format!("the header {name} is no signature in hexadecimal"))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    // Compares in constant time.
    hmac::verify(&key, body, &mac).map_err(|_| format!("the header {name} is not the signature of this body"))
}

/// Name and password of a request.
pub fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, coded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(coded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Whether two texts are the same, in a time that tells neither where they
/// differ nor how long they are.
pub fn same(a: &str, b: &str) -> bool {
    let digest = |t: &str| Sha256::digest(t.as_bytes());
    digest(a).ct_eq(&digest(b)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        pairs.iter().for_each(|(k, v)| {
            map.append(*k, v.parse().unwrap());
        });
        map
    }

    /// From RFC 4231, case 2.
    const KEY: &str = "Jefe";
    const BODY: &[u8] = b"what do ya want for nothing?";
    const MAC: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const HUB: Proof = Proof::Signature(&["x-hub-signature-256"]);

    #[test]
    fn the_right_signature_of_the_whole_body_is_good_and_no_other_is() {
        let with = |value: &str| headers(&[("x-hub-signature-256", value)]);
        assert_eq!(check(&HUB, KEY, &with(&format!("sha256={MAC}")), BODY), Ok(()));
        assert_eq!(check(&HUB, KEY, &with(MAC), BODY), Ok(()));
        let flipped = format!("sha256=4{}", &MAC[1..]);
        for (bad, body) in [
            (flipped.as_str(), BODY),
            (&MAC[..62], BODY),
            (&format!("{MAC}00"), BODY),
            ("", BODY),
            ("sha256=", BODY),
            ("sha256=zz", BODY),
            (&format!("sha1={MAC}"), BODY),
            (MAC, &BODY[..10]),
            (MAC, b"".as_slice()),
        ] {
            assert!(check(&HUB, KEY, &with(bad), body).is_err(), "{bad}");
        }
        assert!(check(&HUB, "jefe", &with(MAC), BODY).is_err());
        assert!(check(&HUB, KEY, &HeaderMap::new(), BODY).unwrap_err().contains("missing"));
        let twice = headers(&[("x-hub-signature-256", MAC), ("x-hub-signature-256", "00")]);
        assert!(check(&HUB, KEY, &twice, BODY).is_err(), "of two none is taken");
    }

    #[test]
    fn a_token_is_the_same_or_it_is_not() {
        let token = Proof::Token("x-gitlab-token".into());
        let with = |value: &str| headers(&[("x-gitlab-token", value)]);
        assert_eq!(check(&token, "geheim", &with("geheim"), b""), Ok(()));
        for bad in ["", "gehei", "geheim2", "GEHEIM"] {
            assert!(check(&token, "geheim", &with(bad), b"").is_err(), "{bad}");
        }
        assert!(check(&token, "geheim", &HeaderMap::new(), b"").is_err());
    }

    #[test]
    fn a_name_and_a_password_are_read_where_there_are_some() {
        let with = |value: &str| basic(&headers(&[("authorization", value)]));
        assert_eq!(with("Basic Zm9yZ2U6cGE6c3M="), Some(("forge".into(), "pa:ss".into())));
        for bad in ["Basic", "Basic !!", "Basic Zm9yZ2U=", "Bearer Zm9yZ2U6cGFzcw==", "Basic //79OnB3"] {
            assert_eq!(with(bad), None, "{bad}");
        }
    }
}
