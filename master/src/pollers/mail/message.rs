//! A mail as commit mails need it: who, when, and the first text of its body,
//! decoded.

use mail_parser::MessageParser;
use time::OffsetDateTime;

#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// The sender's address.
    pub from: String,
    pub subject: String,
    pub date: Option<OffsetDateTime>,
    pub id: Option<String>,
    /// Launchpad's name of the branch, as its header says it.
    pub launchpad_branch: Option<String>,
    pub body: String,
}

impl Mail {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Mail, String> {
        let message = MessageParser::default().parse(bytes).ok_or("it is no mail: it has no headers")?;
        let from = message.from().and_then(|a| a.first()).and_then(|a| a.address()).unwrap_or_default().to_owned();
        if from.is_empty() {
            return Err("it names no sender in `From`".into());
        }
        let date = message.date().filter(|d| d.is_valid()).map(mail_parser::DateTime::to_timestamp);
        let header = |name: &'static str| message.header(name).and_then(|h| h.as_text()).map(str::to_owned);
        Ok(Mail {
            from,
            subject: message.subject().unwrap_or_default().to_owned(),
            date: date.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()),
            id: message.message_id().filter(|id| !id.is_empty()).map(str::to_owned),
            launchpad_branch: header("X-Launchpad-Branch"),
            body: message.body_text(0).ok_or("it has no text")?.into_owned(),
        })
    }

    /// The sender on his own machine: what comes before the `@`.
    pub fn sender(&self) -> String {
        match self.from.split_once('@') {
            Some((local, _)) if !local.is_empty() => local.to_owned(),
            _ => self.from.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_of_parts_and_encodings_is_its_first_text() {
        let mail = b"From: =?utf-8?q?Ad=C3=A1?= <ada@example.org>\r\nSubject: =?utf-8?b?w6Q=?=\r\n\
            Date: Fri, 15 May 2009 10:35:43 +0200\r\nMessage-ID: <1@x>\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            caf=E9 =\r\nand more\r\n--b\r\nContent-Type: text/x-diff\r\nContent-Transfer-Encoding: base64\r\n\r\nLS0t\r\n\
            --b--\r\n";
        let mail = Mail::parse(mail).unwrap();
        assert_eq!(mail.body.trim_end(), "caf\u{e9} and more");
        assert_eq!((mail.sender().as_str(), mail.subject.as_str()), ("ada", "\u{e4}"));
        assert_eq!((mail.date.unwrap().unix_timestamp(), mail.id.as_deref()), (1_242_376_543, Some("1@x")));
    }

    #[test]
    fn what_is_no_mail_is_refused_whatever_it_is() {
        let nested = "From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n".repeat(20_000);
        let date = "From: a@b\nDate: Thu, 99 Foo 999999 99:99:99 +9999\n\nx".to_owned();
        for bytes in [&b""[..], b"\0\xff\xfe", b"hello", b"\n\nbody", nested.as_bytes(), date.as_bytes()] {
            if let Ok(mail) = Mail::parse(bytes) {
                assert_eq!(mail.date, None);
            }
        }
        assert!(Mail::parse(b"Subject: x\n\nbody").unwrap_err().contains("From"));
    }
}
