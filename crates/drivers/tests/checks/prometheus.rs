//! `prometheus` against a real Prometheus, and `statuspage` against pages of its form.

use std::{fs, process::Command, time::Duration};

use muster_drivers::checks::validate;
use muster_testkit::{free_port, wait_for};
use muster_types::config::{Check, PrometheusCheck};
use tempfile::TempDir;

use crate::{answering, given, names::Server, reason};

fn metrics(targets: &[u16]) -> (Server, u16, TempDir) {
    let (folder, port) = (TempDir::new().unwrap(), free_port());
    let targets: Vec<String> = targets
        .iter()
        .map(|target| format!("'127.0.0.1:{target}'"))
        .chain([format!("'127.0.0.1:{port}'")])
        .collect();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: own\n    \
         static_configs: [{{targets: [{}]}}]\n",
        targets.join(", ")
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let mut command = Command::new("/usr/bin/prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(folder.path());
    (Server::start(&mut command, port), port, folder)
}

fn asking(port: u16, query: Option<&str>, conditions: &[&str]) -> Check {
    let asked = PrometheusCheck { url: format!("http://127.0.0.1:{port}/"), query: query.map(str::to_owned) };
    Check { prometheus: Some(asked), ..given(conditions) }
}

// proves: E9
#[test]
fn all_targets_of_prometheus_must_be_up_and_a_query_gives_one_value() {
    let nobody = free_port();
    let (_server, port, _folder) = metrics(&[]);
    wait_for("the first scrape", Duration::from_mins(1), || {
        reason(&asking(port, None, &[])).is_none().then_some(())
    });
    assert_eq!(reason(&asking(port, Some("min(up)"), &["[BODY] == 1"])), None);
    assert_eq!(reason(&asking(port, Some("1 + 1"), &["[BODY] == 2", "[STATUS] == 200"])), None);
    for (query, told) in [
        ("min(up)", "`[BODY] > 1` does not hold: found 1"),
        ("gone_metric", "the query gives no series"),
        (
            "{__name__=~\"up|scrape_duration_seconds\"}",
            "the query gives 2 series instead of one: aggregate them, like `min(up)`",
        ),
        ("up[5m]", "the query gives no value of one moment"),
    ] {
        assert_eq!(reason(&asking(port, Some(query), &["[BODY] > 1"])).unwrap(), told, "{query}");
    }
    let told = reason(&asking(port, Some("up{"), &["[BODY] > 1"])).unwrap();
    assert!(told.starts_with("Prometheus says: ") && told.contains("parse error"), "{told}");
    let (_second, second, _also) = metrics(&[nobody]);
    let down = wait_for("a target that is down", Duration::from_mins(1), || {
        reason(&asking(second, None, &[])).filter(|told| told.contains("found 1"))
    });
    assert_eq!(down, "`len([BODY].down) == 0` does not hold: found 1");
    let told = reason(&asking(second, None, &["[BODY].down[0] == none"])).unwrap();
    assert!(told.contains(&format!("http://127.0.0.1:{nobody}/metrics")), "{told}");
    assert_eq!(validate(&asking(port, Some("up"), &[])).unwrap_err().offending, "query");
    let page = answering("200 OK", b"<html>", Duration::ZERO);
    let asked = PrometheusCheck { url: page, query: None };
    let told = reason(&Check { prometheus: Some(asked), ..given(&[]) }).unwrap();
    assert_eq!(told, "the answer (status 200) is not that of Prometheus");
}

// proves: D14
#[test]
fn a_status_page_that_answers_with_200_and_a_major_incident_is_not_health() {
    let page = |indicator: &str| {
        let body =
            format!(r#"{{"page":{{"name":"x"}},"status":{{"indicator":"{indicator}","description":"y"}}}}"#);
        let url = answering("200 OK", body.as_bytes(), Duration::ZERO);
        reason(&Check { statuspage: Some(url), ..given(&[]) })
    };
    assert_eq!(page("none"), None);
    let told = page("major").unwrap();
    assert_eq!(told, "`[BODY].status.indicator == none` does not hold: found major");
    assert!(page("minor").is_some() && page("critical").is_some());
    let url = answering("200 OK", b"{}", Duration::ZERO);
    let told = reason(&Check { statuspage: Some(url), ..given(&[]) }).unwrap();
    assert!(told.contains("nothing at [BODY].status"), "{told}");
}
