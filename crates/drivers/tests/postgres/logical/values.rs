//! Every kind of value changes the witness, and no setting of the server does.

use muster_testkit::{Postgres, postgres::Version};

use super::{of, reader};
use crate::taken::take;

/// Name, type, a value, and the value next to it.
const VALUES: &[[&str; 4]] = &[
    ["scale", "numeric", "0.1", "0.10"],
    ["large", "numeric", "'NaN'", "123456789012345678901234567890.000000000000000000000000000001"],
    ["double", "double precision", "0.1", "0.1000000000000000055511151231257827e0 + 1.4e-17"],
    ["single", "real", "1.1", "'-0'"],
    ["instant", "timestamptz", "'2026-03-29 01:00:00.000001+00'", "'2026-03-29 01:00:00.000002+00'"],
    ["moment", "timestamp", "'infinity'", "'4713-01-01 00:00:00 BC'"],
    ["day", "date", "'2026-01-02'", "'2026-02-01'"],
    ["hour", "timetz", "'12:00:00+01'", "'11:00:00+00'"],
    ["stretch", "interval", "'1 mon'", "'30 days'"],
    ["bytes", "bytea", "'\\x00ff'", "'\\x00fe'"],
    ["text", "json", "'{\"a\": 1}'", "'{\"a\":1}'"],
    ["document", "jsonb", "'{\"a\": 1}'", "'{\"a\": 1.0}'"],
    ["list", "text[]", "'{NULL}'", "'{\"NULL\"}'"],
    ["grid", "int[]", "'{{1,2},{3,4}}'", "'{1,2,3,4}'"],
    ["nothing", "text", "null", "''"],
    ["odd", "text", "E'tab\\t nl\\n \\\\. quote'' \"ß€😀'", "E'tab\\t nl\\n \\\\. quote'' \"ß€😁'"],
    ["padded", "char(5)", "'a'", "'b'"],
    ["composite", "pair", "row(1, null)", "row(1, '')"],
    ["mood", "feeling", "'sad'", "'glad'"],
    ["stretches", "int4range", "'[1,2)'", "'[1,3)'"],
    ["many", "int4multirange", "'{[1,2),[5,6)}'", "'{[1,2)}'"],
    ["domain", "positive", "1", "2"],
    ["money", "money", "1234.5", "1234.6"],
    ["bits", "bit varying", "b'101'", "b'0101'"],
    ["address", "inet", "'10.0.0.1/8'", "'10.0.0.1'"],
    ["point", "point", "'(1,2)'", "'(2,1)'"],
    ["words", "tsvector", "'a:1 b:2'", "'a:1 b:3'"],
    ["key", "uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"],
    ["relation", "regclass", "'pg_class'", "'pg_type'"],
    ["flag", "boolean", "true", "null"],
];

#[test]
fn every_kind_of_value_is_in_the_witness_whatever_the_settings_of_the_server_are() {
    for version in Version::ALL {
        let mut server = Postgres::start_new(version);
        reader(&mut server);
        let mut sql = String::from("create database values; ");
        // None of these may change what is computed.
        for (name, value) in [
            ("DateStyle", "SQL, DMY"),
            ("TimeZone", "Asia/Tokyo"),
            ("IntervalStyle", "iso_8601"),
            ("bytea_output", "escape"),
            ("extra_float_digits", "-3"),
            ("search_path", "pg_catalog"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "1h"),
        ] {
            sql.push_str(&format!("alter database values set {name} = '{value}'; "));
        }
        server.psql("postgres", &sql);
        let mut sql = String::from(
            "set search_path = public; set default_transaction_read_only = off; create type pair as (a int, b text); create type feeling as enum ('sad', 'glad'); create domain positive as int check (value > 0); ",
        );
        let mut change = String::from("set search_path = public; set default_transaction_read_only = off; ");
        for [name, kind, value, next] in VALUES {
            sql.push_str(&format!(
                "create table \"{name}\" (v {kind}); insert into \"{name}\" values ({value}); "
            ));
            change.push_str(&format!("update \"{name}\" set v = {next}; "));
        }
        server.psql("values", &sql);
        let first = take(&of(&server, "values"));
        first.prove(&[]).unwrap();
        server.psql("values", &change);
        let second = take(&of(&server, "values"));
        second.prove(&[]).unwrap();
        for [name, kind, ..] in VALUES {
            let [was, is] = [&first, &second].map(|taken| {
                (
                    &taken.summary.witness[&format!("rows:public.{name}")],
                    &taken.summary.witness[&format!("hash:public.{name}")],
                )
            });
            assert!(was.0 == "1" && is.0 == "1" && was.1 != is.1, "{version:?}: {kind} {was:?} {is:?}");
        }
    }
}
