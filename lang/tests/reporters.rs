//! Reporters as the project file gives them: what is read, what is refused, and what they say.

mod support;

use serde_json::{Value, json};
use support::{evaluate, project};
use tidemill_lang::definition::{
    BlameWhen, FormatterDef, GeneratorKind, IrcAllowed, LogsWanted, LookupDef, MailTls, Mode, NotifyEvent, ReporterDef,
    ReporterKind, SecretText, TemplateType,
};
use tidemill_lang::policies::{GerritCall, GerritReview, Which};
use tidemill_lang::reference::reference;
use tidemill_lang::template::sample::sample;
use tidemill_lang::{Project, Severity, secret};

fn text(services: &str) -> String {
    format!(
        "f = util.BuildFactory([steps.ShellCommand(command = \"true\")])\n\
         c = {{\"builders\": [util.BuilderConfig(name = n, workernames = [\"*\"], factory = f, tags = [\"release\"]) for n in [\"linux\", \"mac\"]]}}\n\
         c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"main\", builderNames = [\"linux\"])]\n\
         c[\"workers\"] = [worker.Worker(\"w1\")]\n\
         c[\"services\"] = [{services}]\n"
    )
}

fn reporter(service: &str) -> (Project, ReporterDef) {
    let project = project(&text(service));
    let definition = project.definition().reporters[0].clone();
    (project, definition)
}

fn mail(more: &str) -> String {
    format!("reporters.MailNotifier(\"ci@example.org\", {more})")
}

fn generator(generator: &str) -> String {
    mail(&format!("generators = [{generator}]"))
}

/// A message formatted by this formatter, for a failed build.
fn said(formatter: &str, context: &Value) -> Option<tidemill_lang::policies::FormatOutput> {
    let (project, _) =
        reporter(&generator(&format!("reporters.BuildStatusGenerator(message_formatter = {formatter})")));
    project.policies().format("MailNotifier", 0, Which::End, context).unwrap_or_else(|e| panic!("{e}"))
}

fn document() -> Value {
    let mut document = sample(GeneratorKind::Build);
    document["build"]["properties"] = json!({"owner": ["ada", "Force"], "buildername": ["linux", "Builder"]});
    document
}

#[test]
fn every_reporter_of_the_reference_is_taken_as_its_example_writes_it() {
    let mut seen = 0;
    for item in reference().items.iter().filter(|i| i.namespace == "reporters" && !i.example.is_empty()) {
        let service = match item.name.as_str() {
            name if name.contains("Generator") => generator(&item.example),
            "reporters.MessageFormatterMissingWorker" => {
                generator(&format!("reporters.WorkerMissingGenerator(message_formatter = {})", item.example))
            }
            name if name.contains("Formatter") => {
                generator(&format!("reporters.BuildStatusGenerator(message_formatter = {})", item.example))
            }
            _ => item.example.clone(),
        };
        let project = evaluate(&text(&service)).unwrap_or_else(|e| panic!("{}: {e}", item.name));
        assert!(project.warnings().is_empty(), "{}: {:?}", item.name, project.warnings());
        assert_eq!(project.definition().reporters.len(), 1, "{}", item.name);
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn a_mail_notifier_is_read_with_buildbots_defaults_and_its_secrets_by_name_only() {
    let (project, definition) = reporter(&mail(
        "relayhost = \"smtp.example.org\", useTls = True, smtpUser = \"ci\", smtpPassword = util.Interpolate(\"%(secret:smtp)s\"), \
         smtpPort = 587, extraRecipients = [\"team@example.org\"], lookup = {\"ada\": \"ada@example.org\"}, maxAge = 60, digest = 30",
    ));
    let ReporterKind::Mail(mail) = &definition.kind else { panic!("{definition:?}") };
    assert_eq!((mail.tls, mail.port, mail.send_to_interested_users), (MailTls::Required, 587, true));
    assert_eq!(mail.password, Some(SecretText::Secret { name: "smtp".into() }));
    assert_eq!(project.definition().secrets, ["smtp"]);
    assert_eq!((definition.max_age_us, definition.digest_us), (60_000_000, Some(30_000_000)));
    let usual = &definition.generators[0];
    assert_eq!((usual.kind, usual.add_patch), (GeneratorKind::Build, true));
    assert_eq!(usual.modes, Mode::DEFAULT);
    assert_eq!(usual.blame.when, BlameWhen::Turn);
    assert!(definition.location.ends_with(":5") && project.warnings().is_empty());

    let (_, plain) = reporter("reporters.MailNotifier(\"ci@example.org\")");
    let ReporterKind::Mail(mail) = &plain.kind else { panic!() };
    assert_eq!((mail.relayhost.as_str(), mail.port, mail.tls), ("localhost", 25, MailTls::Opportunistic));
    assert_eq!((plain.name.as_str(), plain.max_age_us, plain.digest_us), ("MailNotifier", 259_200_000_000, None));
}

#[test]
fn modes_are_names_lists_all_and_the_old_meaning_of_warnings() {
    for (mode, wanted) in [
        ("\"failing\"", vec![Mode::Failing]),
        ("\"warnings\"", vec![Mode::Failing, Mode::Warnings]),
        ("\"all\"", Mode::EVERY_END.to_vec()),
        ("[\"change\", \"problem\"]", vec![Mode::Change, Mode::Problem]),
        (
            "(\"passing\", \"all\")",
            vec![Mode::Passing, Mode::Failing, Mode::Warnings, Mode::Exception, Mode::Cancelled],
        ),
    ] {
        let (_, definition) = reporter(&generator(&format!("reporters.BuildStatusGenerator(mode = {mode})")));
        assert_eq!(definition.generators[0].modes, wanted, "{mode}");
    }
    let (_, definition) = reporter(&generator(
        "reporters.BuildSetStatusGenerator(builders = [\"linux\"], schedulers = [\"main\"], branches = [\"main\", None], per_branch = True, \
         blame = \"always\", mute_flaky = 4, add_logs = [\"compile.stdio\"]), reporters.WorkerMissingGenerator(), \
         reporters.BuildRequestGenerator(tags = [\"release\"])",
    ));
    let [set, missing, request] = definition.generators.as_slice() else { panic!() };
    assert_eq!(set.branches, Some(vec![Some("main".into()), None]));
    assert_eq!((set.blame.when, set.blame.mute_flaky, set.per_branch), (BlameWhen::Always, Some(4), true));
    assert!(set.add_logs.takes("compile", "stdio") && !set.add_logs.takes("test", "stdio"));
    assert_eq!((missing.kind, &missing.workers), (GeneratorKind::WorkerMissing, &None));
    assert_eq!(request.tags.as_deref(), Some(["release".to_owned()].as_slice()));
}

#[test]
fn what_cannot_be_meant_is_refused_at_its_place_with_what_would_be_right() {
    for (service, wanted) in [
        (mail("sendToInterestedUsers = False"), "mails nobody"),
        (mail("relayhost = \"\""), "`relayhost` of reporters.MailNotifier is empty"),
        (mail("extraRecipients = [\"team\"]"), "\"team\" is no mail address"),
        (mail("extraHeaders = {\"X\\nBcc\": \"x\"}"), "is no name of a header"),
        (mail("extraHeaders = {\"X\": util.Secret(\"x\")}"), "holds the secret `x`"),
        (mail("mode = \"failing\""), "write generators = [reporters.BuildStatusGenerator(mode = …)]"),
        (mail("lookup = util.MailMap(\"nobody\")"), "line 1 of util.MailMap"),
        ("reporters.MailNotifier(\"ci\")".to_owned(), "is no mail address"),
        (format!("{}, {}", mail(""), mail("")), "two services named `MailNotifier`"),
        (generator("reporters.BuildStatusGenerator(mode = [\"faling\"])"), "did you mean \"failing\"?"),
        (generator("reporters.BuildStatusGenerator(builders = [\"linus\"])"), "did you mean `linux`?"),
        (generator("reporters.BuildStatusGenerator(schedulers = [\"mian\"])"), "did you mean `main`?"),
        (generator("reporters.WorkerMissingGenerator(workers = [\"w2\"])"), "names the worker `w2`"),
        (generator("reporters.BuildStatusGenerator(blame = \"turns\")"), "did you mean \"turn\"?"),
        (generator("reporters.BuildSetCombinedStatusGenerator(mode = \"change\")"), "a buildset has none before it"),
        (generator("reporters.BuildStatusGenerator(tags = [\"a\"], builders = [\"linux\"])"), "has both"),
        (
            generator(
                "reporters.BuildStatusGenerator(message_formatter = reporters.MessageFormatter(template = \"{{ buildname }}\"))",
            ),
            "did you mean `buildername`?",
        ),
        (
            generator(
                "reporters.BuildStatusGenerator(message_formatter = reporters.MessageFormatter(subject = \"{% if %}\"))",
            ),
            "line 1, column",
        ),
        (
            generator(
                "reporters.BuildStatusGenerator(message_formatter = reporters.MessageFormatter(template_type = \"text\"))",
            ),
            "`template_type`",
        ),
        ("reporters.IRC(\"irc.example.org\", \"bot\", [\"builds\"])".to_owned(), "did you mean \"#builds\"?"),
        ("reporters.IRC(\"irc.example.org\", \"b ot\", [\"#b\"])".to_owned(), "is no nick"),
        ("reporters.IRC(\"i\", \"b\", [\"#b\"], notify_events = [\"recover\"])".to_owned(), "did you mean `recovery`?"),
        ("reporters.IRC(\"i\", \"b\", [\"#b\"], allowForce = True)".to_owned(), "write authz = "),
        ("reporters.IRC(\"i\", \"b\", [\"#b\"], authz = {\"farce\": True})".to_owned(), "did you mean `force`?"),
        ("reporters.GitHubStatusPush(util.Property(\"x\"))".to_owned(), "has no value outside of a build"),
        ("reporters.GitLabStatusPush(util.Secret(\"x\"), baseURL = \"gitlab\")".to_owned(), "must be an address"),
        ("reporters.BitbucketStatusPush()".to_owned(), "needs `oauth_key` and `oauth_secret`, or `auth`"),
        ("reporters.BitbucketServerCoreAPIStatusPush(\"https://x\")".to_owned(), "needs either `token` or `auth`"),
        ("reporters.GerritStatusPush(\"g\", \"ci\", notify = \"OWNERS\")".to_owned(), "did you mean \"OWNER\"?"),
    ] {
        let Err(found) = evaluate(&text(&service)) else { panic!("{service} is taken") };
        let said = found.to_string();
        assert!(said.contains(wanted), "{service}: {said}");
        assert_eq!(found.errors().count(), 1, "{service}: {said}");
    }
}

#[test]
fn what_is_doubtful_is_said_and_taken() {
    for (service, wanted) in [
        (mail("smtpUser = \"ci\", smtpPassword = \"plain\""), "stands in the file"),
        ("reporters.GitHubStatusPush(\"token\")".to_owned(), "stands in the file"),
        ("reporters.Webhook(\"https://example.org\")".to_owned(), "has no `secret`"),
        (generator("reporters.BuildStatusGenerator(tags = [\"relase\"])"), "no builder has the tag `relase`"),
        (
            "reporters.GitHubStatusPush(util.Secret(\"x\"), startDescription = \"x\", generators = [reporters.BuildStatusGenerator()])".to_owned(),
            "`startDescription` of reporters.GitHubStatusPush has no effect",
        ),
        (
            generator("reporters.WorkerMissingGenerator(message_formatter = reporters.MessageFormatter(template = \"{{ build.number }}\"))"),
            "`build` has no value in what this generator tells",
        ),
        ("reporters.TelegramBot(bot_token = \"x\")".to_owned(), "accepted but not run"),
    ] {
        let (warned, all) = match evaluate(&text(&service)) {
            Ok(project) => (project.warnings().to_vec(), String::new()),
            Err(found) => panic!("{service}: {found}"),
        };
        let one = warned.iter().filter(|w| w.severity == Severity::Warning && w.message.contains(wanted)).count();
        assert_eq!(one, 1, "{service}: {warned:?} {all}");
    }
}

#[test]
fn reporters_of_a_status_have_words_for_each_moment() {
    let (project, definition) = reporter(
        "reporters.GitHubStatusPush(util.Secret(\"github\"), context = util.Interpolate(\"ci/%(prop:owner)s\"), endDescription = util.Interpolate(\"%(prop:owner)s is done.\"))",
    );
    let ReporterKind::Github(forge) = &definition.kind else { panic!("{definition:?}") };
    assert_eq!(forge.base_url, "https://api.github.com");
    let kinds: Vec<GeneratorKind> = definition.generators.iter().map(|g| g.kind).collect();
    assert_eq!(kinds, [GeneratorKind::Request, GeneratorKind::BuildStartEnd]);
    let p = project.policies();
    let document = document();
    let says = |generator: usize, which: Which| {
        p.format("GitHubStatusPush", generator, which, &document).unwrap().unwrap().text().unwrap()
    };
    assert_eq!(says(0, Which::End), "Build pending.");
    assert_eq!(says(1, Which::Start), "Build started.");
    assert_eq!(says(1, Which::End), "ada is done.");
    assert_eq!(p.argument("GitHubStatusPush", "context", &document).unwrap().as_deref(), Some("ci/ada"));

    let (project, _) = reporter("reporters.GiteaStatusPush(\"https://g.example.org/\", util.Secret(\"x\"))");
    let p = project.policies();
    let argument = |name: &str| p.argument("GiteaStatusPush", name, &document).unwrap();
    assert_eq!(argument("context").as_deref(), Some("buildbot/linux"));
    assert_eq!(argument("context_pr").as_deref(), Some("buildbot/pull_request/linux"));
    let ReporterKind::Gitea(forge) = &project.definition().reporters[0].kind else { panic!() };
    assert_eq!(forge.base_url, "https://g.example.org");
    assert!(p.argument("nobody", "context", &document).is_err());
}

#[test]
fn headers_of_a_push_hold_marks_where_secrets_belong() {
    let (project, definition) = reporter(
        "reporters.HttpStatusPush(util.Secret(\"slack\"), auth = (\"ci\", util.Secret(\"push\")), cert = (\"/a.crt\", \"/a.key\"), verify = \"/ca.pem\", \
         headers = {\"Authorization\": util.Interpolate(\"Bearer %(secret:token)s for %(prop:owner)s\"), \"X-Team\": \"core\", \"X-Key\": util.Secret(\"key\")})",
    );
    let ReporterKind::Http(http) = &definition.kind else { panic!("{definition:?}") };
    assert_eq!(http.url, SecretText::Secret { name: "slack".into() });
    assert_eq!(http.access.cert.as_ref().unwrap().key.as_deref(), Some("/a.key"));
    assert_eq!(project.definition().secrets, ["key", "push", "slack", "token"]);
    let headers = project.policies().headers("HttpStatusPush", &document(), "m").unwrap();
    let value = |name: &str| &headers.iter().find(|(n, _)| n == name).unwrap().1;
    let resolved =
        |text: &str| secret::resolve(text, "m", |name| Ok::<_, ()>(format!("<{name}>"))).unwrap().into_owned();
    assert_eq!(resolved(value("Authorization")), "Bearer <token> for ada");
    assert_eq!((resolved(value("X-Key")), value("X-Team").as_str()), ("<key>".into(), "core"));
    // What is stored holds no more than names, and comes back as it was.
    let stored = serde_json::to_value(&definition).unwrap();
    assert_eq!(serde_json::from_value::<ReporterDef>(stored).unwrap(), definition);
}

#[test]
fn formatters_are_templates_functions_placeholders_or_empty() {
    let document = document();
    let out = said(
        "reporters.MessageFormatter(template = \"{{ team }}: {{ buildername }} {{ results }}\", subject = \"{{ result_names[results] }}\", ctx = {\"team\": \"core\", \"buildername\": \"no\"}, extra_info_cb = lambda ctx: {\"n\": ctx[\"build\"][\"number\"]})",
        &document,
    )
    .unwrap();
    assert_eq!((out.text().as_deref(), out.subject.as_deref()), (Some("core: linux 2"), Some("failure")));
    assert_eq!(out.extra["n"], json!(34));

    let html = said(
        "reporters.MessageFormatter(template = \"<b>{{ blamelist[0] }}</b>\", template_type = \"html\")",
        &document,
    );
    assert_eq!(html.unwrap().text().as_deref(), Some("<b>Ada &lt;ada@example.org&gt;</b>"));
    let subject = said("reporters.MessageFormatter(subject = \"only\")", &document).unwrap();
    assert_eq!((subject.body, subject.subject.as_deref()), (None, Some("only")));

    let json = said(
        "reporters.MessageFormatter(template = '{\"text\": \"by {{ blamelist[0] }}\", \"n\": {{ build.number }}}', template_type = \"json\")",
        &document,
    );
    assert_eq!(json.unwrap().body, Some(json!({"text": "by Ada <ada@example.org>", "n": 34})));

    let function = said(
        "reporters.MessageFormatterFunction(lambda ctx: {\"b\": ctx[\"build\"][\"number\"]}, \"json\")",
        &document,
    );
    assert_eq!(function.unwrap().body, Some(json!({"b": 34})));
    assert_eq!(said("reporters.MessageFormatterFunction(lambda ctx: None)", &document), None);
    for (function, wanted) in [("lambda ctx: ctx", "b"), ("lambda master, ctx: ctx", "b")] {
        let raw = function.replace(
            ": ctx",
            ": {\"body\": \"b\", \"type\": \"html\", \"subject\": \"s\", \"extra_info\": {\"x\": [1]}}",
        );
        let out = said(&format!("reporters.MessageFormatterFunctionRaw({raw})"), &document).unwrap();
        assert_eq!((out.text().as_deref(), out.template_type), (Some(wanted), TemplateType::Html));
        assert_eq!((out.subject.as_deref(), &out.extra["x"]), (Some("s"), &json!([1])));
    }
    let rendered =
        said("reporters.MessageFormatterRenderable(util.Interpolate(\"%(prop:owner)s %(src::branch)s\"))", &document);
    assert_eq!(rendered.unwrap().text().as_deref(), Some("ada main"));
    assert_eq!(said("reporters.MessageFormatterRenderable(None)", &document), None);
    assert_eq!(said("reporters.MessageFormatterEmpty()", &document).unwrap().text().as_deref(), Some(""));
    assert_eq!(said("None", &document).unwrap().text(), None);
}

#[test]
fn wants_follow_from_one_another() {
    let (_, definition) = reporter(&generator(
        "reporters.BuildStatusGenerator(message_formatter = reporters.MessageFormatterFunction(lambda ctx: \"\", want_logs_content = [\"stdio\"], want_properties = False))",
    ));
    let wants = definition.generators[0].formatter.wants();
    assert!(wants.steps && wants.logs && !wants.properties);
    assert_eq!(wants.logs_content, LogsWanted::Named(vec!["stdio".into()]));
    assert!(matches!(definition.generators[0].formatter, FormatterDef::Function { raw: false, .. }));
}

#[test]
fn a_function_that_fails_is_an_error_with_its_place_and_one_without_end_is_stopped() {
    for function in ["lambda ctx: ctx[\"nothing\"]", "lambda ctx: 5", "forever"] {
        let service = generator(&format!(
            "reporters.BuildStatusGenerator(message_formatter = reporters.MessageFormatterFunction({function}))"
        ));
        let text =
            format!("def forever(ctx):\n    for i in range(1000000000):\n        ctx = dict(ctx)\n{}", text(&service));
        let project = project(&text);
        let error = project.policies().format("MailNotifier", 0, Which::End, &document()).unwrap_err();
        assert!(error.to_string().contains("master.star:"), "{error}");
    }
}

#[test]
fn people_are_found_by_a_function_a_domain_or_their_own_address() {
    let find = |lookup: &str, name: &str| {
        let (project, definition) = reporter(&mail(lookup));
        assert!(matches!(definition.kind, ReporterKind::Mail(_)));
        project.policies().lookup("MailNotifier", name)
    };
    let function = "lookup = lambda name: name.lower() + \"@example.org\" if name != \"nobody\" else None";
    assert_eq!(find(function, "Ada").unwrap().as_deref(), Some("ada@example.org"));
    assert_eq!(find(function, "nobody").unwrap(), None);
    assert_eq!(find(function, "x\r\nBcc: y").unwrap(), None, "what would break a header is no address");
    assert!(find("lookup = lambda name: 5", "ada").is_err());
    assert_eq!(find("lookup = \"example.org\"", "ada").unwrap().as_deref(), Some("ada@example.org"));
    assert_eq!(find("", "Ada <ada@example.org>").unwrap().as_deref(), Some("ada@example.org"));
    assert_eq!(find("", "ada").unwrap(), None);
    let map = "lookup = util.MailMap(\"Ada <ada@example.org> <ada@laptop>\")";
    assert_eq!(find(map, "A <ada@laptop>").unwrap().as_deref(), Some("ada@example.org"));
    let (_, ldap) = reporter(&mail(
        "lookup = util.LdapLookup(\"ldaps://l\", \"dc=x\", bindUser = \"u\", bindPassword = util.Secret(\"l\"))",
    ));
    let ReporterKind::Mail(mail) = ldap.kind else { panic!() };
    assert!(matches!(mail.lookup, Some(LookupDef::Ldap(ldap)) if ldap.attribute == "mail"));
}

#[test]
fn a_bot_is_read_with_its_channels_events_and_who_may_do_what() {
    let (_, definition) = reporter(
        "reporters.IRC(\"irc.example.org\", \"bot\", [\"#a\", {\"channel\": \"#b\", \"password\": util.Secret(\"b\")}], port = 6697, useSSL = True, \
         notify_events = {\"exception\": 1, \"worker\": 0, \"problem\": True}, sasl = (\"bot\", util.Secret(\"irc\")), \
         authz = {\"*\": False, \"!\": [\"ada\"], (\"force\", \"stop\"): \"grace\"})",
    );
    let ReporterKind::Irc(irc) = &definition.kind else { panic!("{definition:?}") };
    assert_eq!(irc.channels[1].password, Some(SecretText::Secret { name: "b".into() }));
    assert_eq!(irc.notify_events, [NotifyEvent::Exception, NotifyEvent::Problem]);
    let rules: Vec<(&str, &IrcAllowed)> = irc.authz.iter().map(|r| (r.commands[0].as_str(), &r.allowed)).collect();
    assert_eq!(
        rules,
        [
            ("force", &IrcAllowed::Accounts(vec!["grace".into()])),
            ("!", &IrcAllowed::Accounts(vec!["ada".into()])),
            ("*", &IrcAllowed::Nobody)
        ]
    );
    assert!(definition.generators.is_empty());
}

#[test]
fn votes_on_gerrit_are_those_of_the_functions_or_a_line_for_each_build() {
    let (project, definition) = reporter(
        "reporters.GerritStatusPush(\"g\", \"ci\", \
         reviewCB = lambda name, build, result, master, arg: {\"message\": name + arg, \"labels\": {\"Verified\": -1 if result else 1}}, reviewArg = \"!\", \
         startCB = lambda name, build, arg: \"%s #%d\" % (name, build[\"number\"]))",
    );
    let kinds: Vec<GeneratorKind> = definition.generators.iter().map(|g| g.kind).collect();
    assert_eq!(kinds, [GeneratorKind::BuildStartEnd]);
    let p = project.policies();
    let vote = |call: GerritCall, context: &Value| p.gerrit("GerritStatusPush", call, context).unwrap().unwrap();
    let labels = |n: i64| [("Verified".to_owned(), n)].into();
    assert_eq!(vote(GerritCall::Review, &document()), GerritReview { message: "linux!".into(), labels: labels(-1) });
    assert_eq!(vote(GerritCall::Start, &document()).message, "linux #34");
    let summary = vote(GerritCall::Summary, &sample(GeneratorKind::BuildsetCombined));
    assert_eq!((summary.labels, summary.message.lines().count()), (labels(-1), 2));

    let (_, plain) = reporter("reporters.GerritStatusPush(\"g\", \"ci\")");
    assert_eq!(plain.generators[0].kind, GeneratorKind::BuildsetCombined);
}

#[test]
fn a_changed_reporter_is_shown_field_by_field() {
    let (old, _) = reporter(&mail("extraRecipients = [\"a@example.org\"]"));
    let (new, _) = reporter(&mail("extraRecipients = [\"b@example.org\"], digest = 5"));
    let changes = new.definition().diff(old.definition());
    let fields: Vec<&str> = changes.changed[0].fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(
        (changes.changed[0].name.as_str(), fields),
        ("MailNotifier", vec!["digest_us", "kind.mail.extra_recipients"])
    );
}
