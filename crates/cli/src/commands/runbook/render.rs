//! `muster runbook render`: a runbook for paper, with the times of earlier runs beside the expected ones.
//!
//! A file comes in; Markdown or HTML leaves. The times are those of this platform's journal; where there is none, the
//! runbook is printed without. Nothing is executed and nothing is written.

use std::path::Path;

use muster_engine::{fold, journal::Journal};
use muster_plan::runbook::{self, render};
use muster_types::{Kind, measured::Measured, text};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::show;
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, RenderForm},
    exit::Failure,
};

pub(super) fn run(global: &Global, file: &Path, form: RenderForm) -> Result<Answer, Failure> {
    let bytes = super::bytes(file)?;
    let document = super::document(file, &bytes)?;
    if !runbook::is_runbook(&document) {
        return Err(Failure::new(
            Kind::Input,
            format!("{} is a document, and no runbook", file.display()),
            format!("make runbooks of it: `muster runbook import {} --into recovery`", file.display()),
        ));
    }
    let loaded = runbook::load(&bytes).map_err(|error| super::failure(file, &bytes, &error))?;
    show::follow(file, &loaded)?;
    let measured = measured(global, file)?;
    let sha256 = text::hex(Sha256::digest(&bytes));
    let name = file.display().to_string();
    let (form, text) = if form.html {
        ("html", render::html(&loaded, &name, &sha256, &measured))
    } else {
        ("markdown", render::markdown(&loaded, &String::from_utf8_lossy(&bytes), &measured))
    };
    let document =
        json!({"file": name, "sha256": sha256, "form": form, "runs": measured.whole.len(), "text": text});
    Ok(Answer::new(text, document))
}

/// The times of earlier runs; none where there is no platform.
fn measured(global: &Global, file: &Path) -> Result<Measured, Failure> {
    // A binder is printed on any machine: without a configuration there is no journal, and that is no failure.
    let Ok(loaded) = app::load(global, Intent::Read) else { return Ok(Measured::default()) };
    if !loaded.state_dir.join("state.db").exists() {
        return Ok(Measured::default());
    }
    let events = Journal::open(&loaded.state_dir)?.events()?;
    let path = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    Ok(fold::measured(&fold::runs(&events), &path, None))
}
