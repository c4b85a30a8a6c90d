//! Hostile and careless files end in an error with a place, never in a hang, a
//! panic or the end of the process.

mod support;

use std::time::{Duration, Instant};
use support::{context, errors, evaluate, files, one_error, project, with_step};
use tidemill_lang::{Limits, Project, editor};
use tidemill_model::revision::Files;

const SPIN: &str = "def spin():\n    for i in range(50000000):\n        pass\n";

#[test]
fn a_loop_without_an_end_is_stopped_by_its_steps() {
    let limits = Limits { ticks: 100_000, ..Limits::default() };
    let found = Project::evaluate(&Files::single(format!("{SPIN}c = {{}}\nspin()\n")), &limits).unwrap_err();
    assert_eq!(found.0[0].message, "evaluation took too many steps and was stopped");
    assert_eq!(found.0[0].file, "master.star");
}

#[test]
fn a_loop_without_an_end_is_stopped_by_its_time() {
    let limits = Limits { time: Duration::from_millis(50), ticks: u64::MAX, ..Limits::default() };
    let found = Project::evaluate(&Files::single(format!("{SPIN}c = {{}}\nspin()\n")), &limits).unwrap_err();
    assert_eq!(found.0[0].message, "evaluation took too long and was stopped");
}

#[test]
fn all_files_share_one_budget_of_steps() {
    let busy = |name: &str| format!("def {name}():\n    for i in range(60000):\n        pass\n{name}()\nc = {{}}\n");
    let all = files(&[("master.star", &format!("load(\"a.star\", \"f\")\n{}", busy("g"))), ("a.star", &busy("f"))]);
    Project::evaluate(&all, &Limits { ticks: 200_000, ..Limits::default() }).unwrap();
    let limits = Limits { ticks: 100_000, ..Limits::default() };
    let found = Project::evaluate(&all, &limits).unwrap_err();
    assert_eq!(found.0[0].message, "evaluation took too many steps and was stopped", "{found}");
    assert_eq!(found.0[0].file, "master.star");
}

#[test]
fn growth_without_an_end_is_stopped() {
    let limits = Limits { heap_bytes: 8 << 20, ..Limits::default() };
    let text =
        "def grow():\n    l = []\n    for i in range(50000000):\n        l.append(str(i) * 10)\ngrow()\nc = {}\n";
    let found = Project::evaluate(&Files::single(text), &limits).unwrap_err();
    assert_eq!(found.0[0].message, "evaluation used too much memory and was stopped");
}

#[test]
fn recursion_without_an_end_is_stopped() {
    let error = one_error("def f(n):\n    return 1 + f(n)\nc = {}\nf(1)\n");
    assert_eq!(error.message, "calls are nested too deep");
    assert_eq!(error.line, 2);
}

#[test]
fn calls_of_a_project_have_limits_too() {
    let text = format!(
        "{SPIN}{}",
        with_step("steps.ShellCommand(command = util.renderer(lambda p: spin()), doStepIf = lambda s: spin())")
    );
    let limits = Limits { ticks: 100_000, ..Limits::default() };
    let project = Project::evaluate(&Files::single(text), &limits).unwrap();
    let step = &project.steps("b").unwrap()[0];
    let error = step.render(&context()).unwrap_err();
    assert!(error.to_string().contains("too many steps"), "{error}");
    let error = step.do_step_if(&context()).unwrap_err();
    assert!(error.to_string().contains("too many steps") && error.diagnostic().line == 5, "{error}");
}

#[test]
fn text_nested_too_deep_is_refused() {
    let n = 200_000;
    for text in [
        "(".repeat(n),
        format!("x = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("x = {}1", "-".repeat(n)),
        format!("x = {}1", "not ".repeat(n)),
        format!("x = 1{}", " + 1".repeat(n)),
        format!("x = 1{}", " +\\\n 1".repeat(n / 2)),
        format!("x = 1{}", " if 1 else 1".repeat(n / 4)),
        format!("x = {}1", "lambda: ".repeat(n / 4)),
        format!("x = f{}", "()".repeat(n)),
        format!("x = f{}", ".a".repeat(n)),
        format!("x = f{}", "[0]".repeat(n)),
        "x = [".to_owned() + &"[0, ".repeat(n),
        format!("x = {}1{}", "[0, ".repeat(n), "]".repeat(n)),
        format!("x = 1{}", " +\\\r\n 1".repeat(n / 2)),
        format!("if 1:\n  pass\n{}", "elif 1:\n  pass\n".repeat(n / 4)),
        (0..1400).map(|i| format!("{}if 1:\n", " ".repeat(i))).collect::<String>(),
        (0..1400).map(|i| format!("{}def f():\n", " ".repeat(i))).collect::<String>(),
        format!("f'{}'", "{".repeat(n)),
        format!("x = \"{}", "\\".repeat(n)),
    ] {
        assert!(evaluate(&text).is_err(), "{}", &text[..30]);
    }
}

#[test]
fn text_just_below_the_bound_is_evaluated() {
    let n = 1400;
    for text in [
        format!("x = 1{}\nc = {{}}\n", " + 1".repeat(n)),
        format!("x = {}1{}\nc = {{}}\n", "[".repeat(n / 2), "]".repeat(n / 2)),
        format!("x = {}1\nc = {{}}\n", "not ".repeat(n)),
        format!("if 1:\n  pass\n{}c = {{}}\n", "elif 1:\n  pass\n".repeat(n)),
        (0..1000).map(|i| format!("{}if 1:\n", " ".repeat(i))).collect::<String>()
            + &" ".repeat(1000)
            + "x = 1\nc = {}\n",
        format!("def f(a):\n    return f\nx = f{}\nc = {{}}\n", "(1)".repeat(n / 2)),
    ] {
        if let Err(found) = evaluate(&text) {
            panic!("{}: {found}", &text[..30]);
        }
        // Lint goes as deep, on whatever thread it is asked for.
        let files = Files::single(text);
        assert!(Project::check(&files, &Limits::default()).ok());
        editor::check_text(&files, "master.star");
    }
}

/// The file is read to its end; then what it made would be kept.
#[test]
fn values_nested_too_deep_to_be_kept_are_an_error() {
    // Other bounds than those of depth are for a fast machine.
    let limits = Limits { time: Duration::from_secs(600), ..Limits::default() };
    for text in [
        "x = []\nfor i in range(1000000):\n    x = [x]\n",
        "def f():\n    x = ()\n    for i in range(600000):\n        x = (x,)\n    return lambda: x\ny = f()\n",
        "x = {}\nfor i in range(400000):\n    x = {\"a\": x}\n",
        "x = struct()\nfor i in range(400000):\n    x = struct(a = x)\n",
        "def f(x):\n    return lambda: x\ny = None\nfor i in range(130000):\n    y = f(y)\n",
        "x = None\nfor i in range(2100):\n    x = util.Interpolate(\"a\", x)\n",
        "x = None\nfor i in range(2100):\n    x = [util.Interpolate(\"a\", x)]\n",
    ] {
        let found = Project::evaluate(&Files::single(format!("c = {{}}\n{text}")), &limits).unwrap_err();
        let message = &found.0[0].message;
        assert!(message.contains("nested too deep") || message.contains("nests them too deep"), "{text}: {message}");
    }
    // As deep as it may be, whatever holds what.
    let deep = "def f(x):\n    return lambda: x\nx = None\nfor i in range(60000):\n    x = f(x)\n\
                y = [x]\nfor i in range(300000):\n    y = [y]\nc = {}\n";
    Project::evaluate(&Files::single(deep), &limits).unwrap_or_else(|e| panic!("{e}"));
}

/// What writes and compares recurses, on whatever thread a function is called.
#[test]
fn values_nested_too_deep_are_neither_written_nor_compared() {
    for (uses, told) in [
        ("str(x)", "the text is nested more than"),
        ("repr({1: x})", "the text is nested more than"),
        ("json.encode(x)", "the text is nested more than"),
        ("\"%s\" % (x,)", "the text is nested more than"),
        ("fail(\"no\", x)", "the error is nested more than"),
        ("x == y", "what is compared is nested more than"),
        ("[x] < [y]", "what is compared is nested more than"),
        ("x in [y]", "what is looked for is nested more than"),
        ("str(z)", "the text is nested more than"),
    ] {
        let text = format!(
            "x, y, z = [], [], struct()\nfor i in range(100000):\n    x = [x]\n    y = [y]\n    z = struct(a = z)\n{}",
            with_step(&format!("steps.ShellCommand(command = \"x\", doStepIf = lambda s: {uses})"))
        );
        let limits = Limits { time: Duration::from_secs(600), ..Limits::default() };
        let project = Project::evaluate(&Files::single(text), &limits).unwrap();
        let call = || {
            let error = project.steps("b").unwrap()[0].do_step_if(&context()).unwrap_err();
            assert!(error.to_string().contains(told), "{uses}: {error}");
        };
        std::thread::scope(|scope| {
            std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, call).unwrap().join().unwrap();
        });
    }
}

/// The types of what grows in a loop grow as well.
#[test]
fn types_that_grow_with_each_turn_end_somewhere() {
    let grows = "x = []\nfor i in range(3):\n    x = [x, {\"a\": x}, lambda: x]\n";
    let text = format!("{}c = {{}}\n", grows.replacen("x = []\n", "", 1).repeat(30));
    assert!(Project::check(&Files::single(format!("x = []\n{text}")), &Limits::default()).ok());
}

#[test]
fn a_file_too_large_is_refused() {
    let text = "# comment\n".repeat(200_000);
    assert_eq!(one_error(&text).message, "master.star is larger than 1024 KiB");
}

#[test]
fn a_value_that_holds_itself_is_refused() {
    for text in [
        "l = [1]\nl.append(l)\nsteps.ShellCommand(command = l)\nc = {}\n",
        "d = {}\nd[\"d\"] = d\nsteps.ShellCommand(command = \"x\", env = d)\nc = {}\n",
        // Two to the power of sixty paths.
        "l = [\"x\"]\nfor i in range(60):\n    l = [l, l]\nsteps.ShellCommand(command = l)\nc = {}\n",
    ] {
        let started = Instant::now();
        let error = one_error(text);
        assert!(error.message.ends_with("got a value that is too large or holds itself"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    // The same, found only after the constructor was called.
    let late = errors(
        "l = [\"x\"]\ns = steps.ShellCommand(command = l)\nl.append(l)\nc = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = util.BuildFactory([s]))]\n",
    );
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].line, 2);
}

#[test]
fn a_rendered_value_that_grows_without_an_end_is_refused() {
    let text = with_step("steps.ShellCommand(command = f(0))");
    let text =
        format!("def again(p):\n    return [util.renderer(again)]\ndef f(n):\n    return util.renderer(again)\n{text}");
    let error = project(&text).steps("b").unwrap()[0].render(&context()).unwrap_err();
    assert!(error.to_string().contains("too large or holds itself"), "{error}");
    let doubling = with_step("steps.ShellCommand(command = x)");
    let text =
        format!("x = \"a\"\nfor i in range(60):\n    x = util.Interpolate(\"%(kw:x)s%(kw:x)s\", x = x)\n{doubling}");
    let rendered = project(&text).steps("b").unwrap()[0].render(&context());
    let Err(error) = rendered else { panic!("it was rendered") };
    assert!(error.to_string().contains("too large") || error.to_string().contains("grows beyond"), "{error}");
}

#[test]
fn a_regular_expression_that_grows_is_refused() {
    let text = "c = {}\nf = util.BuildFactory([steps.ShellCommand(command = \"x\")])\n\
        c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\n\
        c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"b\"], \
        change_filter = util.ChangeFilter(branch_re = \"((a{1000}){1000}){1000}\"))]\n";
    assert!(one_error(text).message.contains("`branch_re` is not a regular expression"));
}

#[test]
fn a_thousand_mistakes_do_not_flood() {
    let text = "c = {}\nfor i in range(1000):\n    steps.ShellCommand(command = i)\n";
    assert!(errors(text).len() <= 200);
}

#[test]
fn a_circle_of_files_is_told_and_a_long_chain_is_not_a_circle() {
    let all = files(&[
        ("master.star", "load(\"a.star\", \"a\")\nc = {}\n"),
        ("a.star", "load(\"b.star\", \"b\")\na = 1\n"),
        ("b.star", "load(\"a.star\", \"a\")\nb = 1\n"),
    ]);
    let found = Project::evaluate(&all, &Limits::default()).unwrap_err();
    assert_eq!(found.0.len(), 1, "{found}");
    assert_eq!(found.0[0].message, "files load each other in a circle: a.star → b.star → a.star");
    assert_eq!(found.0[0].location(), "b.star:1:6");

    let chain: Vec<_> =
        (0..2000).map(|i| (format!("f{i}.star"), format!("load(\"f{}.star\", \"x\")\n", i + 1))).collect();
    let mut all = files(&[("master.star", "load(\"f0.star\", x0 = \"x\")\nc = {}\n"), ("f2000.star", "x = 1\n")]);
    all.0.extend(chain.into_iter().map(|(name, text)| (name, text.replace("\"x\")", "y = \"x\")\nx = y"))));
    Project::evaluate(&all, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn nothing_outside_of_the_files_can_be_loaded() {
    for path in ["/etc/passwd", "../x.star", "./../x.star", "a/../../x.star", "", "https://example.org/x.star"] {
        let error = one_error(&format!("load({path:?}, \"x\")\nc = {{}}\n"));
        assert_eq!(error.message, format!("the project has no file {path:?}"));
        assert_eq!((error.line, error.column), (1, 6));
    }
}

#[test]
fn any_bytes_are_an_error_and_never_a_panic() {
    for text in [
        "\0",
        "\u{feff}c = {}",
        "x = '\u{1b}[31m",
        "c = {}\n\t \tx",
        "c = {\r\n",
        "é = 1",
        "c = 'é' +\n",
        "\"\"\"",
        "load(",
        "🦀🦀",
        "x = b'a'",
        "f'{x'",
    ] {
        let found = evaluate(text);
        if let Err(found) = found {
            let shown = found.to_string();
            assert!(!shown.contains('\u{1b}') && !shown.contains('\0'), "{shown:?}");
        }
    }
}

#[test]
fn the_deepest_calls_fit_the_stack_of_a_small_thread() {
    // Natives that call back use more stack for each call than plain calls.
    let text = "def f(p):\n    return sorted([p, p], key = f)\ndef g(p):\n    return [g(x) for x in [p]]\ndef h(p):\n    return map(h, [p])\n".to_owned()
        + &with_step("steps.ShellCommand(command = \"x\", doStepIf = f), steps.ShellCommand(command = \"x\", doStepIf = g), steps.ShellCommand(command = \"x\", doStepIf = h)");
    let limits = Limits { callstack: 1000, ..Limits::default() };
    let project = Project::evaluate(&Files::single(text), &limits).unwrap();
    let call = || {
        for step in project.steps("b").unwrap() {
            let error = step.do_step_if(&context()).unwrap_err();
            assert!(error.to_string().contains("calls are nested too deep"), "{error}");
        }
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, call).unwrap().join().unwrap();
    });
}
