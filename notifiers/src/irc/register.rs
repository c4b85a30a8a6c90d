//! From the first line to the welcome: PASS, CAP, SASL, NICK, USER.
//!
//! If SASL is configured there is no connection without it: a bot that is not
//! who it says would wait in vain for channels of the registered, and say
//! things under a name that is not its own.

use super::message::{Line, write};
use super::settings::Network;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;

/// Piece of a SASL answer in one AUTHENTICATE.
const CHUNK: usize = 400;
/// Nicks tried before giving up.
const NICKS: u32 = 12;

#[derive(Debug, Default)]
pub struct Registration {
    offered: BTreeSet<String>,
    /// What the server granted.
    pub granted: BTreeSet<String>,
    tries: u32,
    logged_in: bool,
}

/// What a line meant for the registration.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Say these.
    Say(Vec<String>),
    /// The server calls us this.
    Welcome(String),
    /// Not about it.
    Other,
}

impl Registration {
    pub fn begin(network: &Network) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(network.server_password.as_ref().map(|p| write("PASS", &[], Some(&p.0))));
        lines.push("CAP LS 302".to_owned());
        lines.push(write("NICK", &[&network.nick], None));
        lines.push(write("USER", &[&network.user, "0", "*"], Some(&network.real_name)));
        lines
    }

    /// An error ends the connection, with the reason for people.
    pub fn line(&mut self, network: &Network, line: &Line) -> Result<Step, String> {
        match line.command.as_str() {
            "CAP" => self.cap(network, line),
            "AUTHENTICATE" => Ok(Step::Say(self.authenticate(network, line.param(0)))),
            "903" => {
                self.logged_in = true;
                Ok(Step::Say(vec!["CAP END".to_owned()]))
            }
            "902" | "904" | "905" | "906" | "908" if network.sasl.is_some() => {
                Err(format!("SASL login refused ({} {})", line.command, line.last()))
            }
            "432" | "433" | "436" | "437" => {
                self.tries += 1;
                if self.tries > NICKS {
                    return Err(format!("no nick is free ({} {})", line.command, line.last()));
                }
                Ok(Step::Say(vec![write("NICK", &[&candidate(&network.nick, self.tries)], None)]))
            }
            "464" => Err(format!("the server's password is wrong or missing (464 {})", line.last())),
            "465" => Err(format!("we are banned from the server (465 {})", line.last())),
            "001" if network.sasl.is_some() && !self.logged_in => {
                Err("the server let us in without the SASL login that is configured".to_owned())
            }
            "001" => Ok(Step::Welcome(line.param(0).to_owned())),
            _ => Ok(Step::Other),
        }
    }

    fn cap(&mut self, network: &Network, line: &Line) -> Result<Step, String> {
        match line.param(1) {
            "LS" => {
                let names = line.last().split(' ').filter(|n| !n.is_empty());
                self.offered.extend(names.map(|n| n.split('=').next().unwrap_or(n).to_owned()));
                if line.param(2) == "*" {
                    return Ok(Step::Other);
                }
                if network.sasl.is_some() && !self.offered.contains("sasl") {
                    return Err("the server offers no SASL (are its services away?)".to_owned());
                }
                let wanted = ["account-tag", "sasl"]
                    .into_iter()
                    .filter(|w| self.offered.contains(*w) && (*w != "sasl" || network.sasl.is_some()));
                let wanted = wanted.collect::<Vec<_>>().join(" ");
                let next = if wanted.is_empty() { "CAP END".to_owned() } else { write("CAP", &["REQ"], Some(&wanted)) };
                Ok(Step::Say(vec![next]))
            }
            "ACK" => {
                self.granted.extend(line.last().split(' ').filter(|n| !n.is_empty()).map(str::to_owned));
                let next = if self.granted.contains("sasl") { "AUTHENTICATE PLAIN" } else { "CAP END" };
                Ok(Step::Say(vec![next.to_owned()]))
            }
            "NAK" if network.sasl.is_some() => Err("the server refused SASL".to_owned()),
            "NAK" => Ok(Step::Say(vec!["CAP END".to_owned()])),
            _ => Ok(Step::Other),
        }
    }

    fn authenticate(&self, network: &Network, asked: &str) -> Vec<String> {
        let (Some(sasl), "+") = (&network.sasl, asked) else { return Vec::new() };
        let plain = format!("\0{}\0{}", sasl.user, sasl.password.0);
        let coded = STANDARD.encode(plain);
        let mut lines: Vec<String> = coded
            .as_bytes()
            .chunks(CHUNK)
            .map(|c| write("AUTHENTICATE", &[&String::from_utf8_lossy(c)], None))
            .collect();
        if coded.len() % CHUNK == 0 {
            lines.push("AUTHENTICATE +".to_owned());
        }
        lines
    }
}

/// The n-th other nick. A number takes the place of the end: networks limit the length.
pub fn candidate(nick: &str, n: u32) -> String {
    match n {
        0 => nick.to_owned(),
        1 => format!("{nick}_"),
        _ => {
            let short: String = nick.chars().take(7).collect();
            format!("{short}{n}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::settings::Sasl;

    fn network(sasl: bool) -> Network {
        let sasl = sasl.then(|| Sasl { user: "tide".into(), password: "secret".into() });
        Network { sasl, ..Network::new("n", "h", 1, "tidemill-bot") }
    }

    fn say(reg: &mut Registration, network: &Network, line: &str) -> Result<Step, String> {
        reg.line(network, &Line::parse(line.as_bytes()).unwrap())
    }

    fn said(line: &str) -> Result<Step, String> {
        Ok(Step::Say(vec![line.to_owned()]))
    }

    #[test]
    fn capabilities_are_asked_over_several_lines_and_sasl_comes_before_the_end() {
        let (n, mut r) = (network(true), Registration::default());
        assert_eq!(say(&mut r, &n, ":s CAP * LS * :multi-prefix away-notify"), Ok(Step::Other));
        assert_eq!(say(&mut r, &n, ":s CAP * LS :sasl=PLAIN account-tag"), said("CAP REQ :account-tag sasl"));
        assert_eq!(say(&mut r, &n, ":s CAP * ACK :account-tag sasl "), said("AUTHENTICATE PLAIN"));
        assert_eq!(say(&mut r, &n, "AUTHENTICATE +"), said("AUTHENTICATE AHRpZGUAc2VjcmV0"));
        assert_eq!(say(&mut r, &n, ":s 900 t t!u@h tide :You are now logged in"), Ok(Step::Other));
        assert_eq!(say(&mut r, &n, ":s 903 t :ok"), said("CAP END"));
        assert_eq!(say(&mut r, &n, ":s 001 tidemill-bot :Welcome"), Ok(Step::Welcome("tidemill-bot".into())));
    }

    #[test]
    fn without_its_sasl_login_there_is_no_connection() {
        let n = network(true);
        for line in [":s CAP * LS :multi-prefix", ":s 904 t :SASL failed", ":s 001 t :Welcome", ":s CAP * NAK :sasl"] {
            assert!(say(&mut Registration::default(), &n, line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_server_without_capabilities_lets_us_in_as_well() {
        let (n, mut r) = (network(false), Registration::default());
        assert_eq!(say(&mut r, &n, ":s 421 * CAP :Unknown command"), Ok(Step::Other));
        assert_eq!(say(&mut r, &n, ":s 001 tidemill :Welcome"), Ok(Step::Welcome("tidemill".into())));
        assert_eq!(say(&mut r, &n, ":s CAP * LS :multi-prefix"), said("CAP END"));
    }

    #[test]
    fn a_nick_in_use_gets_a_tail_and_in_the_end_there_is_an_error() {
        let (n, mut r) = (network(false), Registration::default());
        let taken = ":s 433 * tidemill-bot :Nickname is already in use";
        assert_eq!(say(&mut r, &n, taken), said("NICK tidemill-bot_"));
        assert_eq!(say(&mut r, &n, taken), said("NICK tidemil2"));
        assert!((0..20).any(|_| say(&mut r, &n, taken).is_err()));
    }

    #[test]
    fn a_long_sasl_answer_goes_in_pieces() {
        let mut n = network(true);
        // 300 bytes are 400 of base64: exactly one full piece.
        let fill = "x".repeat(300 - 2 - 4);
        n.sasl = Some(Sasl { user: "tide".into(), password: Hidden(fill) });
        let lines = Registration::default().authenticate(&n, "+");
        assert_eq!((lines.len(), lines[1].as_str()), (2, "AUTHENTICATE +"));
    }

    use crate::irc::settings::Hidden;

    #[test]
    fn the_password_goes_first() {
        let n = Network { server_password: Some("a b".into()), ..network(false) };
        let lines = Registration::begin(&n);
        assert_eq!(lines[..2], ["PASS :a b", "CAP LS 302"]);
    }
}
