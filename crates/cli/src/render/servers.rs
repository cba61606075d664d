//! What a run has done inside running servers, as text: rows that came back, tables, a failover.
//!
//! In: the report. Out: lines. Nothing is computed here that is not in the report. Read next: `../render.rs`.

use muster_plan::failover::OPEN;
use muster_types::{
    failover::{Failover, Fence, Fenced, Loss, Promoted, PromotedReplica, Way},
    place,
    report::RunReport,
    rescue::{Rescue, RowRole, shown},
    tables::{TableWay, TablesDone},
};

use super::{push, table, time};

/// Shows what the run has done there; empty when it was nothing.
pub(super) fn done(report: &RunReport) -> String {
    let parts = [
        report.rescue.as_ref().map(rescue),
        report.tables.as_ref().map(tables),
        report.failover.as_ref().map(failover),
        report.repair.as_ref().map(super::repair::repair),
        report.quarantine.as_ref().map(super::repair::quarantine),
        Some(super::rotation::rotated(report)),
    ];
    parts.into_iter().flatten().collect()
}

/// Shows what was missing, and what came of it.
fn rescue(rescue: &Rescue) -> String {
    let found = &rescue.found;
    let mut text = format!(
        "{}: {} deleted since, {} changed since (left as they are), {} new (left as they are)\n",
        shown(&found.table),
        found.deleted,
        found.changed,
        found.new
    );
    if found.missing.is_empty() {
        text.push_str("nothing is missing: nothing was inserted\n");
        return text;
    }
    let word = if rescue.is_inserted { "inserted" } else { "missing" };
    let rows: Vec<Vec<String>> = found
        .missing
        .iter()
        .map(|one| {
            let why = match one.role {
                RowRole::Asked => "asked for",
                RowRole::Child => "pointed to what was asked for",
                RowRole::Parent => "others point to them",
            };
            vec![shown(&one.table), one.rows.to_string(), why.to_owned()]
        })
        .collect();
    text.push_str(&table(&["table", word, "why"], &rows));
    if rescue.is_inserted {
        push(&mut text, format_args!("a copy of what was inserted: {}\n", found.file.display()));
    } else {
        text.push_str("nothing was inserted\n");
    }
    text
}

/// Shows which tables were replaced, and that no other was changed.
fn tables(done: &TablesDone) -> String {
    let rows: Vec<Vec<String>> = done
        .tables
        .iter()
        .map(|one| {
            let way = match one.way {
                TableWay::Replaced => "replaced",
                TableWay::Made => "made",
                TableWay::MovedAside => "moved aside",
            };
            let defined = if one.defined.is_empty() { "-".to_owned() } else { one.defined.join(", ") };
            vec![
                shown(&one.table),
                way.to_owned(),
                one.rows_before.to_string(),
                one.rows.to_string(),
                defined,
            ]
        })
        .collect();
    let mut text = table(&["table", "how", "rows before", "rows now", "made again"], &rows);
    push(
        &mut text,
        format_args!("unchanged, by hash before and after: {} other tables\n", done.others.len()),
    );
    push(
        &mut text,
        format_args!("what stood there before is in the schema {}\n", place::name_in_server(&done.kept)),
    );
    text
}

/// Shows which replica is a primary now, and what may be lost.
fn replica(promoted: &PromotedReplica) -> String {
    let PromotedReplica { replica, primary, slots, .. } = promoted;
    let way = promoted.way.map_or("it was that already".to_owned(), |way| way.command().join(" "));
    let mut text = format!("primary: {replica}, of {slots} slots, in place of {primary} ({way})\n");
    let silent = promoted
        .silent_seconds
        .map_or(String::new(), |seconds| format!("; it had not heard of it for {seconds} s"));
    let lost = match promoted.way {
        Some(Way::Plain) => {
            "none: the old primary held its clients until the new one had everything".to_owned()
        }
        Some(Way::Force | Way::Takeover) => {
            format!("not known: what the old primary acknowledged and had not sent{silent}")
        }
        None => "not known: it was promoted by somebody else, or in a run that was killed".to_owned(),
    };
    push(&mut text, format_args!("lost: {lost}\n"));
    if let Some(word) = &promoted.fenced_by {
        push(&mut text, format_args!("no majority has voted; the old primary is off, says {word}\n"));
    }
    text
}

/// Shows what was kept out, what is the primary now, what was lost, and how the old one comes back.
fn failover(failover: &Failover) -> String {
    let mut text = failover.replica.as_ref().map(replica).unwrap_or_default();
    for Fenced { member, fence, end, .. } in &failover.fenced {
        let by = match fence {
            Fence::Service { service } => format!("its service {service} is stopped"),
            Fence::Sessions => "it takes no writes and acknowledges no commit".to_owned(),
            Fence::Declared { word } => format!("declared by {word}"),
        };
        let end = end.map_or(String::new(), |end| format!("; its log ends at {end}"));
        push(&mut text, format_args!("fenced: {member}, {by}{end}\n"));
    }
    let Some(promoted) = &failover.promoted else {
        for one in failover.fenced.iter().filter(|one| one.end.is_some()) {
            push(
                &mut text,
                format_args!("nothing was promoted; to let {} take writes again: psql {OPEN}\n", one.member),
            );
        }
        return text;
    };
    let commit = promoted.newest_commit.map_or("none".to_owned(), |time| time.to_string());
    let Promoted { member, timeline, .. } = promoted;
    push(
        &mut text,
        format_args!("primary: {member}, on timeline {timeline}, newest commit of the old one {commit}\n"),
    );
    let loss = match &promoted.loss {
        Loss::None => "none: it has everything that the old primary had".to_owned(),
        Loss::Measured { bytes } => format!("{bytes} bytes of log, measured at the fence"),
        Loss::Seen { bytes, at } => format!(
            "{bytes} bytes of log of what was last seen of the old primary, at {}; what it wrote after that is not known",
            time(*at)
        ),
        Loss::Unknown => {
            "not known: the old primary could not be asked, and nobody had seen how far it was".to_owned()
        }
    };
    push(&mut text, format_args!("lost: {loss}\n"));
    for line in &promoted.rebuild {
        push(&mut text, format_args!("  {line}\n"));
    }
    text
}
