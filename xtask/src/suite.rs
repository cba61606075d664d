//! Runs every test: `cargo xtask test`.
//!
//! In: further arguments for the runner (a filter, `--no-capture`). Out: the runner's report; its last line tells how
//! many tests passed and failed.
//!
//! A failing test never gets a second chance here: what fails now and then is a finding.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{
    servers,
    workspace::{self, root},
};

/// Installs, builds and runs.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    servers::install()?;
    // Tests of any crate may run the binaries, which only their own packages' tests would build.
    workspace::run("cargo", &["build", "--workspace", "--bins"])?;
    if args.is_empty() {
        workspace::run("cargo", &["test", "--workspace", "--doc", "--quiet"])?;
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if servers::has_nextest() {
        let mut all = vec!["nextest", "run", "--workspace"];
        all.extend(args);
        return workspace::run("cargo", &all);
    }
    plain(&args)
}

/// `cargo test` prints a sum per binary; the closing line adds them up.
fn plain(args: &[&str]) -> anyhow::Result<()> {
    let mut child = Command::new("cargo")
        .args(["test", "--workspace", "--all-targets", "--no-fail-fast"])
        .args(args)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo test")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(child.stdout.take().context("a pipe")?).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with("test result:") {
            passed += number_before(&line, "passed");
            failed += number_before(&line, "failed");
        }
    }
    let status = child.wait()?;
    println!("{passed} passed, {failed} failed");
    ensure!(status.success() && failed == 0, "tests failed");
    Ok(())
}

fn number_before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn the_sums_of_a_result_line_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!((number_before(line, "passed"), number_before(line, "failed")), (12, 3));
    }
}
