//! The words of Muster on the command line: arguments in, an answer and an exit code out.
//!
//! [`run`] parses, wires ([`app`]) and hands over to one file per verb in `commands`: survey, plan, execute, render.
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
mod render;
mod signals;

use std::process::ExitCode;

use clap::Parser;
use muster_types::Kind;

use crate::{
    answer::Answer,
    args::Cli,
    exit::{Failure, exit_code},
};

/// Runs the command line and returns the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = signals::listen() {
        return end(
            &cli,
            Err(Failure::new(Kind::Bug, format!("cannot listen to signals: {error}"), "report this")),
        );
    }
    let result = commands::dispatch(&cli);
    end(&cli, result)
}

fn end(cli: &Cli, result: Result<Answer, Failure>) -> ExitCode {
    if let Ok(answer) = &result {
        // A closed stderr is not worth failing for.
        drop(std::io::Write::write_all(&mut std::io::stderr(), answer.errors.as_bytes()));
    }
    let (text, code) = match result {
        Ok(answer) if cli.global.json => (pretty(&answer.document), answer.code),
        Ok(answer) => (answer.text, answer.code),
        Err(failure) => {
            let shown = failure.rendered.clone().unwrap_or_else(|| exit::render(&failure.note));
            // A closed stderr is not worth failing for.
            drop(std::io::Write::write_all(&mut std::io::stderr(), shown.as_bytes()));
            let code = failure.code();
            if !cli.global.json {
                return exit_code(code);
            }
            let mut document = serde_json::json!({"outcome": "failed", "error": failure.note});
            if let Some(details) = failure.details {
                document["details"] = details;
            }
            (pretty(&document), code)
        }
    };
    match answer::print(&text) {
        Ok(()) => exit_code(code),
        Err(_) => exit_code(exit::FAILED),
    }
}

fn pretty(document: &serde_json::Value) -> String {
    format!("{document:#}")
}
