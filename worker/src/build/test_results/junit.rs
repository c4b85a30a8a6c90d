//! JUnit's XML, as test runners of all languages write it.
//!
//! Read as a stream of what stands there: no entity is expanded but the five of XML itself
//! and numbers, nothing is fetched, and depth costs nothing. What comes before a broken
//! place counts.

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape_with};
use quick_xml::events::{BytesStart, Event};
use tidemill_model::wire::{TEST_MESSAGE_MAX, TestOutcome, TestResult};

/// Longest name and path that are looked at, in bytes: secrets are masked in them before they are cut.
const NAME_MAX: usize = 16 << 10;
/// Most runs of a test that failed before one that passed.
const FLAKY_MAX: usize = 100;

/// Where a report is broken, and how.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct Broken {
    pub line: usize,
    pub why: String,
}

/// Gives each result to `each`, in order.
pub(super) fn read(text: &str, each: &mut dyn FnMut(TestResult)) -> Result<(), Broken> {
    let mut reader = Reader::from_str(text);
    // Texts of failures are often not escaped as they should be.
    reader.config_mut().allow_dangling_amp = true;
    let mut report = Report { each, files: vec![], case: None, depth: 0, root: false };
    loop {
        let event = reader.read_event();
        let at = |position: u64| 1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..position as usize]).count();
        let broken = |why: String| Broken { line: at(reader.buffer_position()), why };
        match event {
            Ok(Event::Start(start)) => {
                report.start(&start).map_err(broken)?;
                report.depth += 1;
            }
            Ok(Event::Empty(start)) => {
                report.start(&start).map_err(broken)?;
                report.depth += 1;
                report.end();
            }
            Ok(Event::End(_)) => report.end(),
            Ok(Event::Text(text)) => report.text(&text.into_inner()),
            Ok(Event::CData(text)) => report.text(&text.into_inner()),
            Ok(Event::GeneralRef(name)) => report.text(&unescaped(&format!("&{};", &*name))),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => return Err(Broken { line: at(reader.error_position()), why: error.to_string() }),
        }
    }
    let end = |why: &str| Err(Broken { line: 1 + text.matches('\n').count(), why: why.into() });
    match report {
        Report { root: false, .. } => end("it holds no element"),
        Report { depth: 1.., .. } => end("it ends before its elements do: whoever wrote it was cut off"),
        _ => Ok(()),
    }
}

struct Report<'e> {
    each: &'e mut dyn FnMut(TestResult),
    /// The file that open suites say, with the depth they are at.
    files: Vec<(usize, String)>,
    case: Option<Case>,
    depth: usize,
    root: bool,
}

/// A `testcase` that is open.
struct Case {
    depth: usize,
    name: String,
    path: String,
    duration_us: Option<u64>,
    outcome: TestOutcome,
    message: String,
    /// It failed so, and passed when it was run again (Surefire).
    flaky: Vec<(TestOutcome, String)>,
    /// Where text goes.
    said: Said,
}

#[derive(Clone, Copy, PartialEq)]
enum Said {
    Nowhere,
    Message,
    Flaky,
}

impl Report<'_> {
    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        let name = start.local_name();
        let name: &str = name.as_ref();
        if !self.root {
            self.root = true;
            if !matches!(name, "testsuites" | "testsuite") {
                return Err(format!(
                    "its first element is <{name}>, where JUnit's XML has <testsuites> or <testsuite>"
                ));
            }
        }
        let depth = self.depth;
        if let Some(case) = &mut self.case {
            return if depth == case.depth + 1 { case.child(name, start) } else { Ok(()) };
        }
        match name {
            "testsuite" => {
                let [file] = attributes(start, ["file"])?;
                self.files.extend(file.map(|file| (depth, file)));
            }
            "testcase" => {
                let file = self.files.last().map(|(_, file)| file.as_str()).unwrap_or_default();
                self.case = Some(Case::of(start, depth, file)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.files.truncate(self.files.partition_point(|(depth, _)| *depth < self.depth));
        match &mut self.case {
            Some(case) if case.depth == self.depth => {
                if let Some(case) = self.case.take() {
                    case.give(self.each);
                }
            }
            Some(case) if case.depth + 1 == self.depth => case.said = Said::Nowhere,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let Some(case) = &mut self.case else { return };
        let message = match case.said {
            Said::Nowhere => return,
            Said::Message => &mut case.message,
            Said::Flaky => match case.flaky.last_mut() {
                Some((_, message)) => message,
                None => return,
            },
        };
        // In bytes there is room for every character that is kept.
        let room = (4 * TEST_MESSAGE_MAX).saturating_sub(message.len());
        message.extend(text.chars().take(room));
    }
}

impl Case {
    fn of(start: &BytesStart<'_>, depth: usize, file: &str) -> Result<Case, String> {
        let [name, class, own_file, time, status] = attributes(start, ["name", "classname", "file", "time", "status"])?;
        let (name, class) = (name.unwrap_or_default(), class.unwrap_or_default());
        let (name, class) = (bounded(&name), bounded(&class));
        let name = match (name.trim(), class.trim()) {
            ("", "") => "(without a name)".to_owned(),
            ("", only) | (only, "") => only.to_owned(),
            (name, class) if name.starts_with(class) => name.to_owned(),
            (name, class) => format!("{class}.{name}"),
        };
        let not_run = matches!(status.as_deref(), Some("notrun" | "disabled" | "skipped"));
        Ok(Case {
            depth,
            name,
            path: bounded(own_file.as_deref().unwrap_or(file)).to_owned(),
            duration_us: time.and_then(|t| duration(&t)),
            outcome: if not_run { TestOutcome::Skipped } else { TestOutcome::Passed },
            message: String::new(),
            flaky: vec![],
            said: Said::Nowhere,
        })
    }

    fn child(&mut self, name: &str, start: &BytesStart<'_>) -> Result<(), String> {
        let outcome = match name {
            "failure" => TestOutcome::Failed,
            "error" => TestOutcome::Error,
            "skipped" => TestOutcome::Skipped,
            "flakyFailure" | "flakyError" if self.flaky.len() >= FLAKY_MAX => return Ok(()),
            "flakyFailure" | "flakyError" => {
                let outcome = if name == "flakyError" { TestOutcome::Error } else { TestOutcome::Failed };
                self.flaky.push((outcome, said(start)?));
                self.said = Said::Flaky;
                return Ok(());
            }
            // Output, properties; and of runs that failed again, the last of which is a `failure`.
            _ => return Ok(()),
        };
        // What failed first is what it is about.
        if self.outcome.is_bad() {
            return Ok(());
        }
        self.outcome = outcome;
        self.message = said(start)?;
        self.said = Said::Message;
        Ok(())
    }

    fn give(self, each: &mut dyn FnMut(TestResult)) {
        let given = |result, message: &str, duration_us| TestResult {
            name: self.name.clone(),
            path: self.path.clone(),
            result,
            duration_us,
            message: Some(message.trim()).filter(|m| !m.is_empty()).map(str::to_owned),
        };
        for (outcome, message) in &self.flaky {
            each(given(*outcome, message, None));
        }
        each(given(self.outcome, &self.message, self.duration_us));
    }
}

/// What `message` and `type` say; the text of the element comes after it.
fn said(start: &BytesStart<'_>) -> Result<String, String> {
    let [message, kind] = attributes(start, ["message", "type"])?;
    let said = message.filter(|m| !m.trim().is_empty()).or(kind).unwrap_or_default();
    Ok(if said.is_empty() { said } else { said + "\n" })
}

fn attributes<const N: usize>(start: &BytesStart<'_>, names: [&str; N]) -> Result<[Option<String>; N], String> {
    let mut found = [const { None }; N];
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| format!("an attribute cannot be read: {error}"))?;
        if let Some(at) = names.iter().position(|n| *n == attribute.key.as_ref()) {
            found[at] = Some(unescaped(&attribute.value));
        }
    }
    Ok(found)
}

/// Entities that XML itself does not know stay as they are written.
fn unescaped(text: &str) -> String {
    unescape_with(text, resolve_predefined_entity).map_or_else(|_| text.to_owned(), |t| t.into_owned())
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_MAX)]
}

/// Seconds, also with commas between thousands.
fn duration(text: &str) -> Option<u64> {
    let seconds: f64 = text.trim().replace(',', "").parse().ok()?;
    (0.0..1e9).contains(&seconds).then(|| (seconds * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(text: &str) -> (Vec<TestResult>, Option<Broken>) {
        let mut all = vec![];
        let end = read(text, &mut |result| all.push(result));
        (all, end.err())
    }

    fn short(all: &[TestResult]) -> Vec<(&str, &str)> {
        all.iter().map(|r| (r.name.as_str(), r.result.name())).collect()
    }

    #[test]
    fn every_kind_of_result_is_read_whoever_wrote_it() {
        let (all, broken) = results(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="outer" file="tests/a.py"><properties><property name="p" value="v"/></properties>
  <testcase classname="pkg.A" name="ok" time="0.25"/>
  <testcase classname="pkg.A" name="pkg.A.bad" file="src/a.rs" time="1,234.5">
    <failure message="1 &lt; 0" type="Assert">at a.rs:3
<![CDATA[<raw> & more]]></failure><system-out>&lt;failure/&gt; noise</system-out></testcase>
  <testsuite file="inner.py"><testcase name="broken"><error type="IOError"/></testcase></testsuite>
  <testcase name="later"><skipped message="not today"/></testcase>
  <testcase name="off" status="notrun"/>
</testsuite></testsuites>"#,
        );
        assert_eq!(broken, None);
        let expected = [
            ("pkg.A.ok", "passed"),
            ("pkg.A.bad", "failed"),
            ("broken", "error"),
            ("later", "skipped"),
            ("off", "skipped"),
        ];
        assert_eq!(short(&all), expected);
        assert_eq!((all[0].duration_us, all[1].duration_us), (Some(250_000), Some(1_234_500_000)));
        assert_eq!(all[1].message.as_deref(), Some("1 < 0\nat a.rs:3\n<raw> & more"));
        let paths: Vec<&str> = all.iter().map(|r| r.path.as_str()).collect();
        assert_eq!(paths, ["tests/a.py", "src/a.rs", "inner.py", "tests/a.py", "tests/a.py"]);
        assert_eq!((all[2].message.as_deref(), all[3].message.as_deref()), (Some("IOError"), Some("not today")));
    }

    #[test]
    fn a_test_that_was_run_again_failed_and_passed() {
        let (all, _) = results(
            "<testsuite><testcase name='t'><flakyFailure message='once'>x</flakyFailure><system-err/></testcase>\
             <testcase name='u'><failure message='first'/><rerunFailure message='again'/></testcase></testsuite>",
        );
        assert_eq!(short(&all), [("t", "failed"), ("t", "passed"), ("u", "failed")]);
        assert_eq!((all[0].message.as_deref(), all[1].message.as_deref()), (Some("once\nx"), None));
        assert_eq!(all[2].message.as_deref(), Some("first"));
    }

    #[test]
    fn no_entity_is_expanded() {
        let mut dtd = "<!DOCTYPE t [<!ENTITY a \"aaaaaaaaaa\">".to_owned();
        for (one, next) in ["a", "b", "c", "d", "e", "f"].iter().zip(["b", "c", "d", "e", "f", "g"]) {
            dtd.push_str(&format!("<!ENTITY {next} \"{}\">", format!("&{one};").repeat(10)));
        }
        dtd.push_str("<!ENTITY x SYSTEM \"file:///etc/passwd\">]>");
        let (all, broken) = results(&format!(
            "<?xml version=\"1.0\"?>{dtd}<testsuite><testcase name=\"&g;\"><failure>&x;&g; &#65;&amp;</failure></testcase></testsuite>"
        ));
        assert_eq!(broken, None);
        assert_eq!((all[0].name.as_str(), all[0].message.as_deref()), ("&g;", Some("&x;&g; A&")));
    }

    #[test]
    fn what_comes_before_a_broken_place_counts_and_the_place_is_named() {
        for (text, line, results_before) in [
            ("<testsuite>\n<testcase name='a'/>\n<testcase name='b'></testsuite>", 3, 1),
            ("<testsuite>\n<testcase name='a'/>\n<testcase name='b'>\n", 4, 1),
            ("<testsuite>\n<testcase name='a'/>\n<testcase name='b", 3, 1),
            ("<testsuite>\n<testcase name=a b>\n", 2, 0),
            ("\n\n<html><body/></html>", 3, 0),
            ("", 1, 0),
            ("no XML at all", 1, 0),
        ] {
            let (all, broken) = results(text);
            let broken = broken.unwrap_or_else(|| panic!("{text:?}"));
            assert_eq!((broken.line, all.len()), (line, results_before), "{text:?}: {broken}");
        }
    }

    #[test]
    fn depth_and_length_do_no_harm() {
        let deep = format!("<testsuite>{}", "<a>".repeat(300_000));
        assert!(results(&deep).1.is_some());
        let long = format!(
            "<testsuite><testcase name='t'><failure>{}</failure></testcase></testsuite>",
            "ä".repeat(1_000_000)
        );
        let (all, broken) = results(&long);
        assert!(broken.is_none() && all[0].message.as_ref().unwrap().chars().count() <= 4 * TEST_MESSAGE_MAX);
        let named = format!(
            "<testsuite><testcase name='{}' file='{0}'>{}</testcase></testsuite>",
            "ä".repeat(1_000_000),
            "<flakyFailure/>".repeat(100_000)
        );
        let (all, broken) = results(&named);
        assert!(broken.is_none() && all.len() == FLAKY_MAX + 1);
        assert!(all.iter().all(|r| r.name.len() <= NAME_MAX && r.path.len() <= NAME_MAX));
        let suites = "<testsuite file='f'>".repeat(100_000);
        assert!(results(&suites).1.is_some());
    }
}
