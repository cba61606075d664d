//! The draft of `muster.yaml`: what is certain as keys, what a person must decide as comments.

use super::{Recognised, quoted, span};

/// Returns the text of the file.
pub(super) fn text(found: &Recognised, name: &str, platform: &str, runbooks: &[String]) -> String {
    let mut text = format!(
        "# Drafted by `muster runbook import` out of {name}. Lines with `#` are for you to decide on.\n\nplatform: {platform}\n"
    );
    objectives(&mut text, found);
    text.push_str("repository:\n  location: muster-repository\n  password: ${file:muster.key}\n");
    backups(&mut text, found);
    checks(&mut text, found);
    people(&mut text, found);
    if !found.drills.is_empty() {
        text.push_str("\n# Drills that the document promises:\n");
        for one in &found.drills {
            text.push_str(&format!(
                "#   {}: {} (line {})\n",
                quoted(&one.title),
                one.frequency.as_deref().unwrap_or("no rhythm given"),
                one.line
            ));
        }
    }
    if !runbooks.is_empty() {
        text.push_str("\n# Runbooks drafted beside this file:\n");
        for path in runbooks {
            text.push_str(&format!("#   {path}\n"));
        }
    }
    text
}

fn objectives(text: &mut String, found: &Recognised) {
    if let Some(whole) = found.objectives.iter().find(|one| one.scope_kind == "platform") {
        let target =
            |name: &str, seconds: Option<u64>| seconds.map(|seconds| format!("{name}: {}", span(seconds)));
        let targets: Vec<String> =
            target("rto", whole.rto_seconds).into_iter().chain(target("rpo", whole.rpo_seconds)).collect();
        text.push_str(&format!("objectives: {{{}}}\n", targets.join(", ")));
    }
    let others: Vec<_> = found.objectives.iter().filter(|one| one.scope_kind != "platform").collect();
    if others.is_empty() {
        return;
    }
    text.push_str("# Targets for parts of it; give each to its component (`objectives:`) or class of data (`classes:`):\n");
    for one in others {
        let target = |name: &str, seconds: Option<u64>| {
            seconds.map(|seconds| format!(" {name} {}", span(seconds))).unwrap_or_default()
        };
        text.push_str(&format!(
            "#   {} ({}):{}{} (line {})\n",
            quoted(&one.scope),
            one.scope_kind,
            target("rto", one.rto_seconds),
            target("rpo", one.rpo_seconds),
            one.line
        ));
    }
}

fn backups(text: &mut String, found: &Recognised) {
    if found.backups.is_empty() {
        return;
    }
    text.push_str(
        "\n# What the document backs up; make a component of each (docs/configuration.md):\n# components:\n",
    );
    for one in &found.backups {
        let mut facts: Vec<String> = one.frequency.iter().cloned().collect();
        let kept = one.retention_seconds.map(span).or_else(|| one.retention.clone());
        facts.extend(kept.map(|kept| format!("kept {kept}")));
        facts.extend(one.place.as_ref().map(|place| format!("in {place}")));
        let facts = facts.join("; ").replace('\n', " ");
        text.push_str(&format!("#   {}: {facts} (line {})\n", quoted(&one.what), one.line));
    }
}

fn checks(text: &mut String, found: &Recognised) {
    if found.endpoints.is_empty() {
        return;
    }
    text.push_str(
        "\n# Addresses that the document looks at; with host and port they are checks:\n# checks:\n",
    );
    for one in &found.endpoints {
        text.push_str(&format!(
            "#   {}: {} (line {})\n",
            quoted(&one.url),
            one.purpose.as_deref().unwrap_or("").replace('\n', " "),
            one.line
        ));
    }
}

fn people(text: &mut String, found: &Recognised) {
    if found.contacts.is_empty() {
        return;
    }
    text.push_str("\n# People and vendors of the document:\n");
    for one in &found.contacts {
        let ways: Vec<&str> = [&one.name, &one.phone, &one.email, &one.handle, &one.support_url]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let empty =
            if one.empty.is_empty() { String::new() } else { format!(" EMPTY: {}", one.empty.join(", ")) };
        text.push_str(&format!(
            "#   {}: {}{empty} (line {})\n",
            quoted(one.title()),
            ways.join(", ").replace('\n', " "),
            one.line
        ));
    }
}
