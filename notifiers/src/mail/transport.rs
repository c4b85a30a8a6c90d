//! Mails to a relay, over connections that are kept: one transaction a mail, in
//! steps of our own over lettre's connection, so that it is known at which step
//! a relay said no. lettre's own pool is not used: a send that was given up in
//! the midst of a mail would go back to it.

use super::stream::greet;
use crate::Outcome;
use crate::line::one_line;
use crate::verify::Verify;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How long an unused connection is kept; relays close theirs after minutes.
const IDLE: Duration = Duration::from_secs(30);
const KEPT: usize = 16;
/// Mails over one connection, before another is made: relays count too.
const MAILS: u32 = 100;
/// Of what a relay says.
const ANSWER_MAX: usize = 300;

/// Where mails go.
#[derive(Clone)]
pub struct RelaySettings {
    pub host: String,
    pub port: u16,
    pub tls: RelayTls,
    pub credentials: Option<(String, String)>,
    pub verify: Verify,
    /// Whole time of one mail, with its connection.
    pub within: Duration,
    /// How this machine names itself; its host name if not given.
    pub hello: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayTls {
    /// Never.
    None,
    /// STARTTLS where the relay offers it, whoever's certificate it has; with
    /// credentials as [`RelayTls::Required`], for they are not for everybody.
    Opportunistic,
    /// STARTTLS with a certificate that proves the relay, or nothing.
    Required,
    /// TLS from the first byte (SMTPS).
    Wrapped,
}

impl RelaySettings {
    pub fn new(host: impl Into<String>, port: u16) -> RelaySettings {
        RelaySettings {
            host: host.into(),
            port,
            tls: RelayTls::None,
            credentials: None,
            verify: Verify::Yes,
            within: Duration::from_secs(60),
            hello: None,
        }
    }
}

impl fmt::Debug for RelaySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({:?}, credentials: {})", self.host, self.port, self.tls, self.credentials.is_some())
    }
}

/// A relay and the connections to it.
pub struct Relay {
    settings: RelaySettings,
    tls: Option<TlsParameters>,
    hello: ClientId,
    idle: Mutex<Vec<Kept>>,
}

struct Kept {
    connection: AsyncSmtpConnection,
    since: Instant,
    mails: u32,
}

/// How far a mail got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Connect,
    Tls,
    Auth,
    Sender,
    Recipient,
    Data,
    Content,
}

struct Failure {
    step: Step,
    why: Why,
}

enum Why {
    TimedOut,
    Unable(String),
    Smtp(Error),
}

impl Relay {
    /// # Errors
    /// If the settings cannot be used: what is wrong with them.
    pub fn new(settings: RelaySettings) -> Result<Relay, String> {
        let mut settings = settings;
        if settings.tls == RelayTls::Opportunistic && settings.credentials.is_some() {
            settings.tls = RelayTls::Required;
        }
        let tls = match settings.tls {
            RelayTls::None => None,
            kind => Some(parameters(&settings, kind)?),
        };
        let hello = match &settings.hello {
            Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
                ClientId::Domain(name.clone())
            }
            Some(name) => return Err(format!("`{}` is no name for this machine", one_line(name, 60))),
            None => ClientId::default(),
        };
        Ok(Relay { settings, tls, hello, idle: Mutex::default() })
    }

    /// The relay for people and for the destination of a delivery.
    pub fn name(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }

    /// Hands one mail over.
    pub async fn send(&self, mail: &lettre::Message) -> Outcome {
        let content = mail.formatted();
        // The mark of a mail's end brings a line end of its own.
        let content = content.strip_suffix(b"\r\n").unwrap_or(&content);
        let deadline = Instant::now() + self.settings.within;
        // A kept connection may have been closed meanwhile; then a new one tells more.
        while let Some(kept) = self.take() {
            match self.transact(kept, mail.envelope(), content, deadline).await {
                Err(f) if f.step == Step::Sender && f.is_lost() => {}
                ended => return self.outcome(ended),
            }
        }
        let ended = match self.connect(deadline).await {
            Ok(connection) => {
                let kept = Kept { connection, since: Instant::now(), mails: 0 };
                self.transact(kept, mail.envelope(), content, deadline).await
            }
            Err(failure) => Err(failure),
        };
        self.outcome(ended)
    }

    /// Takes leave of the relay.
    pub async fn close(&self) {
        let kept = std::mem::take(&mut *self.idle.lock().unwrap_or_else(|e| e.into_inner()));
        let leave = kept.into_iter().map(|mut k| async move { _ = k.connection.command(Quit).await });
        _ = timeout(Duration::from_secs(2), futures_util::future::join_all(leave)).await;
    }

    fn take(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        idle.retain(|k| k.since.elapsed() < IDLE);
        idle.pop()
    }

    fn keep(&self, connection: AsyncSmtpConnection, mails: u32) {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        if mails < MAILS && idle.len() < KEPT {
            idle.push(Kept { connection, since: Instant::now(), mails });
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Failure> {
        let RelaySettings { host, port, tls: kind, credentials, .. } = &self.settings;
        let unable = |step, why: String| Failure { step, why: Why::Unable(why) };
        let tcp = match timeout_at(deadline, TcpStream::connect((host.as_str(), *port))).await {
            Err(_) => return Err(Failure { step: Step::Connect, why: Why::TimedOut }),
            Ok(Err(e)) => return Err(unable(Step::Connect, e.to_string())),
            Ok(Ok(tcp)) => tcp,
        };
        tcp.set_nodelay(true).map_err(|e| unable(Step::Connect, e.to_string()))?;
        let wrapped = self.tls.clone().filter(|_| *kind == RelayTls::Wrapped);
        let first = if wrapped.is_some() { Step::Tls } else { Step::Connect };
        let mut connection = step(first, deadline, greet(tcp, wrapped, &self.hello)).await?;
        if let (RelayTls::Opportunistic | RelayTls::Required, Some(tls)) = (kind, &self.tls) {
            if connection.can_starttls() {
                step(Step::Tls, deadline, connection.starttls(tls.clone(), &self.hello)).await?;
            } else if *kind == RelayTls::Required {
                let why = "it does not offer STARTTLS; nothing is sent in the clear (a relay for TLS from the start \
                           has another port and setting)";
                return Err(unable(Step::Tls, why.into()));
            }
        }
        if let Some((user, password)) = credentials {
            let credentials = Credentials::new(user.clone(), password.clone());
            step(Step::Auth, deadline, connection.auth(DEFAULT_MECHANISMS, &credentials)).await?;
        }
        Ok(connection)
    }

    /// One mail over a connection, which is kept if it is in order afterwards.
    async fn transact(
        &self,
        kept: Kept,
        envelope: &Envelope,
        content: &[u8],
        deadline: Instant,
    ) -> Result<String, Failure> {
        let Kept { mut connection, mails, .. } = kept;
        let said = exchange(&mut connection, envelope, content, deadline).await;
        let sound = match &said {
            Ok(_) => true,
            // A relay that said no takes the next mail after a reset.
            Err(f) if !f.is_lost() && !f.is_closing() => {
                timeout_at(deadline, connection.command(Rset)).await.is_ok_and(|r| r.is_ok())
            }
            Err(_) => false,
        };
        if sound {
            self.keep(connection, mails + 1);
        }
        said
    }

    fn outcome(&self, ended: Result<String, Failure>) -> Outcome {
        match ended {
            Ok(answer) => Outcome::Sent { answer },
            Err(failure) => failure.judge(&self.name()),
        }
    }
}

fn parameters(settings: &RelaySettings, kind: RelayTls) -> Result<TlsParameters, String> {
    let mut tls = TlsParameters::builder(settings.host.clone());
    if let Verify::Authorities(file) = &settings.verify {
        let named = |why: String| format!("the authorities in {}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|e| named(e.to_string()))?;
        tls = tls
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_pem(&pem).map_err(|e| named(e.to_string()))?);
    }
    if settings.verify == Verify::No || (kind == RelayTls::Opportunistic && settings.verify == Verify::Yes) {
        // In the clear would do too: any certificate is better than none.
        tls = tls.dangerous_accept_invalid_certs(true);
    }
    tls.build().map_err(|e| format!("TLS to {}: {e}", settings.host))
}

async fn step<T>(step: Step, deadline: Instant, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match timeout_at(deadline, work).await {
        Err(_) => Err(Failure { step, why: Why::TimedOut }),
        Ok(Err(e)) => Err(Failure { step, why: Why::Smtp(e) }),
        Ok(Ok(done)) => Ok(done),
    }
}

async fn exchange(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    content: &[u8],
    deadline: Instant,
) -> Result<String, Failure> {
    let unable = |step, why: &str| Failure { step, why: Why::Unable(why.to_owned()) };
    let mut options = vec![];
    let recipient = envelope.to().first().ok_or_else(|| unable(Step::Recipient, "the mail is to nobody"))?;
    let addresses = envelope.from().into_iter().chain(envelope.to());
    if addresses.into_iter().any(|a| !AsRef::<str>::as_ref(a).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(unable(Step::Recipient, "the relay takes no addresses beyond ASCII (SMTPUTF8)"));
        }
        options.push(MailParameter::SmtpUtfEight);
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    step(Step::Sender, deadline, connection.command(Mail::new(envelope.from().cloned(), options))).await?;
    step(Step::Recipient, deadline, connection.command(Rcpt::new(recipient.clone(), vec![]))).await?;
    step(Step::Data, deadline, connection.command(Data)).await?;
    let said = step(Step::Content, deadline, connection.message(content)).await?;
    let words: Vec<&str> = said.message().collect();
    Ok(one_line(&format!("{} {}", said.code(), words.join(" ")), ANSWER_MAX))
}

impl Failure {
    /// Whether the connection is gone or not to be understood any more.
    fn is_lost(&self) -> bool {
        match &self.why {
            Why::TimedOut => true,
            Why::Unable(_) => false,
            Why::Smtp(e) => e.status().is_none(),
        }
    }

    /// Whether the relay said that it closes the connection.
    fn is_closing(&self) -> bool {
        self.code() == Some(421)
    }

    fn code(&self) -> Option<u16> {
        match &self.why {
            Why::Smtp(e) => e.status().map(u16::from),
            _ => None,
        }
    }

    fn judge(self, relay: &str) -> Outcome {
        let at = match self.step {
            Step::Connect => "connecting",
            Step::Tls => "TLS",
            Step::Auth => "AUTH",
            Step::Sender => "MAIL FROM",
            Step::Recipient => "RCPT TO",
            Step::Data => "DATA",
            Step::Content => "the mail's text",
        };
        let code = self.code();
        let said = match (&self.why, code) {
            (Why::TimedOut, _) => "no answer in time".to_owned(),
            (Why::Unable(why), _) => why.clone(),
            (Why::Smtp(e), Some(code)) => format!("{code} {}", cause(e)),
            (Why::Smtp(e), None) if e.is_response() => "the connection was lost, or the answer is no SMTP".to_owned(),
            (Why::Smtp(e), None) => e.to_string(),
        };
        let why = one_line(&format!("{relay}, {at}: {said}"), ANSWER_MAX);
        let with = |remedy: &str| format!("{why}; {remedy}");
        match (self.step, code) {
            (_, Some(421)) => Outcome::Down { why },
            (Step::Auth, Some(500..)) => Outcome::Down {
                why: with("check the user and the password of this reporter, smtp_user and smtp_password"),
            },
            (Step::Auth, None) if matches!(&self.why, Why::Smtp(e) if e.is_client()) => Outcome::Down {
                why: with("the relay offers no way of AUTH that is known here: leave the user out, or use TLS"),
            },
            (Step::Tls, None) => Outcome::Down { why: with("check the setting of TLS and the relay's certificate") },
            (Step::Connect | Step::Tls | Step::Auth, _) => Outcome::Down { why },
            (Step::Sender, Some(530)) => {
                Outcome::Down { why: with("the relay wants TLS or a user: give this reporter what it asks for") }
            }
            // Of everything from this sender; others who use the relay are not concerned.
            (Step::Sender, Some(500..)) => {
                Outcome::Again { why: with("the relay does not take mail from this `fromaddr`"), after: None }
            }
            (_, Some(500..)) => Outcome::Refused { why },
            (_, None) if matches!(self.why, Why::Unable(_)) => Outcome::Refused { why },
            (Step::Content, None) => Outcome::Unsure { why },
            // A connection that was lost here may be about this very mail: the others are not held up.
            _ => Outcome::Again { why, after: None },
        }
    }
}

/// What a relay said, without lettre's words around it.
fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
