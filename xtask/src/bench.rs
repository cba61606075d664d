//! Measures backup and restore beside other tools, in one run: `cargo xtask bench`.
//!
//! In: a size and a number of rounds. Out: a table on stdout and, with `--json FILE`, every single measurement. Rounds
//! are interleaved, each tool once per round, so that a slow minute of the machine hits all of them; the median counts.
//!
//! Every command ends with its data on disk (`sync -f`), reads from a warm cache, and has the whole machine. Nothing
//! here is asserted: figures are read by people.
//!
//! Read next: [`data`] for what is backed up, [`measure`] for time and memory.

mod data;
mod log;
mod measure;
mod postgres;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::workspace;
use measure::{Measurement, folder_size, run};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Megabytes of files, and of the database
    #[arg(long, default_value_t = 512)]
    size_mib: u64,
    /// Megabytes of write-ahead log that are received and replayed
    #[arg(long, default_value_t = 1024)]
    log_mib: u64,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Data::Files, Data::Sqlite])]
    data: Vec<Data>,
    /// How often each command is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The binary that is measured. Default: it is built now, with `--release`
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
    /// Where every measurement is written
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the data and the repositories go; removed at the end. Default: below `target/`
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Data {
    Files,
    Sqlite,
    /// A cluster of PostgreSQL 15; takes minutes per round
    Postgres,
    /// The write-ahead log of PostgreSQL 15: received, and replayed to a time; takes minutes per round
    Log,
}

/// One command of one tool, run once per round.
struct Case {
    data: &'static str,
    verb: &'static str,
    tool: &'static str,
    /// A shell line, run with a clean place for its output.
    line: String,
    /// What the command makes; its size is reported.
    output: PathBuf,
    /// A file that holds how many bytes were worked on; the rate is reported then.
    work: Option<PathBuf>,
    /// Makes room for it: an empty repository, no earlier output.
    prepare: String,
}

/// Measures everything and prints the table.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let muster = if let Some(file) = &args.muster {
        file.canonicalize().with_context(|| format!("finding {}", file.display()))?
    } else {
        workspace::run("cargo", &["build", "--release", "--bin", "muster"])?;
        workspace::root().join("target/release/muster")
    };
    let muster = muster.display().to_string();
    let folder = args.folder.clone().unwrap_or_else(|| workspace::root().join("target/bench"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    // pgBackRest compares paths with those that the server tells: no links in them.
    let folder = folder.canonicalize()?;
    println!("making {} MiB of each kind of data in {}", args.size_mib, folder.display());
    let size = args.size_mib << 20;
    let wants = |data| args.data.contains(&data);
    data::files(&folder.join("files"), if wants(Data::Files) { size } else { 1 })?;
    data::database(&folder.join("app.db"), if wants(Data::Sqlite) { size } else { 1 })?;
    data::configuration(&folder)?;
    let server = if wants(Data::Postgres) {
        postgres::check()?;
        Some(postgres::Server::start(&folder, size)?)
    } else {
        None
    };
    let log = if wants(Data::Log) {
        postgres::check()?;
        Some(log::Log::start(&folder, size, args.log_mib)?)
    } else {
        None
    };
    let mut cases = cases(&folder, &args.data, server.as_ref(), &muster);
    cases.extend(log.iter().flat_map(|log| log.cases(&muster)));
    let mut results: Vec<Vec<Measurement>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (case, results) in cases.iter().zip(&mut results) {
            println!("round {round}: {} {} {}", case.tool, case.verb, case.data);
            results.push(measure_case(&folder, case)?);
        }
    }
    print_table(&cases, &results);
    if let Some(path) = &args.json {
        let document = document(args, &cases, &results);
        #[expect(clippy::disallowed_methods, reason = "figures can be measured again")]
        fs::write(path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    drop((server, log));
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn measure_case(folder: &Path, case: &Case) -> anyhow::Result<Measurement> {
    run(folder, &case.prepare).with_context(|| format!("preparing `{}`", case.line))?;
    let mut measurement = run(folder, &case.line)?;
    measurement.size_bytes = folder_size(&case.output)?;
    ensure!(measurement.size_bytes > 0, "`{}` made nothing", case.line);
    if let Some(path) = &case.work {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        measurement.work_bytes = Some(text.trim().parse().context("bytes of work")?);
    }
    Ok(measurement)
}

/// How the tools name one kind of data.
struct Subject<'a> {
    data: &'static str,
    component: &'static str,
    /// The `muster` binary.
    muster: &'a str,
    folder: &'a Path,
}

const RESTIC: &str = "restic --quiet --no-cache -r restic-repository";
/// What other tools need before they can read a database that is written to.
const COPY: &str = "sqlite3 app.db \".backup copy.db\"";

/// All commands; the backups of a kind before its restores, so that they find what to restore.
fn cases(folder: &Path, data: &[Data], server: Option<&postgres::Server>, muster: &str) -> Vec<Case> {
    [(Data::Files, "files", "files"), (Data::Sqlite, "sqlite", "database")]
        .into_iter()
        .filter(|(kind, _, _)| data.contains(kind))
        .map(|(_, data, component)| Subject { data, component, muster, folder })
        .flat_map(|subject| subject.backups().into_iter().chain(subject.restores()).collect::<Vec<_>>())
        .chain(server.iter().flat_map(|server| server.cases(muster)))
        .collect()
}

impl Subject<'_> {
    fn case(
        &self,
        verb: &'static str,
        tool: &'static str,
        line: String,
        output: &str,
        prepare: String,
    ) -> Case {
        Case { data: self.data, verb, tool, line, output: self.folder.join(output), work: None, prepare }
    }

    fn archive(&self) -> String {
        format!("{}.zst", self.component)
    }

    fn backups(&self) -> Vec<Case> {
        let (muster, component, archive) = (self.muster, self.component, self.archive());
        let (restic, tar, limit) = if self.data == "files" {
            (
                format!("{RESTIC} backup files"),
                format!("tar -c files | zstd -q -3 -T2 -o {archive} && sync -f {archive}"),
                "cp -a files plain && sync -f plain".to_owned(),
            )
        } else {
            (
                format!("{COPY} && {RESTIC} backup copy.db"),
                format!("{COPY} && tar -c copy.db | zstd -q -3 -T2 -o {archive} && sync -f {archive}"),
                "sqlite3 app.db \".backup plain\" && sync -f plain".to_owned(),
            )
        };
        let new_muster = format!("rm -rf muster-repository .muster && {muster} --quiet init --yes");
        let new_restic = "rm -rf restic-repository copy.db && restic --quiet -r restic-repository init --repository-version 2";
        vec![
            self.case(
                "backup",
                "muster",
                format!("{muster} --quiet backup {component}"),
                "muster-repository/data",
                new_muster,
            ),
            self.case("backup", "restic", restic, "restic-repository/data", new_restic.into()),
            self.case("backup", "tar | zstd -3 -T2", tar, &archive, format!("rm -rf {archive} copy.db")),
            self.case("backup", "limit: plain copy", limit, "plain", "rm -rf plain".into()),
        ]
    }

    fn restores(&self) -> Vec<Case> {
        let (muster, component, archive) = (self.muster, self.component, self.archive());
        let line = |tool| match tool {
            "muster" => format!("{muster} --quiet restore {component} --into back"),
            "restic" => format!("{RESTIC} restore latest --target back && sync -f back"),
            "tar | zstd -3 -T2" => {
                format!("mkdir back && zstd -q -d -c {archive} | tar -x -C back && sync -f back")
            }
            _ => "cp -a plain back && sync -f back".to_owned(),
        };
        ["muster", "restic", "tar | zstd -3 -T2", "limit: plain copy"]
            .into_iter()
            .map(|tool| self.case("restore", tool, line(tool), "back", "rm -rf back".into()))
            .collect()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn print_table(cases: &[Case], results: &[Vec<Measurement>]) {
    println!(
        "\n{:8} {:8} {:20} {:>9} {:>17} {:>7} {:>10} {:>10} {:>7}",
        "data", "verb", "tool", "seconds", "(min-max)", "cpu s", "size MiB", "memory MiB", "MiB/s"
    );
    for (case, all) in cases.iter().zip(results) {
        let seconds: Vec<f64> = all.iter().map(|one| one.seconds).collect();
        let (low, high) =
            seconds.iter().fold((f64::MAX, 0.0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
        let memory = all.iter().map(|one| one.memory_bytes).max().unwrap_or(0);
        let size = all.last().map_or(0, |one| one.size_bytes);
        let cpu = median(all.iter().map(|one| one.cpu_seconds).collect());
        let rates: Option<Vec<f64>> =
            all.iter().map(|one| Some(mib(one.work_bytes?) / one.seconds)).collect();
        let rate = rates.map_or_else(String::new, |rates| format!("{:.1}", median(rates)));
        println!(
            "{:8} {:8} {:20} {:>9.2} {:>17} {:>7.2} {:>10.1} {:>10.1} {:>7}",
            case.data,
            case.verb,
            case.tool,
            median(seconds.clone()),
            format!("({low:.2}-{high:.2})"),
            cpu,
            mib(size),
            mib(memory),
            rate
        );
    }
}

fn document(args: &BenchArgs, cases: &[Case], results: &[Vec<Measurement>]) -> serde_json::Value {
    let rows: Vec<_> = cases
        .iter()
        .zip(results)
        .map(|(case, all)| {
            json!({
                "data": case.data,
                "verb": case.verb,
                "tool": case.tool,
                "command": case.line,
                "median_seconds": median(all.iter().map(|one| one.seconds).collect()),
                "seconds": all.iter().map(|one| one.seconds).collect::<Vec<_>>(),
                "cpu_seconds": all.iter().map(|one| one.cpu_seconds).collect::<Vec<_>>(),
                "work_bytes": all.iter().map(|one| one.work_bytes).collect::<Vec<_>>(),
                "size_bytes": all.last().map(|one| one.size_bytes),
                "memory_bytes": all.iter().map(|one| one.memory_bytes).max(),
            })
        })
        .collect();
    json!({"size_mib": args.size_mib, "log_mib": args.log_mib, "rounds": args.rounds, "rows": rows})
}
