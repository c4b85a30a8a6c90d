//! `util.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, Type, alias, ignored, later, optional, required};
use crate::values::tree::Tree;

const FACTORY: Type =
    Type { expected: "a util.BuildFactory", placeholder: false, fits: |t| matches!(t, Tree::Factory) };
/// Each step is checked where it is added, so here any list will do.
const STEPS: Type = Type { expected: "a list of steps", placeholder: true, fits: |t| matches!(t, Tree::List(_)) };
const CALLABLE: Type = Type { expected: "a function", placeholder: false, fits: |t| matches!(t, Tree::Function) };
pub(super) const CHANGE_FILTER_OR_NONE: Type = Type {
    expected: "a util.ChangeFilter or None",
    placeholder: false,
    fits: |t| matches!(t, Tree::None) || matches!(t, Tree::Descriptor(s) if s.kind == Kind::ChangeFilter),
};

static BUILDER_CONFIG: Spec = Spec {
    name: "util.BuilderConfig",
    kind: Kind::Builder,
    params: &[&[
        required("name", TEXT),
        required("workernames", TEXTS),
        required("factory", FACTORY),
        optional("tags", TEXTS),
        optional("description", OPTIONAL_TEXT),
        optional("project", OPTIONAL_TEXT),
        optional("env", R_ENV),
        optional("properties", PROPERTIES),
        optional("defaultProperties", PROPERTIES),
        optional("collapseRequests", OPTIONAL_BOOL),
        optional("max_attempts", POSITIVE),
        alias("workername", "workernames"),
        alias("slavename", "workernames"),
        alias("slavenames", "workernames"),
        alias("mergeRequests", "collapseRequests"),
        ignored("builddir", "folders are named after the builder"),
        ignored("slavebuilddir", "folders are named after the builder"),
        ignored("workerbuilddir", "folders are named after the builder"),
        later("canStartBuild"),
        later("description_format"),
        later("do_build_if"),
        later("locks"),
        later("nextBuild"),
        later("nextSlave"),
        later("nextWorker"),
    ]],
    positional: 0,
};

static BUILD_FACTORY: Spec =
    Spec { name: "util.BuildFactory", kind: Kind::Factory, params: &[&[optional("steps", STEPS)]], positional: 1 };

static CHANGE_FILTER: Spec = Spec {
    name: "util.ChangeFilter",
    kind: Kind::ChangeFilter,
    params: &[&[
        optional("filter_fn", FUNCTION),
        optional("project", VALUES),
        optional("project_not_eq", VALUES),
        optional("project_re", PATTERNS),
        optional("project_not_re", PATTERNS),
        optional("project_fn", FUNCTION),
        optional("repository", VALUES),
        optional("repository_not_eq", VALUES),
        optional("repository_re", PATTERNS),
        optional("repository_not_re", PATTERNS),
        optional("repository_fn", FUNCTION),
        optional("branch", VALUES),
        optional("branch_not_eq", VALUES),
        optional("branch_re", PATTERNS),
        optional("branch_not_re", PATTERNS),
        optional("branch_fn", FUNCTION),
        optional("category", VALUES),
        optional("category_not_eq", VALUES),
        optional("category_re", PATTERNS),
        optional("category_not_re", PATTERNS),
        optional("category_fn", FUNCTION),
        optional("codebase", VALUES),
        optional("codebase_not_eq", VALUES),
        optional("codebase_re", PATTERNS),
        optional("codebase_not_re", PATTERNS),
        optional("codebase_fn", FUNCTION),
        later("property_eq"),
        later("property_not_eq"),
        later("property_re"),
        later("property_not_re"),
    ]],
    positional: 0,
};

static INTERPOLATE: Spec = Spec {
    name: "util.Interpolate",
    kind: Kind::Interpolate,
    params: &[&[required("fmtstring", TEXT)]],
    positional: 1,
};

static PROPERTY: Spec = Spec {
    name: "util.Property",
    kind: Kind::Property,
    params: &[&[required("key", TEXT), optional("default", ANY), optional("defaultWhenFalse", BOOL)]],
    positional: 2,
};

static RENDERER: Spec =
    Spec { name: "util.renderer", kind: Kind::Renderer, params: &[&[required("function", CALLABLE)]], positional: 1 };

pub(super) const SPECS: &[&Spec] =
    &[&BUILDER_CONFIG, &BUILD_FACTORY, &CHANGE_FILTER, &INTERPOLATE, &PROPERTY, &RENDERER];

pub(super) const LATER: &[&str] = &[
    "AnyPropertyParameter",
    "Authz",
    "BasicBuildFactory",
    "BasicSVN",
    "BooleanParameter",
    "BuildStep",
    "CPAN",
    "ChoiceStringParameter",
    "Codebase",
    "CodebaseParameter",
    "Distutils",
    "FileParameter",
    "FixedParameter",
    "FlattenList",
    "GNUAutoconf",
    "GitHubAuth",
    "InheritBuildParameter",
    "IntParameter",
    "JanitorConfigurator",
    "MasterLock",
    "NestedParameter",
    "PatchParameter",
    "Project",
    "QuickBuildFactory",
    "Secret",
    "ShellArg",
    "SourceStampFilter",
    "StringParameter",
    "TextParameter",
    "Transform",
    "Trial",
    "URLForBuild",
    "UserNameParameter",
    "UserPasswordAuth",
    "WithProperties",
    "WorkerChoiceParameter",
    "WorkerLock",
];
