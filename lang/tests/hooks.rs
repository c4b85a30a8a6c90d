//! `c["www"]`: which hooks there are, and what is said of mistakes.

mod support;

use serde_json::json;
use support::{errors, evaluate, project};
use tidemill_lang::definition::{HookDialect, Outsiders, PullRequestRef, SecretText};
use tidemill_lang::policies::{HookInput, HookOutput};

fn www(inside: &str) -> String {
    format!("c = {{}}\nc[\"www\"] = {{{inside}}}\n")
}

fn dialects(inside: &str) -> String {
    www(&format!("\"change_hook_dialects\": {{{inside}}}"))
}

#[test]
fn dialects_and_their_options_are_read_under_buildbots_names() {
    let p = project(&www(
        "\"change_hook_dialects\": {\"github\": {\"secret\": util.Secret(\"hub\"), \"strict\": 1, \"pullrequest_ref\": \"head\", \
         \"github_property_whitelist\": [\"github.*\"], \"skips\": [\"^WIP\"], \"outsiders\": \"ignore\", \"insiders\": [\"ada\"]}, \
         \"base\": True, \"gitlab\": None, \"gitea\": False, \"forgejo\": {\"secret\": util.Secret(\"f\"), \"codebase\": \"lib\"}, \
         \"poller\": {\"allowed\": [\"p\"]}, \"own\": {\"function\": lambda r: None, \"secret\": util.Secret(\"o\")}}, \
         \"change_hook_auth\": [(\"ada\", util.Secret(\"pw\"))], \"port\": 8010",
    ));
    let hooks = &p.definition().hooks;
    let names: Vec<&str> = hooks.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["base", "forgejo", "github", "own", "poller"]);
    let github = &hooks[2];
    assert_eq!(github.secret, Some(SecretText::Secret { name: "hub".into() }));
    assert_eq!((github.outsiders, github.pull_request_ref), (Outsiders::Ignore, PullRequestRef::Head));
    assert_eq!(
        (github.skips.as_slice(), github.insiders.as_slice()),
        (&["^WIP".to_owned()][..], &["ada".to_owned()][..])
    );
    assert_eq!((hooks[1].dialect, hooks[1].codebase.as_deref()), (HookDialect::Gitea, Some("lib")));
    assert_eq!(hooks[1].skips.len(), 2);
    assert_eq!(
        (hooks[3].dialect, hooks[3].signature_header.as_deref()),
        (HookDialect::Custom, Some("x-hub-signature-256"))
    );
    assert_eq!(hooks[4].allowed.as_deref(), Some(&["p".to_owned()][..]));
    assert_eq!(p.definition().hook_users[0].name, "ada");
    assert_eq!(p.definition().secrets, ["f", "hub", "o", "pw"]);
    let warned: Vec<&str> = p.warnings().iter().map(|w| w.message.as_str()).filter(|m| m.contains("www")).collect();
    assert_eq!(warned, ["c[\"www\"][\"port\"] has no effect: the master's own settings say where its pages are"]);
    // As it is stored.
    let stored = serde_json::to_value(p.definition()).unwrap();
    assert_eq!(serde_json::from_value::<tidemill_lang::Definition>(stored).unwrap(), *p.definition());
}

#[test]
fn a_secret_in_the_file_and_a_dialect_without_one_are_warned_of_and_no_text_shows_it() {
    let p = project(&dialects("\"github\": {\"secret\": \"hunter2\"}, \"gitea\": {}"));
    let said: Vec<String> = p.warnings().iter().map(|w| w.to_string()).collect();
    assert!(said.iter().any(|w| w.contains("`secret` of dialect `github` stands in the file")), "{said:?}");
    assert!(said.iter().any(|w| w.contains("dialect `gitea` has no `secret`")), "{said:?}");
    assert!(!format!("{:?}", p.definition()).contains("hunter2"));
    assert!(
        project(&dialects("\"gitea\": {\"strict\": False}")).warnings().iter().all(|w| !w.message.contains("gitea"))
    );
}

#[test]
fn what_is_not_known_is_told_with_the_nearest_name() {
    for (text, message, hint) in [
        (dialects("\"githb\": {}"), "there is no dialect `githb` of hooks", "did you mean `github`?"),
        (dialects("\"zzz\": {}"), "there is no dialect `zzz` of hooks", "one of your own has a `function`"),
        (
            dialects("\"github\": {\"secert\": \"x\"}"),
            "dialect `github` has no option `secert`",
            "did you mean `secret`?",
        ),
        (dialects("\"github\": {\"class\": 1}"), "dialect `github` has no option `class`", "a function of the request"),
        (dialects("\"base\": {\"secret\": 1}"), "dialect `base` has no option `secret`", "it has none"),
        (
            dialects("\"github\": {\"strict\": \"yes\"}"),
            "`strict` of dialect `github` must be True or False",
            "strict = True",
        ),
        (dialects("\"github\": {\"outsiders\": \"all\"}"), "`outsiders` of dialect `github` must be \"approve\"", ""),
        (dialects("\"github\": {\"skips\": [\"(\"]}"), "`skips` of dialect `github`", ""),
        (dialects("\"github\": {\"secret\": util.Property(\"x\")}"), "must be a util.Secret", "util.Secret("),
        (dialects("\"github\": 7"), "dialect `github` must be True or a dict of options", ""),
        (dialects("\"a/b\": {\"function\": lambda r: None}"), "dialect \"a/b\": its name stands in an address", ""),
        (dialects("\"own\": {\"function\": 3}"), "`function` of dialect `own` must be a function", ""),
        (www("\"change_hook_dialect\": {}"), "c[\"www\"] has no key `change_hook_dialect`", "`change_hook_dialects`"),
        (www("\"change_hook_auth\": \"x\""), "must be a dict of user names and passwords", "as in"),
        ("c = {\"www\": 3}\n".to_owned(), "c[\"www\"] must be a dict", ""),
    ] {
        let found = errors(&text);
        let shown: Vec<String> = found.iter().map(|d| d.to_string()).collect();
        assert!(shown.iter().any(|d| d.contains(message) && d.contains(hint)), "{text}: {shown:?}");
    }
}

#[test]
fn a_function_of_the_project_gives_changes_a_reason_or_a_traceback() {
    let p = project(
        "def f(request):\n    if not request.data:\n        return None\n    if \"why\" in request.data:\n        return request.data[\"why\"]\n\
         \x20   return request.data[\"list\"]\n\nc = {\"www\": {\"change_hook_dialects\": {\"own\": {\"function\": f, \"strict\": False}}}}\n",
    );
    let ask = |data| p.policies().hook("own", &HookInput { data, ..HookInput::default() });
    assert_eq!(ask(json!(null)).unwrap(), HookOutput::Ignored(String::new()));
    assert_eq!(ask(json!({"why": "no"})).unwrap(), HookOutput::Ignored("no".into()));
    let all = json!({"who": "ada", "files": ["a"], "revision": 7, "when_timestamp": 5, "properties": {"x": 1}, "outsider": true});
    let HookOutput::Changes(changes) = ask(json!({"list": [all]})).unwrap() else { panic!() };
    assert_eq!((changes[0].author.as_str(), changes[0].revision.as_deref()), ("ada", Some("7")));
    assert!(changes[0].outsider.is_some() && changes[0].when.unwrap().unix_timestamp() == 5);
    for (bad, said) in [
        (json!({"list": [{"autor": "x"}]}), "did you mean `author`?"),
        (json!({"list": 3}), "must return a list of dicts"),
        (json!({"list": ["x"]}), "a change is a dict"),
        (json!({"list": [{"files": 3}]}), "`files` of a change cannot be"),
        (json!({}), ""),
    ] {
        match ask(bad.clone()) {
            Ok(HookOutput::Ignored(_)) if bad == json!({}) => {}
            other => assert!(other.unwrap_err().to_string().contains(said), "{bad}"),
        }
    }
    let endless = project(
        "def f(r):\n    for i in range(1000000000):\n        pass\n\nc = {\"www\": {\"change_hook_dialects\": {\"own\": {\"function\": f, \"strict\": False}}}}\n",
    );
    assert!(endless.policies().hook("own", &HookInput::default()).is_err());
}

#[test]
fn the_manual_of_hooks_names_every_dialect_and_option_and_its_examples_are_good() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hooks.md")).unwrap();
    let said = errors(&dialects("\"zzz\": {}"))[0].to_string();
    let names = said.split("there are ").nth(1).unwrap().split(';').next().unwrap();
    for name in names.split(", ") {
        assert!(manual.contains(&format!("`{name}`")), "{name}");
    }
    for dialect in ["github", "poller", "gerrit", "bitbucket"] {
        let said = errors(&dialects(&format!("\"{dialect}\": {{\"qqqqqqqqqqqq\": 1}}")))[0].to_string();
        for option in said.split("there are ").nth(1).unwrap().lines().next().unwrap().split(", ") {
            assert!(manual.contains(option), "{dialect} {option}");
        }
    }
    let examples = manual.split("```python\n").skip(1).map(|e| e.split("```").next().unwrap());
    let mut seen = 0;
    for example in examples {
        seen += 1;
        let builder = "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"release\", workernames = [\"*\"], factory = util.BuildFactory())]\n";
        evaluate(&format!("{builder}{example}")).unwrap_or_else(|e| panic!("{example}\n{e}"));
    }
    assert_eq!(seen, 3);
}
