//! The demo: the README's first command.

use std::path::Path;

use muster_testkit::{Cli, Sandbox};

#[test]
fn the_demo_recovers_its_platform_and_leaves_a_report_and_nothing_else() {
    let sandbox = Sandbox::empty();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path()).env("TMPDIR", sandbox.path());
    let told = cli.run(&["demo", "--json"]);
    told.assert_exit(0);
    let report = told.json();
    assert_eq!(report["outcome"], "passed");
    assert!(report["elapsed_seconds"].as_f64().unwrap() < 60.0);
    for objective in ["rto", "rpo"] {
        let row = report["objectives"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["component"] == "database" && row["objective"] == objective)
            .unwrap();
        assert_eq!(row["verdict"], "met", "{row:#}");
        assert!(row["measured_seconds"].as_f64().unwrap() > 0.0);
        assert!(row["target_seconds"].as_f64().unwrap() > 0.0);
    }
    for step in report["steps"].as_array().unwrap() {
        assert_eq!(step["state"], "done", "{step:#}");
        assert!(step["name"].is_string() && step["seconds"].is_number(), "{step:#}");
    }
    let loss = &report["loss"];
    let difference = loss["reported_seconds"].as_f64().unwrap() - loss["seconds"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&difference), "reported and real loss differ by {difference}s");
    assert!(loss["rows"].as_u64().unwrap() > 0, "an accident that loses nothing shows nothing");
    let markdown = report["report"]["markdown"].as_str().unwrap();
    let folder = Path::new(markdown).parent().unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["report.json", "report.md"]);
}
