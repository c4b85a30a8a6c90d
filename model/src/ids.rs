//! Typed ids. Each wraps the `bigint` key of one table; mixing two of them up
//! does not compile.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map($name)
            }
        }
    )*};
}

ids! {
    /// A recipe with a name that lasts, `builders.id`.
    BuilderId;
    /// One run of a builder, `builds.id`. Unique over all builders; people see the number.
    BuildId;
    /// What one scheduling decision asked for, `buildsets.id`.
    BuildsetId;
    /// One commit (or the like) that a source announced, `changes.id`.
    ChangeId;
    /// A poller or other origin of changes, `change_sources.id`.
    ChangeSourceId;
    /// An entry of the durable event stream, `events.id`.
    EventId;
    /// A log of a step, `logs.id`.
    LogId;
    /// A master replica, `masters.id`.
    MasterId;
    /// The wish for one build of one builder, `build_requests.id`.
    RequestId;
    /// An applied project configuration, `config_revisions.id`.
    RevisionId;
    /// `schedulers.id`.
    SchedulerId;
    /// One life of a worker process, `worker_sessions.id`.
    SessionId;
    /// `sourcestamps.id`.
    SourceStampId;
    /// `steps.id`.
    StepId;
    /// `workers.id`.
    WorkerId;
}
