//! JSON to addresses.

use super::{DEBUG, OLD, OLD_TAGS, REPORTER, VERIFY};
use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Param, Spec, ignored, optional, required};

const AUTH: Param = optional("auth", LOGIN, "", "User and password, the password best a `util.Secret`.");
const HEADER: Param = optional(
    "headers",
    HEADERS,
    "{}",
    "Further headers: texts, secrets, or placeholders such as `util.Interpolate(\"Bearer %(secret:NAME)s\")`.",
);
const CERT: Param = optional(
    "cert",
    CERTIFICATE,
    "",
    "A client's certificate: a file that holds it and its key, or a pair of files, on the notifier's machine.",
);

static HTTP: Spec = Spec {
    name: "reporters.HttpStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            required("serverUrl", SECRET, "The address; a `util.Secret` where it holds one."),
            AUTH,
            HEADER,
            VERIFY,
            CERT,
            DEBUG,
            ignored("skip_encoding", "a body is JSON, in UTF-8"),
        ],
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 1,
    doc: "Posts JSON to an address: without `generators`, the build, when it begins and when it is over. What is not taken with a \
          status of 2xx is sent again, with the same `webhook-id`.",
    example: "reporters.HttpStatusPush(\n    \"https://example.org/builds\", headers = {\"Authorization\": util.Interpolate(\"Bearer %(secret:push)s\")},\n    generators = [reporters.BuildStatusGenerator(mode = \"all\", message_formatter = reporters.MessageFormatterFunction(\n        lambda ctx: {\"text\": ctx[\"summary\"], \"url\": ctx[\"build_url\"]}, \"json\"))],\n)",
};

static WEBHOOK: Spec = Spec {
    name: "reporters.Webhook",
    kind: Kind::Reporter,
    params: &[
        &[
            required("url", SECRET, "The address; a `util.Secret` where it holds one."),
            optional(
                "secret",
                SECRETS,
                "",
                "What the receiver checks the signature by: a `util.Secret`, or two while one replaces the other. Without it nothing is signed.",
            ),
            HEADER,
            AUTH,
            VERIFY,
            CERT,
        ],
        REPORTER,
    ],
    positional: 1,
    doc: "Posts JSON that proves where it comes from, by the headers of Standard Webhooks: `webhook-id` (the same when it is sent \
          again), `webhook-timestamp` and `webhook-signature` (`v1,` and the HMAC-SHA256 of id, timestamp and body, in base64). A \
          secret is `whsec_` and base64 of 24 to 64 random bytes. Without `generators`, it tells the beginning and the end of each build.",
    example: "reporters.Webhook(\"https://example.org/hook\", secret = util.Secret(\"webhook\"), generators = [reporters.BuildStatusGenerator(mode = \"all\")])",
};

pub(super) const SPECS: &[&Spec] = &[&HTTP, &WEBHOOK];
