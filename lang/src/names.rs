//! Names that people write: which are allowed, and which was probably meant.

/// Longest name of a builder, scheduler, worker or source, in characters.
const NAME_MAX: usize = 200;

/// The candidate that `wanted` was probably meant to be: equal but for case, or
/// at most a third of its letters (and no more than three) away.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let low = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&low, &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// What to do about a name that is none: the one that was probably meant, or all there are.
pub(crate) fn hint(wanted: &str, known: &[&str], there_are: &str) -> String {
    match nearest(wanted, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{there_are} {}", known.join(", ")),
    }
}

/// The words of a file, wherever they stand.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// Steps of inserting, removing, replacing or swapping letters between two words.
fn distance(a: &str, b: &str) -> usize {
    // A word this long is no slip of the pen; the bound keeps the table small.
    if a.len() > 80 || b.len() > 80 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// Why `name` cannot name a builder, scheduler, worker or source; `None` if it can.
///
/// Names stand in addresses, folders and SQL text columns, hence the reserved
/// characters; a leading underscore is kept for Tidemill's own.
pub(crate) fn fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.trim() != name {
        return Some("begins or ends with white space".into());
    }
    if name.chars().count() > NAME_MAX {
        return Some(format!("is longer than {NAME_MAX} characters"));
    }
    if let Some(bad) = name.chars().find(|c| c.is_control() || matches!(c, '/' | '\\' | '*' | '?')) {
        return Some(format!("holds the reserved character {bad:?}"));
    }
    if name.starts_with('_') || name == "." || name == ".." {
        return Some("is reserved".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["workers", "builders", "schedulers"];
        assert_eq!(nearest("bulders", known), Some("builders"));
        assert_eq!(nearest("Builders", known), Some("builders"));
        assert_eq!(nearest("ubilders", known), Some("builders"));
        assert_eq!(nearest("reporters", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }

    #[test]
    fn a_name_that_breaks_an_address_or_a_folder_is_refused() {
        for bad in ["", " a", "a/b", "a\\b", "..", "_a", "a\nb", "*", &"a".repeat(201)] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
        for good in ["linux", "linux x86-64", "größe", "a.b"] {
            assert_eq!(fault(good), None);
        }
    }
}
