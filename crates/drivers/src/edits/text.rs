//! Fills variables into an edit and replaces its text to the letter.
//!
//! In: an edit and the values of variables. Out: a text with the number of places that were replaced, or what is missing.
//! No value stands in an error: it may be a secret. Nothing here opens a file.

use std::collections::BTreeMap;

use muster_types::{Kind, config::Edit};

use crate::DriverError;

/// An edit whose variables are filled in.
pub(super) struct Filled<'a> {
    component: &'a str,
    number: usize,
    edit: &'a Edit,
    replace: String,
    with: String,
}

impl<'a> Filled<'a> {
    /// Fills the variables in.
    pub(super) fn of(
        component: &'a str,
        index: usize,
        edit: &'a Edit,
        values: &BTreeMap<String, String>,
    ) -> Result<Self, DriverError> {
        let number = index + 1;
        let fill = |text: &str| {
            fill(text, values).map_err(|name| {
                let message = format!(
                    "edit {number} of component `{component}` needs the variable `{name}`, which has no value"
                );
                DriverError::new(Kind::Config, message).with_hint(format!(
                    "write `variables: {{{name}: VALUE}}` in the environment's file, or give `--set {name}=VALUE`"
                ))
            })
        };
        let (replace, with) = (fill(&edit.replace)?, fill(&edit.with)?);
        if replace.is_empty() {
            let message =
                format!("edit {number} of component `{component}` replaces nothing: its variable is empty");
            return Err(DriverError::new(Kind::Config, message).with_hint("give the variable a value"));
        }
        Ok(Self { component, number, edit, replace, with })
    }

    /// Replaces the text wherever it stands; returns how often.
    pub(super) fn apply(&self, text: &mut String) -> u64 {
        let count = text.matches(&self.replace).count();
        if count > 0 {
            *text = text.replace(&self.replace, &self.with);
        }
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Compares how often it was found with what the edit promises; `named` files were looked at.
    pub(super) fn judge(&self, found: u64, named: usize) -> Result<(), DriverError> {
        let Self { component, number, edit, .. } = self;
        let is_as_promised = edit.count.map_or(found > 0, |count| count == found);
        if is_as_promised {
            return Ok(());
        }
        let what = match (named, edit.count) {
            (0, _) => format!("no file of the backup fits `{}`", edit.file),
            (_, None) => format!("`{}` does not stand in `{}`", edit.replace, edit.file),
            (_, Some(count)) => {
                format!("`{}` stands {found} times in `{}`, and not {count}", edit.replace, edit.file)
            }
        };
        let message = format!("edit {number} of component `{component}` does not fit the backup: {what}");
        Err(DriverError::new(Kind::Conflict, message)
            .with_hint("correct `edits`; a backup that was taken on this host needs none: give `--no-edits`"))
    }
}

/// Returns the names of the variables of a text, or what is wrong with it.
pub(super) fn names(text: &str) -> Result<Vec<&str>, String> {
    let (mut names, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            return Err("has a `{{` and no `}}`".to_owned());
        };
        let name = name.trim();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_name {
            return Err(format!("has the variable `{name}`, which is no name"));
        }
        names.push(name);
        rest = behind;
    }
    Ok(names)
}

/// Fills the variables in; the name of one that has no value is the error.
fn fill(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { break };
        let name = name.trim();
        filled.push_str(before);
        filled.push_str(values.get(name).ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> BTreeMap<String, String> {
        BTreeMap::from([("address".into(), "10.0.0.9".into()), ("token".into(), "geheim".into())])
    }

    fn edit(replace: &str, with: &str, count: Option<u64>) -> Edit {
        Edit { file: "*.conf".into(), replace: replace.into(), with: with.into(), count }
    }

    #[test]
    fn variables_are_filled_in_on_both_sides_and_each_place_is_counted() {
        let edit = edit("listen {{address}}", "listen {{ token }}!", Some(2));
        let filled = Filled::of("settings", 0, &edit, &values()).unwrap();
        let mut text = "listen 10.0.0.9;listen 10.0.0.9; listen 10.0.0.8".to_owned();
        assert_eq!(filled.apply(&mut text), 2);
        assert_eq!(text, "listen geheim!;listen geheim!; listen 10.0.0.8");
        assert!(filled.judge(2, 1).is_ok());
        let error = filled.judge(1, 1).unwrap_err().to_string();
        assert!(error.contains("1 times") && error.contains("not 2") && !error.contains("geheim"), "{error}");
        assert!(filled.judge(0, 0).unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn a_variable_without_a_value_is_named_with_both_ways_to_give_it() {
        let edit = edit("a", "{{ domain }}", None);
        let Err(error) = Filled::of("settings", 3, &edit, &values()) else { panic!("it has no value") };
        assert!(
            error.to_string().contains("edit 4 of component `settings` needs the variable `domain`"),
            "{error}"
        );
    }
}
