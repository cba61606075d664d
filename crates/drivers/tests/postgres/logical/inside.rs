//! Dumps that go into a running server: odd names, names that are taken, what is removed.

use std::path::{Path, PathBuf};

use muster_drivers::component::ComponentDriver;
use muster_testkit::{Postgres, postgres::Version};
use muster_types::{Explain, Kind, event::Unwatched, place::in_server, plan::SwapMove};

use super::of;
use crate::taken::take;

fn place(name: &str) -> PathBuf {
    in_server("postgres", name)
}

fn exists(server: &Postgres, name: &str) -> bool {
    let name = name.replace('\'', "''");
    server.psql("template1", &format!("select count(*) from pg_database where datname = '{name}'")) == "1"
}

#[test]
fn a_database_goes_into_its_server_whatever_its_name_and_names_that_are_taken_stop_the_swap() {
    for (version, name) in [
        (Version::Fifteen, "it's = \"odd\" DATABASE"),
        (Version::Eighteen, "user"),
        (Version::Fifteen, "postgres"),
    ] {
        let mut server = Postgres::start_new(version);
        server.role("muster", "geheim", "superuser");
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        if name != "postgres" {
            server.psql("postgres", &format!("create database {quoted}"));
        }
        let psql = |sql: &str| {
            let database = format!("dbname='{}'", name.replace('\'', "\\'"));
            server.psql(&database, sql)
        };
        psql("create table t as select 1 as n; create sequence s; select nextval('s')");
        server.psql(
            "template1",
            &format!(
                "alter database {quoted} set work_mem = '9MB'; alter database {quoted} is_template true"
            ),
        );
        let url_name = name.replace(' ', "%20").replace('"', "%22").replace('=', "%3D");
        let taken = take(&of(&server, &url_name));
        psql("insert into t values (2)");
        let driver = taken.driver.server().unwrap();
        let one = SwapMove { from: place("new one"), target: place(name), kept: place("old one") };
        driver.check(&one.target, &Unwatched).unwrap();
        assert!(!driver.is_there(&one.from).unwrap() && !driver.is_half_done(&one).unwrap());
        driver.load(&taken.places, &one.from, &Unwatched).unwrap();
        assert!(driver.is_there(&one.from).unwrap());
        taken.judge_loaded(&one.from).unwrap();
        // What is not as the backup has it is named, and is not the backup's fault.
        server.psql("new one", "insert into t values (7)");
        let error = taken.judge_loaded(&one.from).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("rows:public.t is 2, the backup had 1"), "{error}");
        // Loaded again: what an earlier attempt has left is replaced.
        driver.load(&taken.places, &one.from, &Unwatched).unwrap();

        server.psql("template1", "create database \"old one\"");
        let error = driver.swap(std::slice::from_ref(&one), &Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(psql("select count(*) from t"), "2", "open as before");
        driver.remove(&one.kept).unwrap();
        driver.remove(&one.kept).unwrap();
        for _ in 0..2 {
            driver.swap(std::slice::from_ref(&one), &Unwatched).unwrap();
            assert_eq!(psql("select count(*) from t"), "1");
            assert_eq!(psql("show work_mem"), "9MB");
            assert!(exists(&server, "old one") && !exists(&server, "new one"));
        }
        let back = SwapMove { from: place("old one"), target: place(name), kept: place("new one") };
        driver.swap(std::slice::from_ref(&back), &Unwatched).unwrap();
        assert_eq!(psql("select count(*) from t"), "2");
        driver.remove(&back.kept).unwrap();
        assert!(!exists(&server, "new one"), "a template goes too");
        let error =
            driver.swap(&[SwapMove { target: place("nowhere"), ..one.clone() }], &Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
    }
}

#[test]
fn a_dump_goes_into_no_older_server_and_silence_is_no_answer() {
    let mut newer = Postgres::start_new(Version::Eighteen);
    let mut older = Postgres::start_new(Version::Fifteen);
    newer.role("muster", "geheim", "superuser");
    older.role("muster", "geheim", "superuser");
    newer.psql("postgres", "create database app");
    older.psql("postgres", "create database app");
    let taken = take(&of(&newer, "app"));
    let driver = crate::taken::driver(&of(&older, "app"));
    let error = driver.server().unwrap().load(&taken.places, &place("new"), &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("an older one may not take it"), "{error}");
    assert!(!exists(&older, "new"));
    // An older dump goes into a newer server.
    let taken = take(&of(&older, "app"));
    let driver = crate::taken::driver(&of(&newer, "app"));
    driver.server().unwrap().load(&taken.places, &place("new"), &Unwatched).unwrap();
    assert!(exists(&newer, "new"));
    newer.stop();
    // Who does not answer has not said that nothing is there.
    driver.server().unwrap().is_there(Path::new("/postgres/new")).unwrap_err();
}
