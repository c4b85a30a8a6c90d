//! What a constructor takes: names, types, defaults and words for people, and
//! which Buildbot arguments have no effect or no support yet. The tables are in
//! [`crate::vocabulary`].

use super::tree::Tree;

/// A constructor of the vocabulary.
#[derive(Debug)]
pub(crate) struct Spec {
    /// With namespace, as people write it.
    pub name: &'static str,
    pub kind: Kind,
    /// In the order of positional arguments, group after group.
    pub params: &'static [&'static [Param]],
    /// How many of them may be given without a name.
    pub positional: usize,
    /// What it is, for the reference: a sentence, and more where needed.
    pub doc: &'static str,
    /// How it is written; evaluated by a test.
    pub example: &'static str,
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attribute of a custom step.
    Attribute,
    Builder,
    /// A service that cancels builds.
    Canceller,
    ChangeFilter,
    ChangeSource(SourceKind),
    CollapseKey,
    Factory,
    FlattenList,
    /// In what words a reporter speaks.
    Formatter,
    /// What a reporter tells.
    Generator,
    Interpolate,
    Lock,
    LockAccess,
    /// From names of people to addresses.
    Lookup,
    /// A log observer.
    Observer,
    /// A part of a declaration: a form field, a filter, …
    Part,
    ProjectEntry,
    Property,
    RemoteCommand,
    Renderer,
    Reporter,
    Revlink,
    Scheduler(RuleKind),
    Secret,
    SecretsProvider,
    ShellArg,
    Step(StepKind),
    /// `util.BuildStep`.
    StepMaker,
    Transform,
    UrlForBuild,
    WithProperties,
    Worker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepKind {
    Git,
    Svn,
    Mercurial,
    SetProperty,
    Shell,
    /// Its work is this function of the built-in library.
    Library {
        file: &'static str,
        function: &'static str,
    },
    /// Only as the base of `util.BuildStep`.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleKind {
    SingleBranch,
    AnyBranch,
    Dependent,
    Periodic,
    Nightly,
    NightlyTriggerable,
    Triggerable,
    Force,
    Custom,
    Declared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    Git,
    Custom,
    Declared,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub name: &'static str,
    pub status: Status,
    /// As it is written; empty for what is required or simply not there.
    pub default: &'static str,
    /// For the reference.
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Status {
    Required(Type),
    Optional(Type),
    /// An older name of another parameter.
    Alias(&'static str),
    /// Accepted, without an effect, for this reason.
    Ignored(&'static str),
    /// It was here in old releases of Buildbot: how it is written since.
    Moved(&'static str),
    /// Buildbot has it; Tidemill does not, yet.
    Later,
}

/// A type that an argument must have.
#[derive(Clone, Copy)]
pub(crate) struct Type {
    /// For «must be …».
    pub expected: &'static str,
    /// Whether it may hold placeholders.
    pub placeholder: bool,
    /// Placeholders in it read as text.
    pub fits: fn(&Tree) -> bool,
}

impl std::fmt::Debug for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }
}

impl Type {
    /// Why `tree` is not of this type: «must be …, got …».
    pub fn mismatch(&self, tree: &Tree) -> Option<String> {
        if tree.has_placeholder() && !self.placeholder {
            return Some(format!("must be {}; a placeholder has no value before a build runs", self.expected));
        }
        if matches!(tree, Tree::Placeholder) || (self.fits)(tree) {
            return None;
        }
        Some(format!("must be {}, got {}", self.expected, tree.describe()))
    }
}

pub(crate) const fn required(name: &'static str, ty: Type, doc: &'static str) -> Param {
    Param { name, status: Status::Required(ty), default: "", doc }
}

pub(crate) const fn optional(name: &'static str, ty: Type, default: &'static str, doc: &'static str) -> Param {
    Param { name, status: Status::Optional(ty), default, doc }
}

pub(crate) const fn alias(name: &'static str, to: &'static str) -> Param {
    Param { name, status: Status::Alias(to), default: "", doc: "" }
}

pub(crate) const fn ignored(name: &'static str, why: &'static str) -> Param {
    Param { name, status: Status::Ignored(why), default: "", doc: "" }
}

pub(crate) const fn moved(name: &'static str, to: &'static str) -> Param {
    Param { name, status: Status::Moved(to), default: "", doc: "" }
}

pub(crate) const fn later(name: &'static str) -> Param {
    Param { name, status: Status::Later, default: "", doc: "" }
}

impl Spec {
    /// Without its namespace.
    pub fn short(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, short)| short)
    }

    pub fn all(&self) -> impl Iterator<Item = &'static Param> + use<> {
        self.params.iter().flat_map(|group| group.iter())
    }

    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.all().find(|p| p.name == name)
    }

    /// The type of an argument that has an effect.
    pub fn type_of(&self, name: &str) -> Option<Type> {
        match self.param(name)?.status {
            Status::Required(ty) | Status::Optional(ty) => Some(ty),
            _ => None,
        }
    }

    /// Names to offer to people.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let live = |p: &&Param| matches!(p.status, Status::Required(_) | Status::Optional(_));
        self.all().filter(live).map(|p| p.name)
    }
}
