//! Many notices that are due in one place at once, as one line: a channel is told
//! that a lot happened and where to look, not flooded.

use super::events::WorkerTurn;
use super::text::{clean, shorten};
use tidemill_model::Results;

/// Builds that failed are named, up to so many.
const NAMED: usize = 5;

/// A notice that goes with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    pub what: What,
    /// «linux #12».
    pub about: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Started,
    Ended(Results),
    Worker(WorkerTurn),
}

/// All of them: «and 12 more builds ended: 10 success, 2 failure (linux #14, mac #3) | URL».
pub fn digest(also: &[Also], url: &str) -> String {
    let mut parts = vec![];
    let ended = also.iter().filter(|a| matches!(a.what, What::Ended(_))).count();
    if ended > 0 {
        let counts = Results::ALL.into_iter().filter_map(|result| {
            let these: Vec<&Also> = also.iter().filter(|a| a.what == What::Ended(result)).collect();
            let bad = matches!(result, Results::Failure | Results::Exception);
            (!these.is_empty()).then(|| {
                let names = if bad { format!(" ({})", named(&these)) } else { String::new() };
                format!("{} {}{names}", these.len(), result.name())
            })
        });
        parts.push(format!("{ended} more builds ended: {}", counts.collect::<Vec<_>>().join(", ")));
    }
    let started = also.iter().filter(|a| a.what == What::Started).count();
    if started > 0 {
        parts.push(format!("{started} more builds started"));
    }
    for turn in WorkerTurn::ALL {
        let these: Vec<&Also> = also.iter().filter(|a| a.what == What::Worker(turn)).collect();
        if !these.is_empty() {
            parts.push(format!("{} workers {} ({})", these.len(), turn.name(), named(&these)));
        }
    }
    format!("and {} | {}", parts.join("; "), clean(url))
}

fn named(these: &[&Also]) -> String {
    let names: Vec<String> = these.iter().take(NAMED).map(|a| shorten(&clean(&a.about), 40)).collect();
    let more = if these.len() > NAMED { " …" } else { "" };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_counted_and_what_failed_is_named() {
        let also = |what, about: &str| Also { what, about: about.into() };
        let mut all: Vec<Also> = (0..10).map(|n| also(What::Ended(Results::Success), &format!("linux #{n}"))).collect();
        all.push(also(What::Ended(Results::Failure), "mac\r\nQUIT #3"));
        all.push(also(What::Started, "mac #4"));
        all.push(also(What::Worker(WorkerTurn::Missing), "w1"));
        assert_eq!(
            digest(&all, "https://ci.example.org/"),
            "and 11 more builds ended: 10 success, 1 failure (mac QUIT #3); 1 more builds started; \
             1 workers missing (w1) | https://ci.example.org/"
        );
        let bad: Vec<Also> = (0..9).map(|n| also(What::Ended(Results::Failure), &format!("l #{n}"))).collect();
        assert_eq!(digest(&bad, "u"), "and 9 more builds ended: 9 failure (l #0, l #1, l #2, l #3, l #4 …) | u");
    }
}
