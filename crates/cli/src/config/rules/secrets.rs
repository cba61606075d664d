//! What must hold for secrets: services that exist, places that can be meant, looks that use the value.
//!
//! Judges by the typed document, with the same code that opens places and looks. It never reads a place.

use muster_drivers::secrets;
use muster_types::{
    Explain,
    config::{NewSecret, Platform, SecretDefinition},
};

use super::Rules;
use crate::config::finding::Finding;

impl Rules<'_> {
    pub(super) fn judge_secrets(&self, findings: &mut Vec<Finding>) {
        let platform = &self.typed.platform;
        for (name, definition) in &platform.secrets {
            let path = ["secrets", name.as_str()];
            if self.is_refused(&path) {
                continue;
            }
            for (index, service) in definition.needed_by.iter().enumerate() {
                let index = index.to_string();
                self.judge_reference("service", service, &["secrets", name, "needed_by", &index], findings);
            }
            self.judge_places(name, platform, findings);
            if let Some(wrong) = definition.new.as_ref().and_then(wrong_source) {
                let place = self.sources.place(self.key_at(&["secrets", name, "new"]));
                let finding = Finding::error(format!("secret `{name}`: {wrong}")).at(place);
                findings.push(
                    finding.hint("give one of `generate: 32`, `command: […]`, `env: NAME`, `file: PATH`"),
                );
            }
            self.judge_looks(name, definition, findings);
        }
    }

    fn judge_places(&self, name: &str, platform: &Platform, findings: &mut Vec<Finding>) {
        if let Err(error) = secrets::places(platform, name) {
            let place = self.sources.place(self.key_at(&["secrets", name, "in"]));
            let hint = error.hint().map(|hint| hint.0).unwrap_or_default();
            findings.push(Finding::error(error.to_string()).at(place).hint(hint));
        }
    }

    fn judge_looks(&self, name: &str, definition: &SecretDefinition, findings: &mut Vec<Finding>) {
        let proof = &definition.proof;
        for (key, look) in [("accepts", &proof.accepts), ("refuses", &proof.refuses)] {
            let Some(look) = look else { continue };
            // An address that comes from a reference can be judged only when it is there.
            if look.http.as_ref().is_some_and(|address| address.contains("${")) {
                continue;
            }
            if let Err((what, hint)) = secrets::validate(look) {
                let place = self.sources.place(self.key_at(&["secrets", name, "proof", key]));
                findings
                    .push(Finding::error(format!("`{key}` of secret `{name}`: {what}")).at(place).hint(hint));
            }
        }
        if definition.revoke.as_ref().is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
            let place = self.sources.place(self.key_at(&["secrets", name, "revoke"]));
            let finding = Finding::error(format!("`revoke` of secret `{name}` is empty")).at(place);
            findings.push(finding.hint("give a program and its arguments: `revoke: [program, argument]`"));
        }
    }
}

/// Says why nothing new could come from there.
fn wrong_source(new: &NewSecret) -> Option<String> {
    let given = [new.generate.is_some(), new.command.is_some(), new.env.is_some(), new.file.is_some()];
    match given.iter().filter(|is_given| **is_given).count() {
        1 => {}
        0 => return Some("`new` does not say where a new value comes from".into()),
        _ => return Some("`new` names more than one source".into()),
    }
    if new.generate.is_some_and(|length| length < secrets::LENGTH_MIN) {
        return Some(format!("a value of less than {} characters can be guessed", secrets::LENGTH_MIN));
    }
    new.command
        .as_ref()
        .is_some_and(|argv| argv.first().is_none_or(String::is_empty))
        .then(|| "`command` of `new` is empty".into())
}
