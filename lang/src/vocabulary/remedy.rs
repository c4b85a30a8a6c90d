//! What would be right where an argument is of the wrong type: made of the value
//! that was given where it shows what was meant, else an example of the type.

use crate::values::convert::folder;
use crate::values::spec::Type;
use crate::values::tree::Tree;

/// «`timeout = 3600`» for an argument `name` of this type that got `tree`.
pub(crate) fn remedy(name: &str, ty: Type, tree: &Tree) -> Option<String> {
    if tree.has_placeholder() && !ty.placeholder {
        return Some("write the value itself here; placeholders stand in what a build renders".into());
    }
    let fits = |meant: &(Tree, String)| (ty.fits)(&meant.0);
    if let Some((_, text)) = meant(ty, tree).into_iter().find(fits) {
        return Some(format!("{name} = {text}"));
    }
    let example = EXAMPLES.iter().find(|(expected, _)| *expected == ty.expected).map(|(_, example)| *example)?;
    Some(match example {
        function if function.starts_with("lambda") => format!("as in {name} = {function}, or the name of a function"),
        example => format!("as in {name} = {example}"),
    })
}

/// What somebody who wrote `tree` may have meant, and how that is written.
fn meant(ty: Type, tree: &Tree) -> Vec<(Tree, String)> {
    let plain = |tree: Tree| {
        let text = match &tree {
            Tree::Text(text) => quoted(text),
            other => other.repr(SHOWN),
        };
        (tree, text)
    };
    let mut all = vec![];
    match tree {
        Tree::Text(text) => {
            let low = text.trim().to_lowercase();
            match low.as_str() {
                "true" | "yes" | "on" => all.push((Tree::Bool(true), "True".into())),
                "false" | "no" | "off" => all.push((Tree::Bool(false), "False".into())),
                "none" | "null" => all.push((Tree::None, "None".into())),
                _ => {}
            }
            if let Ok(number) = low.parse::<i64>() {
                all.push(plain(Tree::Int(number)));
            } else if let Some(seconds) = seconds(&low) {
                all.push((Tree::Int(seconds), format!("{seconds}, which is {} in seconds", quoted(text))));
            }
            let below = text.trim_start_matches(['/', '.']);
            if text.contains('/') && folder(&Tree::Text(below.to_owned())).is_some() {
                all.push((Tree::Text(below.to_owned()), format!("{}, below the builder's folder", quoted(below))));
            }
            all.push((Tree::List(vec![tree.clone()]), format!("[{}]", quoted(text))));
        }
        // A number is a command line too, and nobody meant that.
        Tree::Int(_) | Tree::Float(_) if ty.expected.starts_with("a string") => {
            let text = tree.repr(SHOWN);
            all.push((Tree::Text(text.clone()), quoted(&text)));
        }
        Tree::List(items) if items.len() == 1 => all.push(plain(items[0].clone())),
        _ => {}
    }
    all
}

/// Longest value that a remedy repeats.
const SHOWN: usize = 60;

/// As the manual writes texts.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// `1h`, `10 min`, `1h30m`.
fn seconds(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].trim_start();
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = unit[end..].trim_start();
    }
    Some(total)
}

/// An example of each type, by what «must be …» says of it.
const EXAMPLES: &[(&str, &str)] = &[
    ("a string", "\"text\""),
    ("a string or None", "\"text\""),
    ("True or False", "True"),
    ("an int from 1 on, or None", "4"),
    ("an int from 0 on, or None", "4"),
    ("a number of seconds, or None", "60"),
    ("a number of seconds above 0", "60"),
    ("a number of seconds; below 0 it is for ever", "600"),
    ("a list of strings", "[\"one\", \"two\"]"),
    ("a string, a list of strings, or None", "[\"one\", \"two\"]"),
    ("a string or a list of strings", "\"two words\""),
    ("a regular expression, a list of them, or None", "\"release-.*\""),
    ("a dict of property names and values", "{\"os\": \"linux\"}"),
    ("a function or None", "lambda …: …"),
    ("a function", "lambda …: …"),
    ("an int or a function", "1"),
    ("a string, a function or None", "\"text\""),
    ("a number, a list of numbers, or a text such as \"*/15\"", "\"*/15\""),
    ("a dict of names to ints", "{\"w1\": 2}"),
    ("a dict of names to regular expressions", "{\"os\": \"linux.*\"}"),
    ("a list of results such as util.SUCCESS, or True or False", "[util.SUCCESS, util.WARNINGS]"),
    ("True, False, a function, a util.CollapseKey or None", "True"),
    ("a util.BuildFactory", "util.BuildFactory([steps.ShellCommand(command = \"make\")])"),
    ("a list of steps", "[steps.ShellCommand(command = \"make\")]"),
    ("a step", "steps.ShellCommand(command = \"make\")"),
    ("a relative folder without `..`, or a function", "\"build/src\""),
    ("a relative folder without `..`: it is below the builder's", "\"build/src\""),
    ("a list of patterns of files, relative and without `..`", "[\"build/**/TEST-*.xml\"]"),
    ("a util.ChangeFilter or None", "util.ChangeFilter(branch = \"main\")"),
    ("a scheduler or its name", "\"main\""),
    ("a parameter such as util.StringParameter(…), or None", "util.StringParameter(name = \"version\")"),
    ("a list of parameters", "[util.StringParameter(name = \"version\")]"),
    (
        "a list of locks with their access, as in [lock.access(\"exclusive\")]",
        "[util.MasterLock(\"db\").access(\"exclusive\")]",
    ),
    (
        "a list of pairs, each of builders and a util.SourceStampFilter",
        "[([\"linux\"], util.SourceStampFilter(branch_not_eq = \"main\"))]",
    ),
    (
        "a list of triples, each of builders, builders to cancel (or None) and a util.SourceStampFilter",
        "[([\"check\"], None, util.SourceStampFilter())]",
    ),
    ("a list of util.ShellArg", "[util.ShellArg(command = \"make\", logname = \"stdio\")]"),
    ("a dict of log names to paths", "{\"test\": \"out/test.log\"}"),
    ("a dict of names to util.attr(…) or default values", "{\"dirname\": util.attr(str)}"),
    ("a dict of argument names to values", "{\"timeout\": 60}"),
    (
        "a dict of log names to util.LogLineObserver(…) or functions",
        "{\"stdio\": util.LogLineObserver(outLineReceived = lambda self, line: None)}",
    ),
    (
        "a kind of step, such as steps.ShellCommand without brackets, or what util.BuildStep returned",
        "steps.ShellCommand",
    ),
    ("a list of names, or a dict by name", "[\"\"]"),
    ("True (all branches), a list of names, or a function of a ref's name", "[\"main\", \"release-*\"]"),
    ("a string or a function", "\"text\""),
    ("a string, a util.Secret or None", "util.Secret(\"name\")"),
    (
        "a secrets.VaultAuthenticatorToken or secrets.VaultAuthenticatorApprole",
        "secrets.VaultAuthenticatorToken(util.Secret(\"vault-token\"))",
    ),
    ("a pair (user, password), each a string or a util.Secret, or None", "(\"ci\", util.Secret(\"name\"))"),
    (
        "a list of dicts with `url`, `username` and `password`, or None",
        "[{\"username\": \"ci\", \"password\": util.Secret(\"name\")}]",
    ),
    ("a command line, or a list of a program and its arguments", "[\"make\", \"all\"]"),
    ("a dict of names to strings, lists of strings or None", "{\"CI\": \"1\"}"),
    ("a dict of exit codes to results such as util.SUCCESS", "{0: util.SUCCESS, 1: util.WARNINGS}"),
    ("True, False or a depth", "True"),
    ("a pair (seconds to wait, number of tries), or None", "(10, 3)"),
    ("a property value: text, number, bool, None, or lists and dicts of them", "\"text\""),
    ("True, False or a function", "True"),
    ("a port, an int from 1 to 65535", "465"),
    ("a list of strings, or None", "[\"one\", \"two\"]"),
    ("a name, or a list of names", "[\"one\", \"two\"]"),
    ("a value of texts, numbers, lists and dicts", "{\"one\": 1}"),
    ("True, False or the path of a file", "True"),
    ("a file, or a pair of files, or None", "(\"/etc/ssl/ci.crt\", \"/etc/ssl/ci.key\")"),
    ("True, False or a list of names of logs", "[\"stdio\"]"),
    ("a list of names of events", "[\"problem\", \"recovery\"]"),
    ("a list of generators", "[reporters.BuildStatusGenerator(mode = \"failing\")]"),
    ("a formatter or None", "reporters.MessageFormatter(template = \"{{ summary }}\")"),
    ("a domain, a dict, a function, util.MailMap, util.LdapLookup or None", "\"example.org\""),
    ("a dict of commands to True, False or lists of accounts", "{\"force\": [\"ada\"]}"),
    ("a dict of names to strings, placeholders or secrets", "{\"X-Team\": \"core\"}"),
    ("a list of channels, each a string or a dict of `channel` and `password`", "[\"#builds\"]"),
    ("a string, a util.Secret, a list of them, or None", "util.Secret(\"name\")"),
    ("a dict of `failed`, `skipped` and `successful`, or None", "{\"failed\": util.Property(\"failed\")}"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::dialect::{dialect, globals};
    use crate::values::convert::{BOOL, R_FOLDER, SECONDS, TEXT, TEXTS};
    use crate::values::spec::Status;
    use crate::vocabulary::specs;
    use starlark::environment::Module;
    use starlark::eval::Evaluator;
    use starlark::syntax::AstModule;

    /// Arguments of any value cannot be of the wrong type.
    const ANY: &str = "a value";

    #[test]
    fn every_type_of_the_vocabulary_has_an_example_that_is_of_it() {
        let types = specs().flat_map(|s| s.all()).filter_map(|p| match p.status {
            Status::Required(ty) | Status::Optional(ty) if ty.expected != ANY => Some(ty),
            _ => None,
        });
        let mut seen = std::collections::BTreeSet::new();
        for ty in types.filter(|ty| seen.insert(ty.expected)) {
            let row = EXAMPLES.iter().find(|(expected, _)| *expected == ty.expected);
            let (_, example) = row.unwrap_or_else(|| panic!("no example of {}", ty.expected));
            let text = example.replace("lambda …: …", "lambda x: x");
            Module::with_temp_heap(|module| {
                let ast = AstModule::parse("x.star", text, &dialect()).unwrap();
                let value = Evaluator::new(&module).eval_module(ast, globals()).unwrap();
                assert!((ty.fits)(&Tree::of(value)), "{example} is not {}", ty.expected);
            });
        }
    }

    #[test]
    fn what_was_meant_is_written_as_it_should_be() {
        let text = |t: &str| Tree::Text(t.into());
        for (ty, tree, wanted) in [
            (TEXTS, text("w"), "x = [\"w\"]"),
            (BOOL, text("yes"), "x = True"),
            (SECONDS, text("5"), "x = 5"),
            (SECONDS, text("1h30m"), "x = 5400, which is"),
            (SECONDS, text("soon"), "as in x = 60"),
            (TEXT, Tree::Int(5), "x = \"5\""),
            (TEXT, Tree::List(vec![text("a")]), "x = \"a\""),
            (R_FOLDER, text("/srv/x"), "x = \"srv/x\", below"),
            (R_FOLDER, text("../x"), "x = \"x\", below"),
        ] {
            let got = remedy("x", ty, &tree).unwrap();
            assert!(got.contains(wanted), "{got}");
        }
        assert_eq!(seconds("2 days"), Some(172_800));
        assert_eq!(seconds("9999999999999999999h"), None);
    }
}
