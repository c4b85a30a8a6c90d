//! Pages in a real browser, as wide as a phone and as a small window: nothing
//! stands outside, and what can be pressed or filled in is reached without
//! scrolling to the side.

mod common;

use common::*;
use std::path::Path;
use std::process::Command;

const PROJECT: &str = r#"
factory = util.BuildFactory([steps.ShellCommand(command = "true")])
lock = util.MasterLock("the-database-of-the-integration-tests", maxCount = 3)
c = {
    "builders": [
        util.BuilderConfig(name = n, workernames = ["*"], factory = factory, locks = [lock.access("counting", count = 2)])
        for n in ["linux-x86_64-gcc-with-all-checks", "mac & <b>windows"]
    ],
    "change_source": [
        changes.GitPoller("https://git.example.org/a/long/path/to/some/repository-with-a-name.git", pollInterval = 3600),
    ],
}
names = [b.name for b in c["builders"]]
c["schedulers"] = [
    schedulers.AnyBranchScheduler(name = "branches-of-everybody-who-may-push", treeStableTimer = 60, builderNames = names),
    schedulers.Nightly(name = "nightly", hour = 3, minute = [0, 30], dayOfWeek = "mon-fri", builderNames = names),
    schedulers.ForceScheduler(
        name = "release it",
        builderNames = names,
        codebases = [util.CodebaseParameter(codebase = "", label = "Sources", patch = util.PatchParameter())],
        properties = [
            util.StringParameter(name = "version", label = "The version that is to be released:", required = True),
            util.ChoiceStringParameter(name = "kind", choices = ["debug", "release"], default = "release"),
            util.NestedParameter(name = "options", label = "Options", fields = [
                util.IntParameter(name = "jobs", default = 2),
                util.TextParameter(name = "notes", cols = 200, rows = 4),
            ]),
        ],
    ),
]
"#;

/// Tells the page around what stands outside of the window, or outside of what holds it.
const LOOK: &str = "<script>
const wide = document.documentElement.scrollWidth;
const bad = wide > innerWidth ? ['the page is ' + wide + ' wide'] : [];
for (const e of document.querySelectorAll('main button, main input:not([type=hidden]), main select, main textarea')) {
  const box = e.getBoundingClientRect();
  const edge = Math.min(innerWidth, e.closest('.scroll, form, .panel')?.getBoundingClientRect().right ?? innerWidth);
  if (box.width > 0 && box.right > edge + 1) bad.push((e.getAttribute('aria-label') ?? e.name) + ' ends at ' + box.right + ' of ' + edge);
}
parent.postMessage('outside: ' + bad.join('; ') + ' at ' + innerWidth, '*');
</script>";

/// In a frame, because a window has a least width.
fn frame(width: u32) -> String {
    format!(
        "<title></title><script>onmessage = (e) => document.title = e.data;</script>\
         <iframe src=\"page.html\" style=\"border: 0; width: {width}px; height: 900px\"></iframe>"
    )
}

/// What the browser finds outside at this width.
fn outside(dir: &Path, page: &str, width: u32) -> String {
    let (sheet, chart) = (include_str!("../assets/style.css"), tidemill_sql::format::svg::STYLE);
    let style = format!("<style>{sheet}{chart}</style>");
    let head = page.find("<link rel=\"icon\"").unwrap();
    let body = page.find("</head>").unwrap();
    // Without our own scripts and links, which are the master's; forms that are folded away stand open.
    let text = format!("{}{style}{}", &page[..head], &page[body..]);
    let text = text.replace("class=\"panel\">", "class=\"panel\" open>").replace("</body>", &format!("{LOOK}</body>"));
    std::fs::write(dir.join("page.html"), text).unwrap();
    let file = dir.join("frame.html");
    std::fs::write(&file, frame(width)).unwrap();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|program| program.is_file())
        .expect("Chromium; `./check` installs it");
    let output = Command::new(found)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
        .arg("--virtual-time-budget=10000")
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg("--window-size=1200,1000")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split("<title>outside: ").nth(1).and_then(|rest| rest.split("</title>").next());
    title.unwrap_or_else(|| panic!("no title: {dom}\n{}", String::from_utf8_lossy(&output.stderr))).to_owned()
}

#[tokio::test]
async fn on_a_phone_and_in_a_small_window_each_control_is_within_reach() {
    let world = World::new(1).await;
    apply(world.db(), PROJECT).await;
    submit(world.db(), "mac & <b>windows", "a reason that is as long as people write them").await;
    let m = world.one();
    let dir = tempfile::tempdir().unwrap();
    let mut bad = Vec::new();
    for path in [
        "/schedulers",
        "/changesources",
        "/locks",
        "/forceschedulers/release%20it",
        "/builders/mac%20%26%20%3Cb%3Ewindows",
        "/buildrequests/1",
        "/reports",
        "/reports/builder-health?builder=mac",
        "/builders",
        "/",
    ] {
        let (status, page) = m.page(path).await;
        assert_eq!(status, 200, "{path}");
        for width in [360, 800] {
            let found = outside(dir.path(), &page, width);
            let (said, at) = found.rsplit_once(" at ").unwrap();
            assert_eq!(at, width.to_string());
            if !said.is_empty() {
                bad.push(format!("{path} at {at}: {said}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    world.end().await;
}
