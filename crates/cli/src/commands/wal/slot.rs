//! `muster wal slot drop`: a server shall keep no more log for Muster, because nobody will fetch it or its disk fills up.
//!
//! Only the slot of this platform and component goes, on each server that answers. It never drops one that is in use: the
//! receiver of this host must be stopped, and another host's is named. Read next: `../detach.rs` for all that Muster made.

use muster_drivers::look::Attachments;
use muster_engine::lock::{self, Sharing};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, SlotArgs},
    commands::detach::table,
    confirm::confirm,
    exit::Failure,
    progress::Progress,
};

pub(super) fn drop_slot(global: &Global, args: &SlotArgs) -> Result<Answer, Failure> {
    let component = &args.component;
    let loaded = app::load(global, if args.dry_run { Intent::Read } else { Intent::Change })?;
    let driver = app::open_component(&loaded, component)?;
    let given = std::slice::from_ref(component);
    app::refuse_missing_secrets(&loaded.platform, given, given)?;
    let progress = Progress::new(global.quiet || global.json);
    let platform = &loaded.platform.platform;
    if args.dry_run {
        return Ok(answer(component, &driver.log_slots(platform, &progress)?, "planned"));
    }
    let locks = loaded.state_dir.join("locks");
    let _lock =
        lock::acquire(&locks, &format!("wal-{component}"), Sharing::Exclusive, "`muster wal slot drop`")?;
    let listed = driver.log_slots(platform, &progress)?;
    if listed.found.is_empty() {
        return Ok(answer(component, &listed, "done"));
    }
    let question = format!(
        "{}Drop this? Log that was not received yet may then be lost, and a backup is needed afterwards.",
        table(&listed)
    );
    confirm(args.yes, &question, component)?;
    Ok(answer(component, &driver.drop_log_slots(platform, &progress)?, "done"))
}

fn answer(component: &str, listed: &Attachments, outcome: &str) -> Answer {
    let mut text = match (listed.found.is_empty(), outcome) {
        (true, _) => format!("no server keeps log for `{component}` of this platform\n"),
        (false, "planned") => format!("would be dropped:\n{}nothing was done\n", table(listed)),
        (false, _) => format!(
            "dropped:\n{}before the log is received again: `muster backup {component}`, once `muster wal receive {component}` runs\n",
            table(listed)
        ),
    };
    for line in &listed.left_to_you {
        text.push_str(&format!("not asked, it may still keep log: {line}\n"));
    }
    let document = json!({
        "outcome": outcome,
        "component": component,
        "found": listed.found,
        "left_to_you": listed.left_to_you,
    });
    Answer::new(text, document)
}
