//! What the bot says to whom, without a network.

use crate::fake::Fake;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_notifiers::irc::backend::{Commit, Membership};
use tidemill_notifiers::irc::commands::COMMANDS;
use tidemill_notifiers::irc::{
    Account, Allowed, Authz, Bot, BotSettings, Heard, Hidden, NotifyEvent, Presence, Speaker, Voice,
};

/// Writes down where the bot went.
#[derive(Clone, Default)]
struct Moves(Arc<Mutex<Vec<String>>>);

impl Presence for Moves {
    fn say(&self, target: &str, lines: Vec<String>, _: Voice) {
        self.0.lock().unwrap().push(format!("{target}: {}", lines.join(" / ")));
    }
    fn join(&self, channel: &str, key: Option<Hidden>) {
        self.0.lock().unwrap().push(format!("join {channel} {}", key.map_or("-".into(), |k| k.0)));
    }
    fn leave(&self, channel: &str) {
        self.0.lock().unwrap().push(format!("leave {channel}"));
    }
    async fn account_of(&self, speaker: &Speaker) -> Option<String> {
        (speaker.nick == "asked").then(|| "ada".to_owned())
    }
}

type TestBot = Bot<Fake, Moves>;

fn bot() -> TestBot {
    let ada = Allowed::Accounts(vec!["ada".into()]);
    let settings = BotSettings { authz: Authz::new([(vec!["!".to_owned()], ada)]), ..BotSettings::default() };
    Bot { settings, backend: Fake::default(), presence: Moves::default() }
}

fn heard(nick: &str, account: Account, channel: Option<&str>, text: &str) -> Heard {
    let speaker = Speaker { nick: nick.into(), user: "u".into(), host: "h".into() };
    Heard { speaker, account, channel: channel.map(str::to_owned), text: text.into(), me: "tide".into() }
}

async fn tell(bot: &TestBot, text: &str) -> String {
    let account = Account::Known(Some("Ada".into()));
    bot.answer(&heard("ada", account, Some("#ci"), &format!("tide: {text}"))).await.join("\n")
}

/// Without an account.
async fn tell_as_nobody(bot: &TestBot, text: &str) -> String {
    bot.answer(&heard("ada", Account::Known(None), Some("#ci"), &format!("tide: {text}"))).await.join("\n")
}

#[tokio::test]
async fn it_answers_who_speaks_to_it_and_nobody_else() {
    let bot = bot();
    let ask = async |channel, text| bot.answer(&heard("ada", Account::Known(None), channel, text)).await.join("\n");
    let hello = "hello, ada; «commands» lists what I can do";
    for text in ["tide: hello", "TIDE, hello", "tide:   HELLO  "] {
        assert_eq!(ask(Some("#ci"), text).await, hello, "{text}");
    }
    assert_eq!(ask(None, "hello").await, hello);
    for text in ["hello", "tide hello", "tidemill: hello", "tide:", "", "é: x", "some tide: hello"] {
        assert_eq!(ask(Some("#ci"), text).await, "", "{text}");
    }
    assert_eq!(tell(&bot, "\u{3}4sing\u{7} loud").await, "I do not know «4sing»; «commands» lists what I know");
}

#[tokio::test]
async fn every_command_is_carried_out_and_explained() {
    let bot = bot();
    let all = tell(&bot, "commands").await;
    for entry in COMMANDS.iter().filter(|e| e.name != "mute") {
        assert!(all.contains(entry.name));
        assert_eq!(tell(&bot, &format!("help {}", entry.name)).await, format!("{} | {}", entry.usage, entry.about));
        assert!(!tell(&bot, entry.name).await.contains("by this version"), "{}", entry.name);
    }
    assert_eq!(tell(&bot, "help x").await, "there is no command «x»; try: help [COMMAND]");
    assert!(tell(&bot, "help").await.contains("«tide: COMMAND»"));
}

#[tokio::test]
async fn it_tells_of_builders_builds_and_workers() {
    let bot = bot();
    for (asked, said) in [
        ("version", "Tidemill 0.1.0 for Pyramid, https://ci.test/"),
        ("list", "builders: linux (1 running, 2 waiting), my builder (offline)"),
        ("list workers", "workers: w1, w2 (offline, paused)"),
        ("workers", "workers: w1, w2 (offline, paused)"),
        ("list cats", "I cannot list «cats»; try: list [builders|workers|changes]"),
        ("status", "2 builders (1 offline), 1 builds running, 2 requests waiting\nbusy: linux"),
        (
            "status linux",
            "linux: 1 running, 2 waiting, last build #11 failure (2 tests failed) 5 min ago | https://ci.test/b/1/11\n\
             build #12 runs since 3 min, in compile | https://ci.test/b/1/12",
        ),
        ("status \"my builder\"", "my builder: offline, idle"),
        ("status x\u{7}y", "there is no builder «xy»"),
        (
            "status all",
            "linux: 1 running, 2 waiting, last build #11 failure (2 tests failed) 5 min ago | https://ci.test/b/1/11\n\
             my builder: offline, idle",
        ),
        ("status a b", "one builder at a time; a name with spaces stands in quotes; try: status [BUILDER|all]"),
        (
            "last linux 2",
            "linux: #11 failure (2 tests failed) 5 min ago | https://ci.test/b/1/11\n\
             linux: #10 success 1 h ago | https://ci.test/b/1/11",
        ),
        (
            "last",
            "linux: #11 failure (2 tests failed) 5 min ago | https://ci.test/b/1/11\nmy builder: no build has finished",
        ),
        ("last linux many", "the second word is a number of builds; try: last [BUILDER|all] [COUNT]"),
        ("commits", "there are no changes"),
        ("watch linux", "I shall tell when builds #12, #13 of linux end"),
        ("watch 'my builder'", "my builder builds nothing just now"),
        ("watch", "name one builder; try: watch BUILDER"),
    ] {
        assert_eq!(tell(&bot, asked).await, said, "{asked}");
    }
    assert_eq!(bot.backend.watched.lock().unwrap()[0], ("linux".to_owned(), "#ci".to_owned()));
    let coloured = Bot { settings: BotSettings { colours: true, ..bot.settings.clone() }, ..bot };
    assert!(tell(&coloured, "last linux").await.contains("\u{3}04failure\u{f}"));
}

#[tokio::test]
async fn forcing_takes_options_and_a_reason() {
    let bot = bot();
    let said = tell(&bot, "force build --branch=b1 --props=a=1,b=x --revision=r \"my builder\" it's --high time").await;
    assert_eq!(said, "asked for a build of my builder: request 7");
    let forced = bot.backend.forced.lock().unwrap()[0].clone();
    assert_eq!((forced.branch.as_deref(), forced.revision.as_deref(), &*forced.who), (Some("b1"), Some("r"), "Ada"));
    assert_eq!((&*forced.reason, forced.properties.len()), ("it's --high time", 2));
    for (asked, wrong) in [
        ("force linux", "the word «build» comes first"),
        ("force build", "name the builder"),
        ("force build --brunch=x linux", "there is no option --brunch (known: --branch, --revision, "),
        ("force build --props=a linux", "«a» is no property"),
        ("force build \"linux", "a quote is not closed"),
        ("stop linux", "the word «build» comes first"),
    ] {
        let said = tell(&bot, asked).await;
        assert!(said.starts_with(wrong) && said.contains("; try: "), "{asked}: {said}");
    }
    assert_eq!(tell(&bot, "stop build linux it is\u{2} late").await, "build #12 of linux is told to stop");
    let stopped = ("linux".to_owned(), "it is late".to_owned(), "Ada".to_owned());
    assert_eq!(*bot.backend.stopped.lock().unwrap(), [stopped]);
}

#[tokio::test]
async fn dangerous_commands_want_an_account_and_a_nick_is_none() {
    let bot = bot();
    let dangerous =
        ["force build linux", "stop build linux", "join #x", "leave", "mute #other", "unmute #x", "shutdown"];
    for command in dangerous {
        let said = tell_as_nobody(&bot, command).await;
        assert!(said.ends_with("is for some accounts only, and you are not logged in to services"), "{said}");
        let eve = heard("ada", Account::Known(Some("eve".into())), None, command);
        assert!(bot.answer(&eve).await.join("").ends_with("is not for the account eve"), "{command}");
    }
    assert!(bot.backend.forced.lock().unwrap().is_empty() && bot.presence.0.lock().unwrap().is_empty());
    // Where messages carry no account, the network is asked.
    let ask = async |nick| bot.answer(&heard(nick, Account::Ask, None, "force build linux")).await.join("");
    assert!(ask("asked").await.starts_with("asked for a build"));
    assert!(ask("ada").await.contains("not logged in"));

    let strict = Bot { settings: BotSettings::default(), ..bot };
    assert_eq!(tell(&strict, "force build linux").await, "nobody may use «force» here");
    assert!(tell(&strict, "shutdown").await.starts_with("nobody may"));
}

#[tokio::test]
async fn shutdown_is_refused_with_the_reason() {
    assert!(tell(&bot(), "shutdown").await.contains("masters are stopped by whoever runs them"));
}

#[tokio::test]
async fn what_is_told_in_a_channel_is_settled_there() {
    let bot = bot();
    for (asked, said) in [
        ("notify list", "nothing is told here"),
        ("notify on", "told here: started, finished"),
        ("notify on problem successToFailure", "told here: started, finished, problem, successToFailure"),
        ("notify off started", "told here: finished, problem, successToFailure"),
        ("notify list", "told here: finished, problem, successToFailure"),
        ("notify off", "nothing is told here"),
    ] {
        assert_eq!(tell(&bot, asked).await, said, "{asked}");
    }
    let wrong = tell(&bot, "notify on ended").await;
    assert!(wrong.starts_with("«ended» is no event; there are started, finished, "), "{wrong}");
    assert!(tell(&bot, "notify").await.starts_with("on, off or list?; try: notify on|off|list"));
    let settings = BotSettings { notify_events: [NotifyEvent::Worse].into(), ..bot.settings.clone() };
    let configured = Bot { settings, ..bot };
    assert_eq!(tell(&configured, "notify on").await, "told here: worse");
}

#[tokio::test]
async fn it_comes_goes_and_is_silent_where_it_is_told_to() {
    let bot = bot();
    assert_eq!(tell(&bot, "join #new key").await, "on my way to #new");
    assert_eq!(tell(&bot, "leave #new").await, "I leave #new");
    assert_eq!(tell(&bot, "leave").await, "");
    assert_eq!(*bot.presence.0.lock().unwrap(), ["join #new key", "leave #new", "leave #ci"]);
    assert_eq!(bot.backend.places.lock().unwrap()["#new"].membership, Some(Membership::Left));
    for wrong in ["join ada", "join #a,#b", "join", "leave #a b"] {
        assert!(tell(&bot, wrong).await.contains("; try: "), "{wrong}");
    }
    assert_eq!(tell_as_nobody(&bot, "mute").await, "I am silent here until «unmute»");
    assert_eq!(tell(&bot, "hello").await, "", "muted");
    let alone = bot.answer(&heard("ada", Account::Known(None), None, "hello")).await;
    assert_eq!(alone.len(), 1, "but not to one alone");
    assert_eq!(tell_as_nobody(&bot, "unmute").await, "I speak here again");
    assert_eq!(tell(&bot, "unmute").await, "I was not silent here");
    assert_eq!(tell(&bot, "mute #other").await, "I am silent in #other until «unmute»");
}

#[tokio::test]
async fn hostile_commits_stay_one_short_line_each() {
    let bot = bot();
    *bot.backend.commits.lock().unwrap() = vec![Commit {
        revision: Some("0123456789abcdef\r\nQUIT".into()),
        branch: Some("main\0".into()),
        author: "Eve\nPRIVMSG #ci :I am root".into(),
        comments: format!("fix\r\nQUIT :bye\r\n\u{1}ACTION\u{1} \u{202e}{}", "x".repeat(5000)),
        ago: Duration::from_secs(60),
    }];
    let said = tell(&bot, "commits linux").await;
    assert!(
        said.starts_with("0123456789ab on main by Eve PRIVMSG #ci :I am root, 1 min ago: fix QUIT :bye ACTION xxx"),
        "{said:?}"
    );
    assert!(!said.contains(char::is_control) && said.chars().count() < 320 && said.ends_with('…'));
}

#[tokio::test]
async fn without_the_rest_of_tidemill_it_says_so() {
    let bot = bot();
    *bot.backend.broken.lock().unwrap() = Some("no master answers\r\njust now".into());
    assert_eq!(tell(&bot, "status").await, "no master answers just now");
    assert_eq!(tell(&bot, "hello").await, "hello, ada; «commands» lists what I can do");
}
