//! Links that prove who may follow them, without a row for each.

use ring::hmac;

/// Bytes of a proof that are shown.
const SHOWN: usize = 20;

/// The proof that a link to leave `reporter` was made for `address` by who knows the key.
pub fn proof(key: &str, address: &str, reporter: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let said = format!("unsubscribe\0{}\0{address}{reporter}", address.len());
    hex::encode(&hmac::sign(&key, said.as_bytes()).as_ref()[..SHOWN])
}

#[cfg(test)]
mod tests {
    use super::proof;

    #[test]
    fn a_proof_is_for_one_address_and_one_reporter() {
        let made = proof("key", "ann@example.org", "mail");
        assert_eq!(made, proof("key", "ann@example.org", "mail"));
        for (key, address, reporter) in [
            ("other", "ann@example.org", "mail"),
            ("key", "bob@example.org", "mail"),
            ("key", "ann@example.orgm", "ail"),
        ] {
            assert_ne!(made, proof(key, address, reporter));
        }
    }
}
