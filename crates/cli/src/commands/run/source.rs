//! Reads what is to be run: a runbook with those that it runs, or one scenario of any document as a runbook.
//!
//! A path comes in; a [`ScriptSource`] leaves, with every text that the run could need. Nothing is written.

use std::{collections::BTreeMap, path::Path};

use muster_plan::{
    import,
    runbook::{self, Runbook, fits, key_of},
};
use muster_types::{Kind, script::ScriptSource, text};
use sha2::{Digest, Sha256};

use crate::{
    commands::runbook::{bytes, document, failure, show},
    exit::Failure,
};

pub(super) fn read(file: &Path, section: Option<&str>) -> Result<ScriptSource, Failure> {
    let content = bytes(file)?;
    let document = document(file, &content)?;
    let mut source = ScriptSource {
        file: file.display().to_string(),
        section: section.map(str::to_owned),
        title: String::new(),
        version: None,
        sha256: text::hex(Sha256::digest(&content)),
        is_document: !runbook::is_runbook(&document),
        texts: BTreeMap::new(),
        inputs: BTreeMap::new(),
        path: file.canonicalize().unwrap_or_else(|_| file.to_owned()),
        folder: std::env::current_dir().unwrap_or_default(),
        expected_seconds: None,
        phases: Vec::new(),
    };
    if source.is_document {
        let found = import::recognise(&document);
        let Some(section) = section else {
            let titles: Vec<String> = found.scenarios.iter().map(show::name).collect();
            let hint = if titles.is_empty() {
                "no scenario was recognised in it: write a runbook (docs/runbooks.md)".to_owned()
            } else {
                format!("name one: {}", titles.join(", "))
            };
            let error = format!("{} is a document with several scenarios, and no runbook", file.display());
            return Err(Failure::new(Kind::Input, error, hint));
        };
        let scenario = show::find(&found, section)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        source.texts.insert(source.file.clone(), import::draft_of(scenario, &found, &name));
        return Ok(source);
    }
    let loaded = runbook::load(&content).map_err(|error| failure(file, &content, &error))?;
    show::follow(file, &loaded)?;
    if let Some(section) = section
        && !loaded.phases.iter().any(|phase| fits(section, None, &phase.title))
    {
        let titles = loaded.phases.iter().filter(|phase| !phase.title.is_empty());
        return Err(show::missing(
            section,
            &titles.map(|phase| format!("`{}`", phase.title)).collect::<Vec<_>>(),
        ));
    }
    collect(&source.file.clone(), content, &loaded, &mut source.texts)?;
    Ok(source)
}

/// Takes a runbook and all that it runs. That there is no circle was looked at before.
fn collect(
    path: &str,
    content: Vec<u8>,
    loaded: &Runbook,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    texts.insert(path.to_owned(), String::from_utf8_lossy(&content).into_owned());
    for (name, _) in loaded.runs() {
        let key = key_of(path, &name);
        if texts.contains_key(&key) {
            continue;
        }
        let content = bytes(Path::new(&key))?;
        let inner = runbook::load(&content).map_err(|error| failure(Path::new(&key), &content, &error))?;
        collect(&key, content, &inner, texts)?;
    }
    Ok(())
}

/// Says on stderr when the file is another one than at the run's beginning.
pub(super) fn say_if_changed(source: &ScriptSource, is_quiet: bool) {
    let now = bytes(&source.path).ok().map(|content| text::hex(Sha256::digest(&content)));
    if now.as_ref() == Some(&source.sha256) || is_quiet {
        return;
    }
    let what = if now.is_some() { "has changed since" } else { "cannot be read any more" };
    let line = format!("note: {} {what}: this goes on with the text of the beginning\n", source.file);
    // A closed stderr is not worth failing for.
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
}
