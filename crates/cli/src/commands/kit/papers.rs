//! The papers of a kit: runbooks for the printer and as text, other recovery documents, whom to call.
//!
//! An open world comes in; items and warnings leave. A document that cannot be read as a runbook goes in as it is: a
//! broken paper must not keep the others from the kit.

use std::path::{Path, PathBuf};

use muster_engine::{
    fold,
    kit::{Content, Item},
    world::World,
};
use muster_plan::{
    document::Document,
    import::{self, Contact},
    runbook::{self, render},
};
use muster_types::{event::Event, text};
use sha2::{Digest, Sha256};

use crate::{
    commands::{diagnose, runbook as own},
    exit::Failure,
};

/// The folder of the papers.
const FOLDER: &str = "runbooks";

/// Returns each runbook as a page for the printer and as Markdown, and every other document as it is.
pub(super) fn runbooks(world: &World, warnings: &mut Vec<String>) -> Result<Vec<Item>, Failure> {
    let events = world.journal.events()?;
    let mut items = Vec::new();
    for path in documents(world) {
        let relative = path.strip_prefix(&world.papers.folder).unwrap_or(&path);
        let name = relative.strip_prefix(FOLDER).unwrap_or(relative);
        let Some((bytes, document)) = read(&path, warnings) else { continue };
        let place = Path::new(FOLDER).join(name);
        let papers = rendered(&path, &bytes, &document, &events);
        let (markdown, html) = match papers {
            Ok(papers) => papers,
            Err(why) => {
                warnings.push(format!("{}: {why}: it goes in as it is", path.display()));
                (String::from_utf8_lossy(&bytes).into_owned(), None)
            }
        };
        items.extend(html.map(|html| item(place.with_extension("html"), html)));
        items.push(item(place, markdown));
    }
    if items.is_empty() {
        warnings.push("there is no runbook and no recovery document beside the configuration".into());
    }
    Ok(items)
}

fn item(path: PathBuf, text: String) -> Item {
    Item { path, mode: 0o600, content: Content::Bytes(text.into_bytes()) }
}

fn documents(world: &World) -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    diagnose::usual(&world.papers.folder).into_iter().map(|path| here.join(path)).collect()
}

fn read(path: &Path, warnings: &mut Vec<String>) -> Option<(Vec<u8>, Document)> {
    let read =
        own::bytes(path).and_then(|bytes| own::document(path, &bytes).map(|document| (bytes, document)));
    match read {
        Ok(read) => Some(read),
        Err(failure) => {
            warnings.push(format!("left out: {}", failure.note.error));
            None
        }
    }
}

/// Markdown, and a page where it is a runbook.
fn rendered(
    path: &Path,
    bytes: &[u8],
    document: &Document,
    events: &[Event],
) -> Result<(String, Option<String>), String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if !runbook::is_runbook(document) {
        return Ok((text, None));
    }
    let loaded = runbook::load(bytes).map_err(|error| error.to_string())?;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let measured = fold::measured(&fold::runs(events), &real, None);
    let sha256 = text::hex(Sha256::digest(bytes));
    let html = render::html(&loaded, &path.display().to_string(), &sha256, &measured);
    Ok((render::markdown(&loaded, &text, &measured), Some(html)))
}

/// Returns whom to call, as the documents name them; what they leave empty is said.
pub(super) fn contacts(world: &World, warnings: &mut Vec<String>) -> String {
    let mut text = String::from("WHOM TO CALL\n");
    let mut count = 0;
    for path in documents(world) {
        // What cannot be read is told with the runbooks.
        let Some((_, document)) = read(&path, &mut Vec::new()) else { continue };
        let found = import::recognise(&document).contacts;
        if found.is_empty() {
            continue;
        }
        text.push_str(&format!("\nfrom {}\n", path.display()));
        for contact in &found {
            count += 1;
            text.push_str(&line(contact));
            if !contact.is_reachable {
                let who = contact.name.as_ref().or(contact.role.as_ref());
                let who = who.map_or("a contact", String::as_str);
                warnings.push(format!("{}:{}: {who} cannot be reached", path.display(), contact.line));
            }
        }
    }
    if count == 0 {
        text.push_str("\nNo document names anybody. Write here by hand:\n\n____________________\n");
        warnings.push("no document beside the configuration names a contact".into());
    }
    text
}

fn line(contact: &Contact) -> String {
    let mut words: Vec<String> =
        [&contact.role, &contact.name, &contact.phone, &contact.email, &contact.handle, &contact.support_url]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
    words.extend(contact.account.as_ref().map(|account| format!("account {account}")));
    words.extend(contact.empty.iter().map(|field| format!("{field}: ____ (missing)")));
    if !contact.is_reachable {
        words.push("NOT REACHABLE AS WRITTEN".into());
    }
    format!("  {}\n", words.join("  |  "))
}
