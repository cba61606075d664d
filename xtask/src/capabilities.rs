//! Counts which capabilities have a test, from the marks `// proves: A1, B5` above tests.
//!
//! In: the list `xtask/capabilities.txt` and the sources. Out: `docs/capabilities.md` and one closing line.
//!
//! A mark that names no known capability, or that does not stand directly above a test, is an error.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, bail, ensure};

use crate::workspace::{files, root};

const LIST: &str = include_str!("../capabilities.txt");
const PAGE: &str = "docs/capabilities.md";
const MARK: &str = "// proves:";

/// A test that carries a mark.
#[derive(Debug)]
struct Proof {
    file: String,
    test: String,
    ids: Vec<String>,
}

/// Rewrites the page, or compares it; with `ran`, counts only tests that ran and passed.
pub(crate) fn run(check: bool, ran: Option<&Path>) -> anyhow::Result<()> {
    let list: Vec<(&str, &str)> = LIST.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut proofs = Vec::new();
    for file in files(&[".rs"])?.iter().filter(|file| file.starts_with("crates")) {
        let text = fs::read_to_string(root().join(file))?;
        proofs.extend(marks(&file.display().to_string(), &text)?);
    }
    let mut tests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for proof in &proofs {
        for id in &proof.ids {
            let known = list.iter().find(|(known, _)| known == id);
            let (known, _) =
                known.with_context(|| format!("{}: no capability is called {id}", proof.file))?;
            tests.entry(known).or_default().push(format!("`{}` {}", proof.file, proof.test));
        }
    }
    let page = render(&list, &tests);
    let path = root().join(PAGE);
    let current = fs::read_to_string(&path).unwrap_or_default();
    if check {
        ensure!(current == page, "{PAGE} is out of date: run `cargo xtask capabilities`");
    } else if current != page {
        save(&path, &page)?;
    }
    println!("{} of {} have a test", tests.len(), list.len());
    if let Some(junit) = ran {
        let passed = passed(&fs::read_to_string(junit).with_context(|| junit.display().to_string())?);
        let did_pass =
            |proof: &&Proof| passed.iter().any(|name| name.rsplit("::").next() == Some(&proof.test));
        let ids: std::collections::BTreeSet<_> =
            proofs.iter().filter(did_pass).flat_map(|p| &p.ids).collect();
        println!("{} of {} have a test that ran and passed", ids.len(), list.len());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a page that can be made again needs no durable write")]
fn save(path: &Path, page: &str) -> anyhow::Result<()> {
    Ok(fs::write(path, page)?)
}

fn marks(file: &str, text: &str) -> anyhow::Result<Vec<Proof>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut proofs = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(ids) = line.strip_prefix(MARK) else { continue };
        let below: Vec<_> = lines[number + 1..].iter().take_while(|line| line.starts_with("#[")).collect();
        let test = lines.get(number + 1 + below.len()).and_then(|line| line.split_once("fn "));
        let (Some((_, name)), true) = (test, below.iter().any(|line| line.starts_with("#[test]"))) else {
            bail!("{file}:{}: `{MARK}` must stand directly above `#[test]`", number + 1);
        };
        let test = name.split(['(', '<']).next().unwrap_or(name).to_owned();
        let ids = ids.split(',').map(|id| id.trim().to_owned()).collect();
        proofs.push(Proof { file: file.to_owned(), test, ids });
    }
    Ok(proofs)
}

fn render(list: &[(&str, &str)], tests: &BTreeMap<&str, Vec<String>>) -> String {
    let mut page = format!(
        "# Capabilities\n\nMade by `cargo xtask capabilities` from the marks above the tests: {} of {} have a test.\n\n\
         | id | capability | tests |\n|---|---|---|\n",
        tests.len(),
        list.len()
    );
    for (id, title) in list {
        let names = tests.get(id).map(|names| names.join("<br>")).unwrap_or_default();
        writeln!(page, "| {id} | {title} | {names} |").expect("a String takes every text");
    }
    page
}

/// The names of the test cases in a `JUnit` file that neither failed nor were left out.
fn passed(junit: &str) -> Vec<String> {
    let cases = junit.split("<testcase ").skip(1);
    let good = cases.filter(|case| !["<failure", "<error", "<skipped"].iter().any(|bad| case.contains(bad)));
    good.filter_map(|case| case.strip_prefix("name=\"")?.split('"').next().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_149_capabilities_are_listed_once() {
        let ids: std::collections::BTreeSet<_> = LIST.lines().filter_map(|l| l.split(' ').next()).collect();
        assert_eq!((ids.len(), LIST.lines().count()), (149, 149));
    }

    #[test]
    fn a_mark_names_the_test_below_it() {
        let mark = ["// pro", "ves: A1, B5\n#[test]\nfn it_works() {"].concat();
        let proofs = marks("a.rs", &mark).unwrap();
        assert_eq!((proofs[0].test.as_str(), proofs[0].ids.len()), ("it_works", 2));
    }

    #[test]
    fn a_mark_without_a_test_is_an_error() {
        let mark = ["// pro", "ves: A1\nfn helper() {"].concat();
        assert!(marks("a.rs", &mark).is_err());
    }

    #[test]
    fn failed_cases_do_not_count_as_passed() {
        let junit =
            r#"<testcase name="a::good" x="1"></testcase><testcase name="a::bad"><failure/></testcase>"#;
        assert_eq!(passed(junit), ["a::good"]);
    }
}
