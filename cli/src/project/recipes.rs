//! What to run for each kind of project, told by the files in a folder.

use serde_json::Value;

/// One step: a name and a command, for `/bin/sh` if it is one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub command: Vec<String>,
}

/// What was recognised in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Name for a builder: `rust`, `node`, `make` …
    pub kind: &'static str,
    /// The file that told.
    pub because: String,
    pub steps: Vec<Step>,
}

/// The files of one folder (names only), and how to read one.
pub struct Folder<'a> {
    pub names: Vec<&'a str>,
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

impl Folder<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    fn first(&self, wanted: &[&str]) -> Option<String> {
        wanted.iter().find(|w| self.has(w)).map(|w| (*w).to_owned())
    }

    fn with_suffix(&self, suffixes: &[&str]) -> Option<String> {
        self.names.iter().find(|n| suffixes.iter().any(|s| n.ends_with(s))).map(|n| (*n).to_owned())
    }
}

fn step(name: &str, command: &[&str]) -> Step {
    Step { name: name.to_owned(), command: command.iter().map(|c| (*c).to_owned()).collect() }
}

fn line(name: &str, command: &str) -> Step {
    Step { name: name.to_owned(), command: vec!["sh".into(), "-c".into(), command.into()] }
}

fn recipe(kind: &'static str, because: String, steps: Vec<Step>) -> Option<Recipe> {
    Some(Recipe { kind, because, steps })
}

/// Everything recognised. Languages add up (a Rust server with a Node page);
/// of the general build tools only the most telling one counts, and only
/// where no language did.
pub fn recognise(folder: &Folder) -> Vec<Recipe> {
    let languages: [fn(&Folder) -> Option<Recipe>; 11] =
        [rust, go, node, python, jvm, dotnet, elixir, ruby, zig, haskell, ocaml];
    let found: Vec<Recipe> = languages.iter().filter_map(|r| r(folder)).collect();
    if !found.is_empty() {
        return found;
    }
    let tools: [fn(&Folder) -> Option<Recipe>; 4] = [meson, cmake, autotools, make];
    tools.iter().find_map(|r| r(folder)).into_iter().collect()
}

fn rust(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["Cargo.toml"])?;
    let locked = f.has("Cargo.lock").then_some("--locked");
    let cargo = |what: &'static [&'static str]| {
        let mut command = vec!["cargo"];
        command.extend(what);
        command.extend(locked);
        command
    };
    let steps = vec![
        step("build", &cargo(&["build", "--workspace", "--all-targets"])),
        step("test", &cargo(&["test", "--workspace"])),
    ];
    recipe("rust", because, steps)
}

fn go(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["go.work", "go.mod"])?;
    let steps = vec![
        step("build", &["go", "build", "./..."]),
        step("vet", &["go", "vet", "./..."]),
        step("test", &["go", "test", "./..."]),
    ];
    recipe("go", because, steps)
}

fn node(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["package.json"])?;
    let (tool, install): (&str, &[&str]) = if f.has("pnpm-lock.yaml") {
        ("pnpm", &["pnpm", "install", "--frozen-lockfile"])
    } else if f.has("yarn.lock") {
        ("yarn", &["yarn", "install", "--frozen-lockfile"])
    } else if f.has("package-lock.json") {
        ("npm", &["npm", "ci"])
    } else {
        ("npm", &["npm", "install"])
    };
    let package: Value = (f.read)(&because).and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(Value::Null);
    let mut steps = vec![step("install", install)];
    for name in ["lint", "build", "test"] {
        let script = package["scripts"][name].as_str();
        // What `npm init` writes only says that there is no test.
        if script.is_some_and(|s| !s.contains("no test specified")) {
            steps.push(step(name, &[tool, "run", name]));
        }
    }
    recipe("node", because, steps)
}

fn python(f: &Folder) -> Option<Recipe> {
    if let Some(because) = f.first(&["tox.ini"]) {
        return recipe("python", because, vec![step("tox", &["tox"])]);
    }
    let because = f.first(&["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"])?;
    // Beside the checkout, where no cleaning of it reaches.
    let mut steps = vec![step("venv", &["python3", "-m", "venv", "../venv"])];
    if f.has("requirements.txt") {
        steps.push(step("requirements", &["../venv/bin/pip", "install", "-r", "requirements.txt"]));
    }
    if because != "requirements.txt" {
        steps.push(step("install", &["../venv/bin/pip", "install", "-e", "."]));
    }
    let text =
        ["pyproject.toml", "setup.cfg", "requirements.txt", "pytest.ini"].map(|n| (f.read)(n).unwrap_or_default());
    let pytest = f.has("pytest.ini") || f.has("conftest.py") || text.iter().any(|t| t.contains("pytest"));
    if pytest {
        steps.push(step("pytest", &["../venv/bin/pip", "install", "pytest"]));
        steps.push(step("test", &["../venv/bin/python", "-m", "pytest"]));
    } else {
        steps.push(step("compile", &["../venv/bin/python", "-m", "compileall", "-q", "."]));
        steps.push(step("test", &["../venv/bin/python", "-m", "unittest", "discover"]));
    }
    recipe("python", because, steps)
}

fn jvm(f: &Folder) -> Option<Recipe> {
    if let Some(because) = f.first(&["build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"]) {
        let tool = if f.has("gradlew") { "./gradlew" } else { "gradle" };
        return recipe("gradle", because, vec![step("build", &[tool, "--no-daemon", "build"])]);
    }
    let because = f.first(&["pom.xml"])?;
    let tool = if f.has("mvnw") { "./mvnw" } else { "mvn" };
    recipe("maven", because, vec![step("verify", &[tool, "-B", "verify"])])
}

fn dotnet(f: &Folder) -> Option<Recipe> {
    let because = f.with_suffix(&[".sln", ".csproj", ".fsproj"])?;
    recipe("dotnet", because, vec![step("build", &["dotnet", "build"]), step("test", &["dotnet", "test"])])
}

fn elixir(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["mix.exs"])?;
    recipe("elixir", because, vec![step("deps", &["mix", "deps.get"]), step("test", &["mix", "test"])])
}

fn ruby(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["Gemfile"])?;
    let mut steps = vec![step("install", &["bundle", "install"])];
    if f.has("Rakefile") {
        steps.push(step("rake", &["bundle", "exec", "rake"]));
    } else {
        steps.push(step("test", &["bundle", "exec", "rspec"]));
    }
    recipe("ruby", because, steps)
}

fn zig(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["build.zig"])?;
    recipe("zig", because, vec![step("build", &["zig", "build"]), step("test", &["zig", "build", "test"])])
}

fn haskell(f: &Folder) -> Option<Recipe> {
    if let Some(because) = f.first(&["stack.yaml"]) {
        return recipe("haskell", because, vec![step("test", &["stack", "test"])]);
    }
    let because = f.first(&["cabal.project"]).or_else(|| f.with_suffix(&[".cabal"]))?;
    recipe("haskell", because, vec![step("build", &["cabal", "build", "all"]), step("test", &["cabal", "test", "all"])])
}

fn ocaml(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["dune-project"])?;
    recipe("ocaml", because, vec![step("build", &["dune", "build"]), step("test", &["dune", "runtest"])])
}

fn meson(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["meson.build"])?;
    let steps = vec![
        line("setup", "test -f _build/build.ninja || meson setup _build"),
        step("compile", &["meson", "compile", "-C", "_build"]),
        step("test", &["meson", "test", "-C", "_build"]),
    ];
    recipe("meson", because, steps)
}

fn cmake(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["CMakeLists.txt"])?;
    let steps = vec![
        step("configure", &["cmake", "-S", ".", "-B", "_build"]),
        step("build", &["cmake", "--build", "_build", "--parallel"]),
        step("test", &["ctest", "--test-dir", "_build", "--output-on-failure"]),
    ];
    recipe("cmake", because, steps)
}

fn autotools(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["configure", "autogen.sh", "configure.ac"])?;
    let mut steps = Vec::new();
    match because.as_str() {
        "autogen.sh" => steps.push(step("autogen", &["sh", "./autogen.sh"])),
        "configure.ac" => steps.push(step("autoreconf", &["autoreconf", "-fi"])),
        _ => {}
    }
    steps.extend([
        step("configure", &["sh", "./configure"]),
        step("build", &["make"]),
        step("test", &["make", "check"]),
    ]);
    recipe("autotools", because, steps)
}

fn make(f: &Folder) -> Option<Recipe> {
    let because = f.first(&["GNUmakefile", "Makefile", "makefile"])?;
    let text = (f.read)(&because).unwrap_or_default();
    let mut steps = vec![step("build", &["make"])];
    let target = |name: &str| {
        text.lines().any(|l| {
            l.split_once(':').is_some_and(|(left, right)| {
                !l.starts_with(['\t', '#']) && !right.starts_with('=') && left.split_whitespace().any(|t| t == name)
            })
        })
    };
    if let Some(name) = ["check", "test", "tests"].into_iter().find(|n| target(n)) {
        steps.push(step("test", &["make", name]));
    }
    recipe("make", because, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[(&str, &str)]) -> Vec<Recipe> {
        let read = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, t)| (*t).to_owned());
        recognise(&Folder { names: files.iter().map(|(n, _)| *n).collect(), read: &read })
    }

    fn commands(recipe: &Recipe) -> Vec<String> {
        recipe.steps.iter().map(|s| s.command.join(" ")).collect()
    }

    #[test]
    fn a_lock_file_binds_the_versions() {
        let found = look(&[("Cargo.toml", ""), ("Cargo.lock", ""), ("Makefile", "")]);
        assert_eq!(found.len(), 1, "the Makefile of a Rust project is for people");
        let all = commands(&found[0]);
        assert_eq!(all, ["cargo build --workspace --all-targets --locked", "cargo test --workspace --locked"]);
    }

    #[test]
    fn a_node_project_runs_the_scripts_that_it_has() {
        let package = r#"{"scripts": {"build": "x", "test": "echo \"Error: no test specified\" && exit 1"}}"#;
        let found = look(&[("package.json", package), ("pnpm-lock.yaml", "")]);
        assert_eq!(commands(&found[0]), ["pnpm install --frozen-lockfile", "pnpm run build"]);
    }

    #[test]
    fn a_makefile_is_asked_for_its_test_target() {
        let found = look(&[("Makefile", "CHECK := 1\ncheck:= no\nall: a\nlint test: all\n\techo check:\n")]);
        assert_eq!(commands(&found[0]), ["make", "make test"]);
    }

    #[test]
    fn two_languages_are_two_recipes() {
        let kinds: Vec<_> = look(&[("go.mod", ""), ("package.json", "{}")]).iter().map(|r| r.kind).collect();
        assert_eq!(kinds, ["go", "node"]);
        assert!(look(&[("README.md", "")]).is_empty());
    }
}
