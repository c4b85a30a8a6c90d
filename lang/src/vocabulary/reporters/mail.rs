//! Mail, and where addresses come from.

use super::{OLD, OLD_TAGS, REPORTER, VERIFY};
use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Spec, ignored, optional, required};

static MAIL: Spec = Spec {
    name: "reporters.MailNotifier",
    kind: Kind::Reporter,
    params: &[
        &[
            required("fromaddr", TEXT, "The sender, such as `ci@example.org` or `Builds <ci@example.org>`."),
            optional("relayhost", TEXT, "\"localhost\"", "The host that takes the mails."),
            optional(
                "lookup",
                LOOKUP,
                "",
                "From the name of a person to an address: a domain that is put behind it, a dict, a function of the name that returns an address or `None`, `util.MailMap` or `util.LdapLookup`. Without it, a name that holds an address is told there, and others are not told.",
            ),
            optional("extraRecipients", TEXTS, "[]", "Addresses that get each message."),
            optional(
                "sendToInterestedUsers",
                BOOL,
                "True",
                "Whether those are told whose changes a build has; when, `blame` of the generator says.",
            ),
            optional(
                "extraHeaders",
                HEADERS,
                "{}",
                "Further headers: texts, or placeholders such as `util.Interpolate`.",
            ),
            optional(
                "useTls",
                BOOL,
                "False",
                "STARTTLS, or nothing is sent. Without it, STARTTLS where the server offers it.",
            ),
            optional("useSmtps", BOOL, "False", "TLS from the first byte; most often with `smtpPort = 465`."),
            optional(
                "tls",
                OPTIONAL_TEXT,
                "",
                "Instead of the two: `\"none\"`, `\"opportunistic\"`, `\"required\"` or `\"smtps\"`.",
            ),
            VERIFY,
            optional("smtpUser", SECRET, "", "The user, where the server asks for one."),
            optional("smtpPassword", SECRET, "", "The password, best a `util.Secret`."),
            optional("smtpPort", PORT, "25", "The port."),
            optional(
                "unsubscribe",
                BOOL,
                "True",
                "Messages carry a link with which the recipient leaves this reporter.",
            ),
            optional(
                "excerptLines",
                COUNT,
                "40",
                "Lines of the failed step's log, around its first error, that the default text shows.",
            ),
            optional(
                "attachmentsMax",
                COUNT,
                "1048576",
                "Bytes of all attachments of a message; what is beyond is left out, and said.",
            ),
            ignored("dumpMailsToLog", "deliveries show what was sent"),
        ],
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 1,
    doc: "Mails the results of builds. The messages of one builder and branch are one thread. Without `generators` it tells each \
          build that fails, passes or has warnings, with the patch of a try. Who is interested in a build are the authors of \
          its changes and its owners.",
    example: "reporters.MailNotifier(\n    \"ci@example.org\", relayhost = \"smtp.example.org\", useTls = True, smtpUser = \"ci\", smtpPassword = util.Secret(\"smtp\"),\n    extraRecipients = [\"team@example.org\"], lookup = \"example.org\",\n    generators = [reporters.BuildStatusGenerator(mode = [\"problem\", \"exception\"])],\n)",
};

static MAIL_MAP: Spec = Spec {
    name: "util.MailMap",
    kind: Kind::Lookup,
    params: &[&[required("text", TEXT, "Lines as in git's `.mailmap`, such as `Ada <ada@example.org> <ada@laptop>`.")]],
    positional: 1,
    doc: "For `lookup` of reporters.MailNotifier: from names and addresses in commits to those that are right.",
    example: "util.MailMap(\"Ada Lovelace <ada@example.org> <ada@laptop>\\nGrace Hopper <grace@example.org> ghopper <>\")",
};

static LDAP: Spec = Spec {
    name: "util.LdapLookup",
    kind: Kind::Lookup,
    params: &[&[
        required("url", TEXT, "`ldap://HOST` or `ldaps://HOST`."),
        required("base", TEXT, "Where the search begins, such as `ou=people,dc=example,dc=org`."),
        optional("filter", TEXT, "\"(uid=%s)\"", "The search; `%s` is the name of the person, escaped."),
        optional("attribute", TEXT, "\"mail\"", "The attribute that holds the address."),
        optional("bindUser", OPTIONAL_TEXT, "", "Who asks; without it nobody in particular."),
        optional("bindPassword", SECRET, "", "The password, best a `util.Secret`."),
    ]],
    positional: 2,
    doc: "For `lookup` of reporters.MailNotifier: addresses are in a directory.",
    example: "util.LdapLookup(\"ldaps://ldap.example.org\", \"ou=people,dc=example,dc=org\")",
};

pub(super) const SPECS: &[&Spec] = &[&MAIL];
pub(super) const UTIL_SPECS: &[&Spec] = &[&LDAP, &MAIL_MAP];
