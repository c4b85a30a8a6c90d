//! What happened: a record for each row that a Tidemill would have kept.
//! Times are microseconds since 1970. Ids are those of the database, but builder,
//! worker, project, branch and author are places in [`super::world::World`] and
//! [`super::simulate::Simulation::branches`].

/// Result codes, as model::Results has them.
pub const SUCCESS: u8 = 0;
pub const WARNINGS: u8 = 1;
pub const FAILURE: u8 = 2;
pub const SKIPPED: u8 = 3;
pub const EXCEPTION: u8 = 4;
pub const RETRY: u8 = 5;
pub const CANCELLED: u8 = 6;

#[derive(Clone, Debug)]
pub struct Branch {
    pub project: usize,
    pub name: String,
    pub line: [u8; 16],
    /// Changes on it so far.
    pub length: u32,
    pub head: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Change {
    pub id: i64,
    pub branch: usize,
    pub author: usize,
    pub made_at: i64,
    pub received_at: i64,
    pub parent: Option<i64>,
}

impl Change {
    /// Its commit's name; the source stamp has the change's id as its own.
    pub fn revision(&self) -> String {
        let mut rng = super::random::Rng::new(self.id as u64);
        format!("{:016x}{:016x}{:08x}", rng.word(), rng.word(), rng.word() as u32)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Commits,
    Nightly,
    Forced,
}

#[derive(Clone, Debug)]
pub struct Buildset {
    pub id: i64,
    pub kind: Kind,
    pub branch: usize,
    pub head: i64,
    pub changes: Vec<i64>,
    pub submitted_at: i64,
    pub complete_at: i64,
    pub results: u8,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub id: i64,
    pub buildset: i64,
    pub builder: usize,
    pub priority: i32,
    pub submitted_at: i64,
    /// Start of its first build.
    pub claimed_at: Option<i64>,
    pub complete_at: i64,
    pub results: u8,
    pub attempts: u32,
    pub collapsed_into: Option<i64>,
    pub reason: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Step {
    /// Place in [`super::world::STEPS`].
    pub name: u8,
    pub results: u8,
    pub started_at: i64,
    pub complete_at: i64,
    /// None without locks.
    pub lock_wait: Option<i64>,
    pub log_bytes: Option<i64>,
    pub statistic: Option<(&'static str, f64)>,
}

#[derive(Clone, Debug)]
pub struct Build {
    pub id: i64,
    pub builder: usize,
    pub number: i64,
    pub request: i64,
    pub branch: usize,
    /// The newest change that it built.
    pub head: i64,
    pub worker: usize,
    pub session: i64,
    pub attempt: u32,
    pub waiting_since: i64,
    pub started_at: i64,
    pub complete_at: i64,
    pub results: u8,
    pub steps: Vec<Step>,
    /// Of each test whether it passed, and its seconds.
    pub tests: Vec<(bool, f64)>,
    pub notices: Vec<Notice>,
}

impl Build {
    pub fn log_bytes(&self) -> i64 {
        self.steps.iter().filter_map(|s| s.log_bytes).sum()
    }

    pub fn lock_wait(&self) -> i64 {
        self.steps.iter().filter_map(|s| s.lock_wait).sum()
    }
}

#[derive(Clone, Debug)]
pub struct Notice {
    pub irc: bool,
    pub author: usize,
    pub state: &'static str,
    pub attempts: i32,
    pub planned_at: i64,
    pub ended_at: i64,
}

/// One life of a worker's process.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: i64,
    pub worker: usize,
    pub opened_at: i64,
    /// When it was heard of last.
    pub seen_at: i64,
    pub open: bool,
}

/// What came to its end since the last look. Builds come with their buildset.
#[derive(Default)]
pub struct Records {
    pub changes: Vec<Change>,
    pub buildsets: Vec<(Buildset, Vec<Request>)>,
    pub builds: Vec<Build>,
    pub sessions: Vec<Session>,
}
