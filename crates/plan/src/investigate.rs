//! What is asked of a component after a break-in: who is connected, who may do what, what was read, who has logged in.
//!
//! The kind of a component comes in; looks leave, each with the data source that it needs. They only read, and none of
//! them says what the answers mean. The sources are the manuals of PostgreSQL ("Monitoring Database Activity", "Role
//! Attributes") and of Redis (`CLIENT LIST`, `ACL LOG`, `SLOWLOG`).

use muster_types::script::{LogSetting, Look, Question};

/// A template: name, question, what it needs, whether an empty answer is one.
type Template = (&'static str, &'static str, &'static str, bool);

const POSTGRES: &[Template] = &[
    (
        "sessions",
        "select pid, usename, datname, client_addr, application_name, backend_start, state, query_start, query from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() order by backend_start",
        "the view pg_stat_activity and the role pg_read_all_stats",
        true,
    ),
    (
        "roles",
        "select rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolvaliduntil from pg_roles where rolname !~ '^pg_' order by rolname",
        "the view pg_roles",
        false,
    ),
    (
        "memberships",
        "select member.rolname, granted.rolname, link.admin_option from pg_auth_members link join pg_roles member on member.oid = link.member join pg_roles granted on granted.oid = link.roleid order by 1, 2",
        "the table pg_auth_members",
        true,
    ),
    (
        "grants",
        "select coalesce(role.rolname, 'PUBLIC'), space.nspname, class.relname, string_agg(acl.privilege_type, ',' order by acl.privilege_type) from pg_class class join pg_namespace space on space.oid = class.relnamespace cross join lateral aclexplode(class.relacl) acl left join pg_roles role on role.oid = acl.grantee where space.nspname not in ('pg_catalog', 'information_schema') group by 1, 2, 3 order by 1, 2, 3",
        "the table pg_class",
        true,
    ),
    (
        "read-by-table",
        "select schemaname, relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables order by seq_tup_read + coalesce(idx_tup_fetch, 0) desc",
        "the view pg_stat_user_tables",
        true,
    ),
    (
        "read-by-database",
        "select datname, tup_returned, tup_fetched, xact_commit, temp_bytes, stats_reset from pg_stat_database where datname is not null order by tup_returned desc",
        "the view pg_stat_database",
        false,
    ),
    (
        "replication",
        "select 'sender', usename, client_addr::text, application_name, backend_start::text from pg_stat_replication union all select 'slot', slot_name, plugin, slot_type, active::text from pg_replication_slots",
        "the views pg_stat_replication and pg_replication_slots",
        true,
    ),
    (
        "statements",
        "select r.rolname, s.calls, s.rows, s.query from pg_stat_statements s join pg_roles r on r.oid = s.userid order by s.rows desc limit 500",
        "the extension pg_stat_statements",
        true,
    ),
    (
        "logins",
        "select line from regexp_split_to_table(pg_read_file(pg_current_logfile()), E'\\n') line where line ~ 'connection (received|authenticated|authorized)|authentication failed'",
        "a log that the server itself writes (`logging_collector`, `log_connections`) and the right to read it (`pg_read_server_files`)",
        false,
    ),
];

const REDIS: &[Template] = &[
    ("clients", "CLIENT LIST", "the command CLIENT", false),
    ("users", "ACL USERS", "the command ACL", false),
    ("refused", "ACL LOG 128", "the command ACL", true),
    ("slow", "SLOWLOG GET 128", "the command SLOWLOG", true),
    ("commands", "INFO commandstats", "the command INFO", false),
    ("replication", "INFO replication", "the command INFO", false),
];

/// Returns the looks at a component of a kind; none for a kind that cannot be asked.
pub fn of_component(component: &str, kind: &str) -> Vec<Look> {
    let templates = match kind {
        "postgres" => POSTGRES,
        "redis" => REDIS,
        _ => &[],
    };
    let look = |(name, text, needs, may_be_empty): &Template| Look {
        name: format!("{component}-{name}"),
        question: match kind {
            "postgres" => Question::Sql { component: component.to_owned(), query: (*text).to_owned() },
            _ => Question::Command {
                component: component.to_owned(),
                words: text.split(' ').map(str::to_owned).collect(),
            },
        },
        needs: (*needs).to_owned(),
        may_be_empty: *may_be_empty,
    };
    templates.iter().map(look).collect()
}

/// Returns what lets a server log more, and whether it is set by SQL: of PostgreSQL every statement (or `level`) and who comes
/// and goes, of Redis the level `verbose`.
pub fn log_settings(is_postgres: bool, level: Option<&str>) -> (bool, Vec<LogSetting>) {
    let setting = |name: &str, value: &str| LogSetting { name: name.to_owned(), value: value.to_owned() };
    if is_postgres {
        let statements = setting("log_statement", level.unwrap_or("all"));
        return (true, vec![statements, setting("log_disconnections", "on")]);
    }
    (false, vec![setting("loglevel", level.unwrap_or("verbose"))])
}

/// Returns the looks at a git repository: what came in since a time that `git` understands, and where its branches were.
pub fn of_git(path: &str, since: Option<&str>) -> Vec<Look> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("git");
    let git = |what: &str, words: &[&str]| {
        let argv =
            ["git", "--no-pager", "-C", path].into_iter().chain(words.iter().copied()).map(str::to_owned);
        let argv = argv.chain(since.filter(|_| what == "commits").map(|since| format!("--since={since}")));
        Look {
            name: format!("{name}-{what}"),
            question: Question::Program { argv: argv.collect() },
            needs: format!("a git repository at {path}"),
            may_be_empty: true,
        }
    };
    vec![
        git(
            "commits",
            &[
                "log",
                "--all",
                "--date=iso-strict",
                "--name-status",
                "--format=%H %ad %cd %an <%ae> %cn <%ce> %s",
            ],
        ),
        git("reflog", &["reflog", "--all", "--date=iso-strict"]),
        git("remotes", &["remote", "--verbose"]),
    ]
}

/// Returns the look at a file.
pub fn of_file(path: &str) -> Look {
    let name: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    Look {
        name: format!("file{name}"),
        question: Question::File { path: path.to_owned() },
        needs: format!("the file {path}, and the right to read it"),
        may_be_empty: true,
    }
}
