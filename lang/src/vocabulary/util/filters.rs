//! Filters over changes and source stamps, and links of revisions.

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, optional, required};

const ATTRIBUTES: &[Param] = &[
    optional("project", VALUES, "", "Is this text, or one of a list."),
    optional("project_not_eq", VALUES, "", "Is not."),
    optional("project_re", PATTERNS, "", "Matches this regular expression, or one of a list, from its start."),
    optional("project_not_re", PATTERNS, "", "Does not."),
    optional("project_fn", FUNCTION, "", "Makes this function answer true."),
    optional("repository", VALUES, "", "Is this text, or one of a list."),
    optional("repository_not_eq", VALUES, "", "Is not."),
    optional("repository_re", PATTERNS, "", "Matches this regular expression, or one of a list, from its start."),
    optional("repository_not_re", PATTERNS, "", "Does not."),
    optional("repository_fn", FUNCTION, "", "Makes this function answer true."),
    optional("branch", VALUES, "", "Is this text, or one of a list."),
    optional("branch_not_eq", VALUES, "", "Is not."),
    optional("branch_re", PATTERNS, "", "Matches this regular expression, or one of a list, from its start."),
    optional("branch_not_re", PATTERNS, "", "Does not."),
    optional("branch_fn", FUNCTION, "", "Makes this function answer true."),
    optional("category", VALUES, "", "Is this text, or one of a list."),
    optional("category_not_eq", VALUES, "", "Is not."),
    optional("category_re", PATTERNS, "", "Matches this regular expression, or one of a list, from its start."),
    optional("category_not_re", PATTERNS, "", "Does not."),
    optional("category_fn", FUNCTION, "", "Makes this function answer true."),
    optional("codebase", VALUES, "", "Is this text, or one of a list."),
    optional("codebase_not_eq", VALUES, "", "Is not."),
    optional("codebase_re", PATTERNS, "", "Matches this regular expression, or one of a list, from its start."),
    optional("codebase_not_re", PATTERNS, "", "Does not."),
    optional("codebase_fn", FUNCTION, "", "Makes this function answer true."),
];

static CHANGE_FILTER: Spec = Spec {
    name: "util.ChangeFilter",
    kind: Kind::ChangeFilter,
    params: &[
        &[
            optional("filter_fn", FUNCTION, "", "A function of the whole change."),
            optional("property_eq", PROPERTIES, "{}", "Properties of the change, by name, have these values."),
            optional("property_not_eq", PROPERTIES, "{}", "They do not."),
            optional(
                "property_re",
                PATTERNS_BY_NAME,
                "{}",
                "Properties, by name, match these regular expressions from their start.",
            ),
            optional("property_not_re", PATTERNS_BY_NAME, "{}", "They do not."),
        ],
        ATTRIBUTES,
    ],
    positional: 0,
    doc: "Which changes a scheduler takes. All conditions given must hold. `branch = None` means changes without a branch; \
          for the other attributes `None` is no condition. A missing branch or category never matches a `_re` condition and \
          always matches a `_not_re` one. Regular expressions have no look-around.",
    example: "util.ChangeFilter(branch = [\"main\", None], project_re = \"lib-\", category_not_eq = \"nightly\")",
};

static SOURCESTAMP_FILTER: Spec = Spec {
    name: "util.SourceStampFilter",
    kind: Kind::Part,
    params: &[&[optional("filter_fn", FUNCTION, "", "A function of the whole source stamp.")], ATTRIBUTES],
    positional: 0,
    doc: "The same over source stamps.",
    example: "util.SourceStampFilter(branch_re = \"release\")",
};

static REVLINK_MATCH: Spec = Spec {
    name: "util.RevlinkMatch",
    kind: Kind::Revlink,
    params: &[&[
        required(
            "repo_urls",
            PATTERNS,
            "A regular expression for repositories, or several; they match from their start.",
        ),
        required("revlink", TEXT, "The link: `%s` is the revision, `\\\\1` … are groups of the expression."),
    ]],
    positional: 2,
    doc: "How revisions of some repositories become links, for `c[\"revlink\"]`.",
    example: "util.RevlinkMatch([\"https://example.org/(.*)\\\\.git\"], \"https://example.org/\\\\1/commit/%s\")",
};

static COLLAPSE_KEY: Spec = Spec {
    name: "util.CollapseKey",
    kind: Kind::CollapseKey,
    params: &[&[required(
        "function",
        CALLABLE,
        "Function of builder and request that returns a value, or `None` to keep the request apart.",
    )]],
    positional: 1,
    doc: "Merges waiting requests of a builder that have the same key. Asked once for each request, so it costs the same at any length of the queue.",
    example: "util.CollapseKey(lambda builder, request: [request.source.branch, request.reason])",
};

pub(super) const SPECS: &[&Spec] = &[&CHANGE_FILTER, &SOURCESTAMP_FILTER, &REVLINK_MATCH, &COLLAPSE_KEY];
