//! Whom to call: tables, lists and `Name: number` lines; whose turn it is after how long; roles and their duties.
//!
//! Blocks under headings about contacts, escalation and roles come in, and tables anywhere whose columns say so. A field
//! that is there and says nothing is named as empty: at 3 a.m. it is worse than a missing one.

use super::{
    Contact, Escalation, Reader, Role, duration, table,
    topic::Topic,
    words::{Words, is_blank, label},
};
use crate::document::{BlockKind, FenceKind, Table, Text};

const ROLE: &[&str] = &["role", "position", "title", "function", "team", "responsib*"];
const NAME: &[&str] = &["name", "person", "who", "primary", "owner"];
const PHONE: &[&str] = &["phone", "telephone", "mobile", "tel", "cell", "number"];
const EMAIL: &[&str] = &["email", "e mail", "mail"];
const HANDLE: &[&str] =
    &["contact", "slack", "pager", "pagerduty", "handle", "channel", "how", "chat", "reach"];
const SERVICE: &[&str] = &["service", "vendor", "provider", "company", "supplier", "external"];
const SUPPORT: &[&str] = &["support url", "support", "url", "portal", "link", "website"];
const ACCOUNT: &[&str] = &["account", "account id", "customer id", "contract"];
const ESCALATE: &[&str] = &["escalat*", "after", "when", "availability", "delay"];

pub(super) fn read(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        let lists_people = lists_people(reader, at);
        let topic = if lists_people { Topic::Contacts } else { reader.topic(at) };
        for (index, block) in section.blocks.iter().enumerate() {
            if reader.is_taken(at, index) {
                continue;
            }
            let line = block.lines.first;
            let is_here = matches!(topic, Topic::Contacts | Topic::Escalation);
            let is_understood = match &block.kind {
                BlockKind::Table(table) => of_table(reader, table, topic, &section.heading),
                BlockKind::Fence(fence)
                    if is_here
                        && matches!(
                            fence.kind,
                            FenceKind::Text | FenceKind::Unknown | FenceKind::Config(_)
                        ) =>
                {
                    let mut any = false;
                    for (line, text) in fence.lines() {
                        any |= of_line(reader, text, &Text::of(text), line, topic, &section.heading);
                    }
                    any
                }
                BlockKind::Item(item) if is_here => of_line(
                    reader,
                    &item.text.plain.replace('\n', " "),
                    &item.text,
                    line,
                    topic,
                    &section.heading,
                ),
                BlockKind::Paragraph(text) if is_here || names_somebody(&text.plain) => {
                    let mut any = false;
                    for (offset, part) in text.plain.lines().enumerate() {
                        any |= (label(part).is_some() || reaches(part).is_some())
                            && of_line(reader, part, text, line + offset, topic, &section.heading);
                    }
                    any
                }
                _ => false,
            };
            if is_understood {
                reader.take(at, index);
            }
        }
    }
    roles(reader);
    from_contacts(reader);
}

/// `On-call: ops@example.org`, wherever it stands.
fn names_somebody(text: &str) -> bool {
    label(text).is_some_and(|(name, rest)| {
        Words::of(name).has(&["on call", "oncall", "contact*", "hotline", "emergency number"])
            && (find_email(rest).is_some() || find_phone(rest).is_some())
    })
}

/// Whether each item of a section that nobody else has understood is somebody with a number or an address.
fn lists_people(reader: &Reader<'_>, at: usize) -> bool {
    let blocks = reader.document.sections.get(at).map(|one| one.blocks.as_slice()).unwrap_or_default();
    let mut items = blocks
        .iter()
        .enumerate()
        .filter_map(|(index, block)| match &block.kind {
            BlockKind::Item(item) => Some((index, item)),
            _ => None,
        })
        .peekable();
    matches!(reader.topic(at), Topic::Unknown | Topic::Communication)
        && items.peek().is_some()
        && items.all(|(index, item)| {
            let text = item.text.plain.as_str();
            !reader.is_taken(at, index) && (find_email(text).is_some() || find_phone(text).is_some())
        })
}

fn of_table(reader: &mut Reader<'_>, table: &Table, topic: Topic, heading: &str) -> bool {
    let has = |phrases| table::column(table, phrases);
    let has_way = has(PHONE).or(has(EMAIL)).or(has(&["contact", "slack", "support url"])).is_some();
    let is_levels = has(&["escalat*", "level"]).is_some()
        && has(&["after", "time", "minutes", "within", "delay", "elapsed"]).is_some();
    if (topic == Topic::Escalation || is_levels) && !has_way {
        return escalation_table(reader, table);
    }
    let names_somebody = has(ROLE).or(has(NAME)).or(has(SERVICE)).is_some();
    let is_contacts = topic == Topic::Contacts || (names_somebody && has_way);
    if !is_contacts || table.header.len() < 2 {
        return false;
    }
    let vendor_words = &["vendor*", "external", "provider*", "third party", "supplier*", "support"];
    let service = has(SERVICE);
    let is_vendor = service.is_some() || Words::of(heading).has(vendor_words);
    let mut role = has(ROLE).or(service);
    let name = has(NAME).filter(|at| Some(*at) != role);
    if role.is_none() && name != Some(0) {
        role = Some(0);
    }
    let escalate = has(ESCALATE).filter(|at| Some(*at) != role);
    let handle =
        has(HANDLE).filter(|at| ![role, name, escalate, has(PHONE), has(EMAIL)].contains(&Some(*at)));
    let support = has(SUPPORT).filter(|at| Some(*at) != role && is_vendor);
    for row in &table.rows {
        let mut one = Contact { line: row.line, is_vendor, ..Contact::default() };
        one.role = table::text(row, role).filter(|text| !is_blank(text));
        let fields: [(&str, Option<usize>); 6] = [
            ("name", name),
            ("phone", has(PHONE)),
            ("email", has(EMAIL)),
            ("contact", handle),
            ("support", support),
            ("account", has(ACCOUNT)),
        ];
        for (field, column) in fields {
            let Some(column) = column.filter(|at| Some(*at) != role) else { continue };
            match table::text(row, Some(column)).filter(|text| !is_blank(text)) {
                Some(text) => {
                    let url = table::cell(row, Some(column))
                        .and_then(|cell| cell.links.first())
                        .map(|link| link.url.clone());
                    set(&mut one, field, text, url);
                }
                None => one.empty.push(field.to_owned()),
            }
        }
        if let Some(text) = table::text(row, escalate) {
            one.escalate_after_seconds = duration::longest(&text);
            add_escalation(reader, &one, &text);
        }
        finish(&mut one);
        if one.role.is_some() || one.name.is_some() {
            reader.found.contacts.push(one);
        }
    }
    true
}

/// `Primary: +1-555-0100 (pager)`, `Dana (DBA), dana@example.org`, `Level 2: manager (15-30 min)`.
fn of_line(
    reader: &mut Reader<'_>,
    line: &str,
    text: &Text,
    number: usize,
    topic: Topic,
    heading: &str,
) -> bool {
    let line = line.trim().trim_start_matches(['-', '*', ' ']);
    if line.is_empty() || line.ends_with(':') {
        return false;
    }
    let named = label(line)
        .or_else(|| line.split_once(" - "))
        .or_else(|| line.split_once(" \u{2013} "))
        .or_else(|| line.split_once(" \u{2014} "))
        .or_else(|| line.split_once(", "));
    let named = named.or_else(|| line.split_at_checked(reaches(line)?));
    let words = Words::of(line);
    let after = duration::parse(line);
    let is_level = topic == Topic::Escalation
        || words.begins(&["level", "tier", "after", "escalat*", "l1", "l2", "l3", "l4"]);
    if is_level && (after.is_some() || words.begins(&["immediate*"])) {
        let who = named.map_or(line, |(_, rest)| rest).split('(').next().unwrap_or(line).trim();
        let who = if duration::parse(who).is_some() || who.is_empty() {
            named.map_or(line, |(name, _)| name)
        } else {
            who
        };
        reader.found.escalation.push(Escalation {
            line: number,
            after_seconds: after.map_or(0, |range| range.min_seconds),
            who: who.to_owned(),
            condition: None,
        });
        return true;
    }
    let Some((name, rest)) = named else { return false };
    let email = find_email(line);
    let phone = find_phone(rest);
    let url = text.links.first().map(|link| link.url.clone()).or_else(|| find_url(rest));
    if email.is_none() && phone.is_none() && url.is_none() && !is_blank(rest) && topic != Topic::Contacts {
        return false;
    }
    let mut one = Contact { line: number, role: Some(bare(name).to_owned()), ..Contact::default() };
    one.is_vendor = Words::of(heading).has(&["vendor*", "external", "provider*", "third party", "supplier*"])
        || Words::of(name).has(&["support", "vendor", "provider", "hosting"]);
    let is_empty = email.is_none() && phone.is_none() && url.is_none();
    if rest.to_uppercase().contains("XXX") {
        one.empty.push("phone".into());
    } else if is_blank(rest) {
        one.empty.push("contact".into());
    } else if is_empty {
        one.handle = Some(rest.to_owned());
    }
    one.email = email;
    one.phone = phone;
    one.support_url = url;
    let is_person = rest.split([',', '(', '<']).next().map(str::trim).filter(|name| {
        !name.is_empty()
            && name.len() < 40
            && name.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '.' | '-' | '\''))
            && name.contains(' ')
    });
    if !is_empty && let Some(person) = is_person {
        one.name = Some(person.to_owned());
    }
    one.escalate_after_seconds =
        if words.has(&["after", "escalat*"]) { duration::longest(rest) } else { None };
    finish(&mut one);
    reader.found.contacts.push(one);
    true
}

/// A name without the picture before it.
fn bare(name: &str) -> &str {
    let bare =
        name.trim_start_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '@' | '#' | '(' | '<' | '['));
    if bare.is_empty() { name.trim() } else { bare.trim() }
}

fn set(one: &mut Contact, field: &str, text: String, url: Option<String>) {
    match field {
        "name" => one.name = Some(text),
        "phone" => one.phone = Some(text),
        "email" => one.email = Some(text),
        "support" => one.support_url = Some(url.unwrap_or(text)),
        "account" => one.account = Some(text),
        _ => {
            one.email = one.email.take().or_else(|| find_email(&text));
            one.phone = one.phone.take().or_else(|| find_phone(&text));
            one.handle = Some(text);
        }
    }
}

/// Reachable is who has an address, a number or a named way; a person's name alone reaches nobody.
fn finish(one: &mut Contact) {
    one.is_reachable =
        [&one.phone, &one.email, &one.handle, &one.support_url].iter().any(|field| field.is_some());
}

fn escalation_table(reader: &mut Reader<'_>, table: &Table) -> bool {
    let time = table::column(
        table,
        &["after", "time", "minutes", "within", "delay", "when", "elapsed", "timeframe"],
    );
    let who = table::column(
        table,
        &["who", "contact", "role", "notify", "person", "escalate to", "to", "team", "name"],
    )
    .or_else(|| (0..table.header.len()).find(|at| Some(*at) != time && *at > 0));
    let mut any = false;
    for row in &table.rows {
        let texts: Vec<String> = (0..row.cells.len()).filter_map(|at| table::text(row, Some(at))).collect();
        let written = table::text(row, time)
            .or_else(|| texts.iter().find(|text| duration::parse(text).is_some()).cloned());
        let Some(written) = written else { continue };
        // `15 min` in a column of minutes has no unit.
        let after = duration::parse(&written).or_else(|| duration::parse(&format!("{written} min")));
        let (Some(after), Some(who)) = (after, table::text(row, who).or_else(|| texts.first().cloned()))
        else {
            continue;
        };
        reader.found.escalation.push(Escalation {
            line: row.line,
            after_seconds: after.min_seconds,
            who,
            condition: None,
        });
        any = true;
    }
    any
}

fn add_escalation(reader: &mut Reader<'_>, one: &Contact, text: &str) {
    let who = one.title().to_owned();
    let words = Words::of(text);
    let condition = (words.has(&["if", "any", "when", "only", "unless"])).then(|| text.to_owned());
    if let Some(range) = duration::parse(text) {
        reader.found.escalation.push(Escalation {
            line: one.line,
            after_seconds: range.min_seconds,
            who,
            condition,
        });
    } else if condition.is_some() {
        reader.found.escalation.push(Escalation { line: one.line, after_seconds: 0, who, condition });
    }
}

/// Headings under `Roles` with duties as lists; or a table of roles.
fn roles(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        if reader.topic(at) != Topic::Roles {
            continue;
        }
        let is_role = section.parent.is_some_and(|above| reader.topic(above) == Topic::Roles);
        let mut duties = Vec::new();
        for (index, block) in section.blocks.iter().enumerate() {
            match &block.kind {
                BlockKind::Item(item) if is_role => {
                    duties.push(item.text.plain.replace('\n', " "));
                    reader.take(at, index);
                }
                BlockKind::Item(item) => {
                    let plain = item.text.plain.replace('\n', " ");
                    if let Some((name, duty)) = label(&plain).or_else(|| plain.split_once(" - ")) {
                        reader.found.roles.push(Role {
                            line: block.lines.first,
                            name: name.trim().to_owned(),
                            duties: vec![duty.trim().to_owned()],
                        });
                        reader.take(at, index);
                    }
                }
                BlockKind::Table(table) => {
                    for row in &table.rows {
                        let Some(name) = table::text(row, Some(0)) else { continue };
                        let duties =
                            (1..row.cells.len()).filter_map(|at| table::text(row, Some(at))).collect();
                        reader.found.roles.push(Role { line: row.line, name, duties });
                    }
                    reader.take(at, index);
                }
                _ => {}
            }
        }
        if is_role && !duties.is_empty() {
            reader.found.roles.push(Role { line: section.line, name: section.heading.clone(), duties });
        }
    }
}

/// Sorts nothing: the order of the document is the order in which people are called.
fn from_contacts(reader: &mut Reader<'_>) {
    reader.found.escalation.sort_by_key(|one| one.line);
    reader.found.contacts.sort_by_key(|one| one.line);
}

/// Where the first address or number begins, if there is a name before it.
fn reaches(line: &str) -> Option<usize> {
    let email = find_email(line).and_then(|email| line.find(&email));
    let phone = find_phone(line).and_then(|phone| line.find(&phone));
    let at = [email, phone].into_iter().flatten().min()?;
    let name = line.get(..at)?.trim();
    (!name.is_empty() && Words::of(name).len() <= 5).then_some(at)
}

fn find_email(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '`'))
        .map(|word| word.trim_start_matches("mailto:").trim_end_matches('.'))
        .find(|word| {
            word.split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.starts_with('.'))
        })
        .map(str::to_owned)
}

fn find_url(text: &str) -> Option<String> {
    text.split_whitespace()
        .find(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|word| word.trim_end_matches([')', ',', '.']).to_owned())
}

/// Seven digits or more with the marks that people put between them.
fn find_phone(text: &str) -> Option<String> {
    let mut best = String::new();
    let mut open = String::new();
    for c in text.chars().chain(std::iter::once('\n')) {
        if c.is_ascii_digit()
            || matches!(c, '+' | '-' | ' ' | '.' | '/')
            || (matches!(c, '(' | ')') && open.chars().any(|c| c.is_ascii_digit() || c == '+'))
            || (c == '(' && open.is_empty())
        {
            open.push(c);
        } else {
            let is_better = open.chars().filter(char::is_ascii_digit).count() >= 7 && open.len() > best.len();
            if is_better {
                best.clone_from(&open);
            }
            open.clear();
        }
    }
    let best = best.trim().trim_end_matches(['(', '-', '.', '/', ' ']).trim();
    // `Jane (+1 555 123 4567)`: the bracket is not the number's.
    let best = if best.contains('(') { best } else { best.trim_end_matches(')') }.to_owned();
    (!best.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_found_in_a_line() {
        assert_eq!(find_phone("1-866-555-7829 (support)").as_deref(), Some("1-866-555-7829"));
        assert_eq!(find_phone("+49 (0) 30 555 1234, mobile").as_deref(), Some("+49 (0) 30 555 1234"));
        assert_eq!(find_phone("+1-XXX-XXX-XXXX"), None);
        assert_eq!(find_email("Dana <dana@example.org>, DBA").as_deref(), Some("dana@example.org"));
        assert_eq!(find_email("@platform-lead"), None);
    }
}
