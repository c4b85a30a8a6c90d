//! Values that only a build has.

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, optional, required};

static INTERPOLATE: Spec = Spec {
    name: "util.Interpolate",
    kind: Kind::Interpolate,
    params: &[&[
        required(
            "fmtstring",
            TEXT,
            "The text, with `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s`, `%(kw:NAME)s`, `%(secret:NAME)s`, `%(worker:NAME)s`, or `%s`.",
        ),
        optional(
            "strict",
            BOOL,
            "False",
            "A value that is missing, and that no operator stands in for, is an error instead of nothing.",
        ),
    ]],
    positional: 1,
    doc: "A text with values put in. More arguments without a name are for `%s`, those with a name for `%(kw:NAME)s`. After a \
          name may stand `:-text` (if there is no value), `:~text` (if it is missing or false), `:+text` (if there is one), \
          `:?|yes|no` and `:#?|yes|no` (one or the other, by whether it is there or true).",
    example: "util.Interpolate(\"dist-%(prop:got_revision:-unknown)s.tar\", strict = True)",
};

static WITH_PROPERTIES: Spec = Spec {
    name: "util.WithProperties",
    kind: Kind::WithProperties,
    params: &[&[required(
        "fmtstring",
        TEXT,
        "The text, with `%(NAME)s`, `%(NAME:-text)s`, `%(NAME:~text)s`, `%(NAME:+text)s`, or `%s`.",
    )]],
    positional: 1,
    doc: "The older form of `util.Interpolate`, for properties alone: more arguments without a name are names of properties for \
          `%s`, those with a name are functions of the build for `%(NAME)s`.",
    example: "util.WithProperties(\"build-%s\", \"branch\")",
};

static PROPERTY: Spec = Spec {
    name: "util.Property",
    kind: Kind::Property,
    params: &[&[
        required("key", TEXT, "Its name."),
        optional("default", ANY, "", "What stands in for a property that is missing or false."),
        optional("defaultWhenFalse", BOOL, "True", "`False`: only where it is missing."),
    ]],
    positional: 2,
    doc: "The value of a property, of any type. Comparing it (`==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`) or computing \
          with it (`+`, `-`, `*`, `/`, `//`, `%`, `&`) makes a placeholder again; so do these with any other placeholder.",
    example: "util.Property(\"jobs\", 4)",
};

static RENDERER: Spec = Spec {
    name: "util.renderer",
    kind: Kind::Renderer,
    params: &[&[required("function", CALLABLE, "Function of the build's properties, and of further arguments.")]],
    positional: 1,
    doc: "The result of a function, called when the step starts. `.withArgs(…)` gives it further arguments, which may be placeholders.",
    example: "util.renderer(lambda props: [\"make\", props.getProperty(\"target\", \"all\")])",
};

static TRANSFORM: Spec = Spec {
    name: "util.Transform",
    kind: Kind::Transform,
    params: &[&[required("function", CALLABLE_OR_PLACEHOLDER, "The function.")]],
    positional: 1,
    doc: "The result of a function of rendered values: the further arguments are rendered first.",
    example: "util.Transform(lambda branch: branch.upper(), util.Property(\"branch\", \"none\"))",
};

static FLATTEN_LIST: Spec = Spec {
    name: "util.FlattenList",
    kind: Kind::FlattenList,
    params: &[&[
        required("nestedlist", R_VALUE, "Lists in lists."),
        optional("types", ANY, "", "No effect: lists and tuples are flattened."),
    ]],
    positional: 2,
    doc: "Lists in lists as one list. Adding a list gives another.",
    example: "util.FlattenList([[\"make\"], util.Property(\"arguments\", [])])",
};

static SECRET: Spec = Spec {
    name: "util.Secret",
    kind: Kind::Secret,
    params: &[&[required("key", TEXT, "Its name.")]],
    positional: 1,
    doc: "A secret, by reference: its value is put in by the worker alone, and masked in every log.",
    example: "util.Secret(\"upload-key\")",
};

static URL_FOR_BUILD: Spec = Spec {
    name: "util.URLForBuild",
    kind: Kind::UrlForBuild,
    params: &[],
    positional: 0,
    doc: "The address of the build's page. Written without brackets, or with.",
    example: "util.Interpolate(\"see %(kw:url)s\", url = util.URLForBuild)",
};

pub(super) const SPECS: &[&Spec] =
    &[&INTERPOLATE, &WITH_PROPERTIES, &PROPERTY, &RENDERER, &TRANSFORM, &FLATTEN_LIST, &SECRET, &URL_FOR_BUILD];
