//! Project files for tests.

/// One builder `b` with these steps, any worker.
pub fn steps(steps: &str) -> String {
    format!(
        "c = {{}}\nc[\"builders\"] = [util.BuilderConfig(\n    name = \"b\",\n    workernames = [\"*\"],\n    \
         factory = util.BuildFactory([\n{steps}\n    ]),\n)]\n"
    )
}

/// One builder `b` that runs a line of shell as its step `run`.
pub fn shell(line: &str) -> String {
    steps(&format!(
        "        steps.ShellCommand(name = \"run\", command = [\"sh\", \"-c\", {line:?}], haltOnFailure = True),"
    ))
}

/// Prints a line every 50 ms for so many seconds: what a build of some length looks like.
pub fn ticking(seconds: u32) -> String {
    let ticks = seconds * 20;
    shell(&format!("i=0; while [ $i -lt {ticks} ]; do echo tick $i of {ticks}; i=$((i+1)); sleep 0.05; done"))
}

/// What [`ticking`] writes to stdout.
pub fn ticks(seconds: u32) -> Vec<u8> {
    let n = seconds * 20;
    (0..n).map(|i| format!("tick {i} of {n}\n")).collect::<String>().into_bytes()
}
