//! The words of Muster on the command line: arguments in, an answer and an exit code out.
//!
//! [`run`] parses, wires (`app`) and hands over to one file per verb in `commands`: survey, plan, execute, render.
//! stdout is the answer, stderr is status.
//!
//! It never decides what a plan contains and never does what a plan says.

mod answer;
mod app;
mod args;
mod clock;
mod commands;
pub mod config;
mod confirm;
mod demo;
mod exit;
pub mod init;
mod metrics;
mod progress;
mod recoverability;
mod render;
mod rules;
mod scheduler;
mod signals;
mod unseal;

use std::process::ExitCode;

use clap::Parser;
use muster_types::{Kind, Mask};

use crate::{
    answer::Answer,
    args::Cli,
    exit::{Failure, exit_code},
};

/// Runs the command line and returns the exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    if let Err(error) = signals::listen() {
        return end(
            &cli,
            Err(Failure::new(Kind::Bug, format!("cannot listen to signals: {error}"), "report this")),
        );
    }
    let result = commands::dispatch(&cli);
    end(&cli, result)
}

/// Help and version are answers. Anything else is a usage error, which a program must be able to read too.
fn misused(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::new(Kind::Input, first, "see `muster help`");
        let document = serde_json::json!({"outcome": "failed", "error": failure.note});
        drop(answer::print(&format!("{document:#}")));
    }
    // A closed stream is not worth failing for.
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::FAILED))
}

/// Prints what there is to say, without secrets, and returns the exit code.
fn end(cli: &Cli, result: Result<Answer, Failure>) -> ExitCode {
    let mask = app::mask();
    let (errors, answer) = match result {
        Ok(answer) => (answer.errors.clone(), answer),
        Err(failure) => {
            let shown = failure.rendered.clone().unwrap_or_else(|| exit::render(&failure.note));
            let code = failure.code();
            let mut document = serde_json::json!({"outcome": "failed", "error": failure.note});
            if let Some(details) = failure.details {
                document["details"] = details;
            }
            (shown, Answer::new("", document).with_code(code))
        }
    };
    // A closed stderr is not worth failing for.
    drop(std::io::Write::write_all(&mut std::io::stderr(), mask.apply(&errors).as_bytes()));
    let text = if cli.global.json && !answer.document.is_null() {
        let mut document = answer.document;
        cover(&mut document, &mask);
        format!("{document:#}")
    } else {
        mask.apply(&answer.text)
    };
    match answer::print(&text) {
        Ok(()) => exit_code(answer.code),
        Err(error) => {
            let said = format!(
                "error: cannot print the answer: {error}\nhint:  what was done is in `muster runs`\n"
            );
            drop(std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()));
            exit_code(if answer.code == exit::DONE { exit::FAILED } else { answer.code })
        }
    }
}

fn cover(document: &mut serde_json::Value, mask: &Mask) {
    match document {
        serde_json::Value::String(text) => mask.cover(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| cover(item, mask)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| cover(field, mask)),
        _ => {}
    }
}
