//! One file per verb. Each is the same lines: survey, plan, execute, render.

pub(crate) mod backup;
mod buckets;
mod cheat;
mod check;
mod config;
pub(crate) mod copy;
mod detach;
mod diagnose;
mod doctor;
pub(crate) mod failover;
mod init;
mod keep;
mod key;
mod kit;
mod lint;
mod list;
pub(crate) mod network;
mod pin;
pub(crate) mod prove;
mod prune;
pub(crate) mod quarantine;
mod reach;
mod recover;
pub(crate) mod repair;
pub(crate) mod rescue;
pub(crate) mod restore;
mod resume;
pub(crate) mod rotate;
mod run;
mod runbook;
mod runs;
mod schedule;
mod secrets;
mod serve;
mod service;
mod show;
mod status;
mod survey;
mod verify;
mod wal;

use clap::CommandFactory;

use crate::{
    answer::Answer,
    args::{Cli, Command},
    demo,
    exit::Failure,
};

/// Hands the arguments to their verb.
pub(crate) fn dispatch(cli: &Cli) -> Result<Answer, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(global, args),
        Command::Survey(args) => survey::run(global, args),
        Command::Config(command) => config::run(global, command),
        Command::Cheat => cheat::run(global),
        Command::Check(args) => check::run(global, args),
        Command::Diagnose(args) => diagnose::run(global, args),
        Command::Doctor(args) => doctor::run(global, args),
        Command::Network(args) => network::run(global, args),
        Command::Backup(args) => backup::run(global, args),
        Command::Copy(args) => copy::run(global, args),
        Command::Recover(args) => recover::run(global, args),
        Command::Kit(args) => kit::run(global, args),
        Command::List(args) => list::run(global, args),
        Command::Show(args) => show::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Prove(args) => prove::run(global, args),
        Command::Restore(args) => restore::run(global, args),
        Command::Rescue(args) => rescue::run(global, args),
        Command::Failover(args) => failover::run(global, args),
        Command::Repair(args) => repair::run(global, args),
        Command::Quarantine(args) => quarantine::run(global, args),
        Command::Run(args) => run::run(global, args),
        Command::Resume(args) => resume::run(global, args),
        Command::Runs(args) => runs::run(global, args),
        Command::Schedule(args) => schedule::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::Serve(args) => serve::run(global, args),
        Command::Prune(args) => prune::run(global, args),
        Command::Pin(args) => pin::run(global, args),
        Command::Lint(args) => lint::run(global, args),
        Command::Key(command) => key::run(global, command),
        Command::Secrets(args) => secrets::run(global, args),
        Command::Rotate(args) => rotate::run(global, args),
        Command::Service(args) => service::run(global, args),
        Command::Wal(command) => wal::run(global, command),
        Command::Reach(args) => reach::run(global, args),
        Command::Detach(args) => detach::run(global, args),
        Command::Runbook(command) => runbook::run(global, command),
        Command::Demo(args) => demo::run(global, args),
        Command::KeepStep { folder } => keep::run(folder),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "muster", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            Ok(Answer::new(script.clone(), serde_json::json!({"script": script})))
        }
    }
}
