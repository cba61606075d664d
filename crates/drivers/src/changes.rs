//! Reads what the plan of a tool would create, change, replace and delete.
//!
//! In: what the tool has printed. Out: names, sorted, each once. What cannot be understood is an error and not "nothing to
//! delete". It never runs a tool, and reads no file.

use muster_types::{
    Kind,
    script::{PlanForm, PlannedChange},
};
use serde_json::Value;

use crate::DriverError;

/// Reads a plan of a form: `terraform show -json`, `kubectl diff`, or lines.
///
/// # Errors
/// `Unavailable`: it is not of that form; nothing may be applied then.
pub fn read(form: PlanForm, text: &str) -> Result<PlannedChange, DriverError> {
    let mut plan = match form {
        PlanForm::Terraform => terraform(text)?,
        PlanForm::Diff => diff(text),
        PlanForm::Lines => lines(text)?,
    };
    for names in [&mut plan.create, &mut plan.change, &mut plan.replace, &mut plan.delete] {
        names.sort();
        names.dedup();
    }
    Ok(plan)
}

fn unread(why: impl Into<String>) -> DriverError {
    DriverError::new(Kind::Unavailable, why).with_hint("nothing was applied; look at the plan by hand")
}

/// Source: Terraform's documentation, "JSON output format", `resource_changes[].change.actions`.
fn terraform(text: &str) -> Result<PlannedChange, DriverError> {
    let document: Value = serde_json::from_str(text)
        .map_err(|error| unread("the plan is not the JSON that `show -json` prints").with_source(error))?;
    if document.get("format_version").is_none() || document.get("errored") == Some(&Value::Bool(true)) {
        return Err(unread("the plan is not whole: it has no format, or it says that it failed"));
    }
    let mut plan = PlannedChange::default();
    for one in document.get("resource_changes").and_then(Value::as_array).into_iter().flatten() {
        let Some(name) = one.get("address").and_then(Value::as_str).map(str::to_owned) else {
            return Err(unread("the plan changes something that has no address"));
        };
        let actions = one.pointer("/change/actions").and_then(Value::as_array);
        let actions: Vec<&str> = actions.into_iter().flatten().filter_map(Value::as_str).collect();
        match actions.as_slice() {
            ["no-op" | "read"] => {}
            ["create"] => plan.create.push(name),
            ["update"] => plan.change.push(name),
            // Forgotten is gone, too, from what the tool looks after.
            ["delete" | "forget"] => plan.delete.push(name),
            ["delete", "create"] | ["create", "delete" | "forget"] => plan.replace.push(name),
            other => return Err(unread(format!("the plan does with {name} what is not known: {other:?}"))),
        }
    }
    Ok(plan)
}

/// An object whose old side has no line is new. An apply never deletes.
fn diff(text: &str) -> PlannedChange {
    let mut plan = PlannedChange::default();
    let mut name: Option<String> = None;
    for line in text.lines() {
        if let Some(files) = line.strip_prefix("diff ") {
            let last = files.split_whitespace().next_back().unwrap_or_default();
            name = last.rsplit('/').next().map(str::to_owned);
        } else if line.starts_with("@@ ")
            && let Some(name) = name.take()
        {
            if line.starts_with("@@ -0,0 ") { plan.create.push(name) } else { plan.change.push(name) }
        }
    }
    plan
}

fn lines(text: &str) -> Result<PlannedChange, DriverError> {
    let mut plan = PlannedChange::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, name) = line.split_once(' ').unwrap_or((line, ""));
        let name = name.trim();
        let names = match word {
            "create" => &mut plan.create,
            "change" => &mut plan.change,
            "replace" => &mut plan.replace,
            "delete" => &mut plan.delete,
            _ => return Err(unlike(line)),
        };
        // A comma would divide it where a person types it.
        if name.is_empty() || name.contains(',') {
            return Err(unlike(line));
        }
        names.push(name.to_owned());
    }
    Ok(plan)
}

fn unlike(line: &str) -> DriverError {
    let shown: String = line.chars().take(80).collect();
    DriverError::new(Kind::Unavailable, format!("the `plan` command printed `{shown}`, which says no change"))
        .with_hint("each line is `create NAME`, `change NAME`, `replace NAME` or `delete NAME`; the rest goes to stderr")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(form: PlanForm, text: &str) -> Result<String, String> {
        read(form, text).map(|plan| plan.told()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_tool_plans_is_read_or_refused_and_never_taken_for_nothing() {
        let json = r#"{"format_version":"1.2","resource_changes":[
            {"address":"a.db","change":{"actions":["delete","create"]}},
            {"address":"a.net","change":{"actions":["create"]}},
            {"address":"a.same","change":{"actions":["no-op"]}},
            {"address":"a.disk","change":{"actions":["delete"]}},
            {"address":"a.tag","change":{"actions":["update"]}}]}"#;
        let said = "create 1: a.net; change 1: a.tag; replace 1: a.db; delete 1: a.disk";
        assert_eq!(told(PlanForm::Terraform, json).unwrap(), said);
        assert!(told(PlanForm::Terraform, "{}").unwrap_err().contains("not whole"));
        assert!(told(PlanForm::Terraform, "Plan: 1 to add").unwrap_err().contains("not the JSON"));
        let odd = json.replace("\"update\"", "\"burn\"");
        assert!(told(PlanForm::Terraform, &odd).unwrap_err().contains("a.tag what is not known"));

        let text = "diff -u -N /tmp/LIVE-1/v1.ConfigMap.shop.a /tmp/MERGED-2/v1.ConfigMap.shop.a\n--- x\n+++ y\n@@ -0,0 +1,3 @@\n+x\n\
            diff -u -N /tmp/LIVE-1/v1.Secret.shop.b /tmp/MERGED-2/v1.Secret.shop.b\n--- x\n+++ y\n@@ -4,1 +4,1 @@\n-x\n+y\n@@ -9,1 +9,1 @@\n";
        assert_eq!(
            told(PlanForm::Diff, text).unwrap(),
            "create 1: v1.ConfigMap.shop.a; change 1: v1.Secret.shop.b"
        );
        assert_eq!(told(PlanForm::Diff, "").unwrap(), "nothing to change");

        assert_eq!(
            told(PlanForm::Lines, "delete b\n\ncreate a one\ndelete a\n").unwrap(),
            "create 1: a one; delete 2: a, b"
        );
        assert!(told(PlanForm::Lines, "destroy a").unwrap_err().contains("`destroy a`"));
        assert!(told(PlanForm::Lines, "delete a, b").unwrap_err().contains("says no change"));
    }
}
