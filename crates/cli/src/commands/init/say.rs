//! What `muster init` says: what it found, what it is about to do, what it did and what to do next.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

use muster_drivers::{look::Preparation, postgres::PostgresDriver};
use muster_types::Kind;
use serde_json::json;

use crate::{
    answer::Answer,
    args::{Global, InitArgs},
    confirm::confirm,
    exit::Failure,
    init::{discover::Found, document, make::Made},
};

/// Where everything is.
pub(super) struct Places<'a> {
    pub(super) file: &'a Path,
    /// `None` when the key is no file of ours.
    pub(super) key_file: Option<&'a Path>,
    pub(super) repository: &'a Path,
}

/// Lists what was found.
pub(super) fn found(found: &Found, file: &Path) -> String {
    let mut text = format!("found in {}:\n", file.parent().unwrap_or(file).display());
    let mut line = |what: &str, where_: String| text.push_str(&format!("  {what:<10} {where_}\n"));
    for path in &found.databases {
        line("SQLite", path.display().to_string());
    }
    for folder in &found.folders {
        for path in &folder.paths {
            line("files", path.display().to_string());
        }
    }
    for server in &found.postgres {
        let state =
            if server.answers { "" } else { "; does not answer at this host, so it is only a comment" };
        line("PostgreSQL", format!("{}{state}", server.origin));
    }
    if let Some(compose) = &found.compose {
        let names: Vec<_> = compose.services.iter().map(|service| service.name.as_str()).collect();
        line("services", format!("{} ({})", names.join(", "), compose.file.display()));
    }
    for server in &found.servers {
        line(server.name, format!("answers at {}; not supported yet", server.address));
    }
    for service in found.compose.iter().flat_map(|compose| &compose.services) {
        if let Some(server) = service.server.filter(|server| *server != "PostgreSQL") {
            line(server, format!("in service `{}`; not supported yet", service.name));
        }
    }
    if found.is_empty() {
        line("nothing", "that Muster can back up: add components to the file yourself".into());
    }
    for warning in &found.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text
}

/// Shows what was found and what comes, and asks; with `--yes` it only shows.
pub(super) fn ask(global: &Global, args: &InitArgs, found: &str, plan: &str) -> Result<(), Failure> {
    let shown = format!("{found}\nwhat will be done:\n{plan}");
    if !args.yes || !(global.quiet || global.json) {
        // A closed stderr is not worth failing for: without an answer nothing is done anyway.
        drop(io::stderr().write_all(shown.as_bytes()));
    }
    if !args.yes && !io::stdin().is_terminal() {
        return Err(Failure::new(
            Kind::Input,
            "nobody is there to ask whether this is right",
            "say `--yes`, or run it in a terminal",
        ));
    }
    confirm(args.yes, "Is this right? Nothing that is there will be changed.", "yes")
}

/// Says what was made and what to do next.
pub(super) fn done(platform: &str, found: Option<&Found>, made: &Made, places: &Places<'_>) -> Answer {
    let mut text = String::new();
    let mut line = |is_new: bool, what: &str, path: &Path| {
        let word = if is_new { "made" } else { "kept" };
        text.push_str(&format!("{word}  {what:<15} {}\n", path.display()));
    };
    if let Some(key_file) = places.key_file {
        line(made.key_file.is_some(), "the key", key_file);
    }
    line(made.repository.is_some(), "the repository", places.repository);
    line(made.file.is_some(), "the file", places.file);
    text.push_str(
        "\nWithout the key no backup can be read. Keep a copy of it in another place:\n\
         \x20 muster key print          in a form for paper\n\
         \x20 muster key add FILE       a second key, for another person\n\
         \nnext:\n",
    );
    if found.is_some_and(Found::is_empty) {
        text.push_str("  add components to muster.yaml: nothing was found here that looks like data\n");
    }
    let postgres = found.map(document::postgres).unwrap_or_default();
    let preparations: Vec<(String, Preparation)> = postgres
        .into_iter()
        .filter_map(|(name, url)| Some((name, PostgresDriver::preparation_of(&url).ok()?)))
        .collect();
    for (name, _) in &preparations {
        text.push_str(&format!(
            "  make the role of `{name}` (below), and put its password into {} (mode 0600)\n",
            document::password_file(name)
        ));
    }
    if made.file.is_some() {
        text.push_str("  read muster.yaml, above all `objectives`, then: muster config check\n");
    } else {
        text.push_str("  muster config check\n");
    }
    if !preparations.is_empty() {
        text.push_str("  muster survey             is everything there that a backup needs?\n");
    }
    text.push_str("  muster backup\n");
    for (name, preparation) in &preparations {
        text.push_str(&format!("\nthe role of `{name}`:\n{preparation}"));
    }
    let secrets: Vec<_> = preparations.iter().map(|(name, _)| document::password_file(name)).collect();
    let ignored = not_ignored(places, &secrets);
    if !ignored.is_empty() {
        text.push_str(&format!(
            "\nthis folder is under git: add these lines to .gitignore\n  {}\n",
            ignored.join("\n  ")
        ));
    }
    let document = json!({
        "outcome": "done",
        "platform": platform,
        "file": places.file,
        "key_file": places.key_file,
        "repository": places.repository,
        "made": made,
        "found": found,
        "gitignore": ignored,
        "prepare": preparations.into_iter().collect::<BTreeMap<_, _>>(),
    });
    Answer::new(text, document)
}

/// Lines that `.gitignore` lacks, if the folder belongs to a git repository.
fn not_ignored(places: &Places<'_>, secrets: &[String]) -> Vec<String> {
    let Some(folder) = places.file.parent() else { return Vec::new() };
    if !folder.ancestors().any(|above| above.join(".git").exists()) {
        return Vec::new();
    }
    let present = fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
    let present: Vec<&str> = present.lines().map(|line| line.trim().trim_matches('/')).collect();
    let inside = |path: &Path, end: &str| {
        let path = path.strip_prefix(folder).ok()?.to_str()?.to_owned();
        Some(format!("/{path}{end}"))
    };
    let wanted = [
        places.key_file.and_then(|path| inside(path, "")),
        inside(places.repository, "/"),
        inside(&folder.join(".muster"), "/"),
    ];
    let secrets = secrets.iter().map(|name| format!("/{name}"));
    wanted
        .into_iter()
        .flatten()
        .chain(secrets)
        .filter(|line| !present.contains(&line.trim_matches('/')))
        .collect()
}
