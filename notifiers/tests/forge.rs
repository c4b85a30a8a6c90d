//! Forges played by servers of the test, and Gerrit's ssh by a real sshd.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemill_model::Results;
use tidemill_notifiers::Outcome;
use tidemill_notifiers::forge::{Facts, Forge, GerritSsh, Kind, OAuth, Stage};
use tidemill_notifiers::http::{Access, Auth, Client};

const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

type Kept = Arc<Mutex<Vec<(Uri, HeaderMap, Vec<u8>)>>>;
type Says = fn(&Uri, &HeaderMap, &[u8]) -> Response;

async fn played(says: Says) -> (String, Kept) {
    tidemill_service::install_tls();
    let kept = Kept::default();
    let answer = move |State(kept): State<Kept>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let said = says(&uri, &headers, &body);
        kept.lock().unwrap().push((uri, headers, body.to_vec()));
        said
    };
    let app = Router::new().fallback(answer).with_state(kept.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, kept)
}

fn forge(kind: Kind, base_url: &str, auth: Auth) -> Forge {
    let client = Client::new(Access { local: true, ..Access::default() }).unwrap();
    Forge { kind, client, base_url: base_url.into(), auth, oauth: None }
}

fn facts() -> Facts<'static> {
    Facts {
        repository: "https://forge.example.org/octocat/hello.git",
        revision: SHA,
        change: Some("17"),
        stage: Stage::Done(Results::Failure),
        context: "linux",
        description: "2 tests failed",
        url: "https://ci.example.org/b/1",
        text: "failed",
        ..Facts::default()
    }
}

#[tokio::test]
async fn each_forge_is_asked_with_its_token_in_a_header_and_nowhere_else() {
    let (url, kept) = played(|_, _, _| (StatusCode::CREATED, "{}").into_response()).await;
    let bearer = || Auth::Bearer("t0ken".into());
    let basic = || Auth::Basic { user: "ci".into(), password: "t0ken".into() };
    let all = [
        (Kind::GitHub, bearer(), "authorization", "Bearer t0ken"),
        (Kind::GitHubComment, bearer(), "authorization", "Bearer t0ken"),
        (Kind::GitLab, Auth::Header("private-token", "t0ken".into()), "private-token", "t0ken"),
        (
            Kind::Gitea { warning_as_success: false },
            Auth::Header("authorization", "token t0ken".into()),
            "authorization",
            "token t0ken",
        ),
        (Kind::Bitbucket, basic(), "authorization", "Basic Y2k6dDBrZW4="),
        (Kind::BitbucketServer, bearer(), "authorization", "Bearer t0ken"),
        (Kind::BitbucketServerCore, bearer(), "authorization", "Bearer t0ken"),
        (Kind::BitbucketServerComment, basic(), "authorization", "Basic Y2k6dDBrZW4="),
        (Kind::GerritReview, basic(), "authorization", "Basic Y2k6dDBrZW4="),
        (Kind::GerritVerify, basic(), "authorization", "Basic Y2k6dDBrZW4="),
    ];
    let count = all.len();
    for (kind, auth, header, value) in all {
        let forge = forge(kind, &url, auth);
        assert_eq!(forge.send(&facts()).await, Outcome::Sent { answer: "HTTP 201: {}".into() }, "{kind:?}");
        let (uri, headers, body) = kept.lock().unwrap().last().unwrap().clone();
        assert_eq!(headers[header], value, "{kind:?}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(!uri.to_string().contains("t0ken") && !body.to_string().contains("t0ken"), "{kind:?}");
        let asked = forge.request(&facts()).unwrap();
        assert!(asked.url.ends_with(&uri.to_string()), "{kind:?}: {} {uri}", asked.url);
        assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), body);
    }
    let asked = kept.lock().unwrap();
    assert_eq!(asked.len(), count);
    assert_eq!(asked[0].1["accept"], "application/vnd.github+json");
    assert_eq!(asked[0].1["x-github-api-version"], "2022-11-28");
}

#[tokio::test]
async fn answers_that_mean_something_else_than_in_plain_http_are_read() {
    let (url, kept) = played(|uri, _, _| {
        let path = uri.path();
        if path.contains("/api/v4/") {
            let body = json!({"message": "Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"});
            (StatusCode::BAD_REQUEST, body.to_string()).into_response()
        } else if path.contains("/issues/") {
            (StatusCode::FORBIDDEN, "You have exceeded a secondary rate limit").into_response()
        } else if path.contains("/rest/") {
            (StatusCode::NOT_FOUND, "no such commit").into_response()
        } else {
            let until = (time::OffsetDateTime::now_utc().unix_timestamp() + 100).to_string();
            let headers = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", until)];
            (StatusCode::FORBIDDEN, headers, "API limit").into_response()
        }
    })
    .await;
    let send = async |kind: Kind, stage| forge(kind, &url, Auth::None).send(&Facts { stage, ..facts() }).await;
    assert!(matches!(send(Kind::GitLab, Stage::Running).await, Outcome::Sent { .. }));
    assert!(matches!(send(Kind::GitLab, Stage::Done(Results::Failure)).await, Outcome::Refused { .. }));
    assert!(matches!(send(Kind::GitHubComment, Stage::Running).await, Outcome::Again { .. }));
    let limited = send(Kind::GitHub, Stage::Running).await;
    assert!(matches!(&limited, Outcome::Again { after: Some(after), .. } if after.as_secs() > 50), "{limited:?}");
    let missing = send(Kind::BitbucketServer, Stage::Running).await;
    assert!(matches!(&missing, Outcome::Refused { why } if why.contains("token write to it")), "{missing:?}");
    kept.lock().unwrap().clear();
    // What can never be told is not asked.
    let refused = forge(Kind::GitHub, &url, Auth::None).send(&Facts { revision: "main", ..facts() }).await;
    assert!(matches!(refused, Outcome::Refused { .. }) && kept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_of_oauth_is_asked_for_once_and_again_when_it_is_not_believed() {
    let (url, kept) = played(|uri, headers, body| {
        if uri.path() == "/token" {
            assert_eq!(headers["authorization"], "Basic a2V5OnNlY3JldA==");
            assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
            assert_eq!(body, b"grant_type=client_credentials");
            return json!({"access_token": "granted", "expires_in": 7200}).to_string().into_response();
        }
        assert_eq!(headers["authorization"], "Bearer granted");
        let status = if uri.path().contains("/gone/") { StatusCode::UNAUTHORIZED } else { StatusCode::CREATED };
        (status, "{}").into_response()
    })
    .await;
    let mut forge = forge(Kind::Bitbucket, &url, Auth::None);
    forge.oauth = Some(Arc::new(OAuth::new(format!("{url}/token"), "key", "secret")));
    let tokens = || kept.lock().unwrap().iter().filter(|(uri, ..)| uri.path() == "/token").count();
    for _ in 0..3 {
        assert!(matches!(forge.send(&facts()).await, Outcome::Sent { .. }));
    }
    assert_eq!(tokens(), 1);
    let gone = Facts { repository: "https://bitbucket.org/gone/x.git", ..facts() };
    assert!(matches!(forge.send(&gone).await, Outcome::Again { .. }));
    assert!(matches!(forge.send(&facts()).await, Outcome::Sent { .. }));
    assert_eq!(tokens(), 2);
    let (away, _) = played(|_, _, _| (StatusCode::BAD_REQUEST, "unknown key").into_response()).await;
    forge.oauth = Some(Arc::new(OAuth::new(format!("{away}/token"), "key", "secret")));
    let down = forge.send(&facts()).await;
    assert!(matches!(&down, Outcome::Down { why } if why.contains("key and secret")), "{down:?}");
}

/// A real sshd that writes what it is asked to run into a file and does no such thing.
struct Sshd {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Sshd {
    fn start() -> Option<Sshd> {
        let skipped = |why: &str| {
            let _ = std::io::stderr().write_all(format!("SKIPPED, NOT TESTED: {why}\n").as_bytes());
        };
        if !Path::new("/usr/sbin/sshd").exists() {
            skipped("sshd is not installed (apt-get install openssh-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for name in ["host", "user", "stranger"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at.join(name)).status();
            assert!(made.unwrap().success());
        }
        let key = std::fs::read_to_string(at.join("user.pub")).unwrap();
        std::fs::write(at.join("authorized"), key).unwrap();
        // As Gerrit, it runs no shell of the asker's.
        let script = format!(
            "#!/bin/sh\nprintf '%s' \"$SSH_ORIGINAL_COMMAND\" >>'{at}/asked'\n\
             case \"$SSH_ORIGINAL_COMMAND\" in *closed*) echo 'fatal: change is closed' >&2; exit 1;; esac\n",
            at = at.display()
        );
        std::fs::write(at.join("gerrit"), script).unwrap();
        std::fs::set_permissions(at.join("gerrit"), PermissionsExt::from_mode(0o755)).unwrap();
        let port = tidemill_tests::cluster::free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {at}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\nForceCommand {at}/gerrit\n",
            at = at.display()
        );
        std::fs::write(at.join("sshd_config"), config).unwrap();
        // Where Debian's sshd leaves its rights behind; started by nobody here.
        let _ = std::fs::create_dir_all("/run/sshd");
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(at.join("log")).unwrap())
            .process_group(0)
            .spawn()
            .expect("sshd starts");
        let mut sshd = Sshd { process, port, folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(sshd.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "sshd does not answer: {}", log());
            if sshd.process.try_wait().unwrap().is_some() {
                skipped(&format!("sshd does not start here: {}", log()));
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(sshd)
    }

    fn client(&self) -> GerritSsh {
        let at = self.folder.path();
        let host = std::fs::read_to_string(at.join("host.pub")).unwrap();
        std::fs::write(at.join("known"), format!("[127.0.0.1]:{} {host}", self.port)).unwrap();
        GerritSsh {
            server: "127.0.0.1".into(),
            port: self.port,
            username: nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name,
            identity_file: Some(at.join("user")),
            options: vec![format!("UserKnownHostsFile={}", at.join("known").display())],
            within: Duration::from_secs(60),
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_review_goes_by_ssh_as_one_line_that_a_shell_reads_as_its_words() {
    let Some(sshd) = Sshd::start() else { return };
    let gerrit = sshd.client();
    let told = Facts {
        text: "it's \"done\"; touch /tmp/evil $(touch x)\n--label=Code-Review=+2",
        labels: BTreeMap::from([("Verified".to_owned(), -1)]),
        ..facts()
    };
    let outcome = gerrit.send(&told).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    let asked = std::fs::read_to_string(sshd.folder.path().join("asked")).unwrap();
    // Gerrit takes it apart as a shell does.
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\036' {asked}")]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    let words: Vec<&str> = words.trim_end_matches('\x1e').split('\x1e').collect();
    let message = format!("--message={}", told.text);
    let expected = ["gerrit", "review", &message, "--tag=autogenerated:tidemill", "--label=Verified=-1", SHA];
    assert_eq!(words, expected);

    let closed = gerrit.send(&Facts { text: "closed", ..told.clone() }).await;
    assert!(matches!(&closed, Outcome::Refused { why } if why.contains("fatal: change is closed")), "{closed:?}");
    let mut stranger = sshd.client();
    stranger.identity_file = Some(sshd.folder.path().join("stranger"));
    let outcome = stranger.send(&told).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("ermission denied")), "{outcome:?}");
    let mut unknown = sshd.client();
    unknown.options = vec!["UserKnownHostsFile=/dev/null".into(), "GlobalKnownHostsFile=/dev/null".into()];
    let outcome = unknown.send(&told).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("Host key verification failed")), "{outcome:?}");
}
