//! The steps that Muster does itself, as they are written in a `muster` fence.
//!
//! It is long and one thing: tables with one row for each kind of step.
//!
//! A YAML map comes in; a [`Native`] leaves with the class that it has by itself. Most steps have a short form, `stop: api`,
//! and a long one, `stop: {services: [api, web]}`.
//!
//! It is long and one thing, because it is one list: who looks for a key of a step finds it here.

mod change;
mod cluster;
mod data;
mod incident;

use muster_types::{Span, config::DnsRecord};
use serde::Serialize;

pub use change::{ChangeStep, ChangeTool};
pub use cluster::{ClusterStep, ClusterWork};

pub use self::{
    data::DataStep,
    incident::{Barrier, IncidentStep},
};
use super::{
    Class, Fault, Step,
    keys::{self, Keys},
    steps, template, way,
};
use crate::{
    command,
    yaml::{Node, Value},
};

/// The end of the id of the question that a `revise` step asks first.
pub(crate) const REVISED: &str = "-answer";

/// How deep steps may stand in steps.
const DEPTH_MAX: usize = 6;
/// How many steps of a `parallel` happen at a time when nobody says.
const AT_ONCE: usize = 4;

/// A step that Muster does itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the key of the step; docs/runbooks.md explains them")]
#[non_exhaustive]
pub enum Native {
    Check {
        checks: Vec<String>,
        tag: Option<String>,
    },
    Wait {
        checks: Vec<String>,
        span: Option<Span>,
    },
    Watch {
        span: Option<Span>,
        checks: Vec<String>,
    },
    Backup {
        components: Vec<String>,
        label: Option<String>,
    },
    Restore {
        component: String,
        to: Option<String>,
        into: Option<String>,
        tables: Vec<String>,
    },
    Rescue {
        component: String,
        table: String,
        filter: Option<String>,
        from: String,
    },
    Failover {
        component: String,
        to: Option<String>,
        fenced_by: Option<String>,
    },
    Rotate {
        secrets: Vec<String>,
    },
    Stop {
        services: Vec<String>,
    },
    Start {
        services: Vec<String>,
    },
    Restart {
        services: Vec<String>,
    },
    Rebuild {
        services: Vec<String>,
    },
    Reconnect {
        services: Vec<String>,
    },
    Clean {
        services: Vec<String>,
    },
    Scale {
        service: String,
        replicas: Option<u32>,
    },
    Rollback {
        service: String,
        to: Option<String>,
    },
    /// `look`, `drain`, `uncordon`, `delete`, `replace`.
    Cluster(Box<ClusterStep>),
    /// `apply`, `infrastructure`.
    Change(Box<ChangeStep>),
    Logs {
        services: Vec<String>,
        since: Option<Span>,
        to: Option<String>,
    },
    Exec {
        command: String,
        service: Option<String>,
    },
    Http {
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
        expect: Vec<String>,
    },
    Dns {
        name: String,
        record: DnsRecord,
        values: Vec<String>,
        ttl: Option<Span>,
        servers: Vec<String>,
        server: Option<String>,
        zone: Option<String>,
        key: Option<String>,
        command: Option<String>,
        within: Option<Span>,
        /// It takes back what the same step has changed.
        is_back: bool,
    },
    Network {
        targets: Vec<String>,
        inside: Option<String>,
        within: Option<Span>,
    },
    Sql {
        component: String,
        query: String,
        expect: Option<String>,
    },
    Redis {
        component: String,
        command: String,
        expect: Option<String>,
    },
    Notify {
        to: Vec<String>,
        message: String,
    },
    Ask {
        question: String,
        default: Option<String>,
        is_secret: bool,
    },
    Confirm {
        text: String,
    },
    Choose {
        question: String,
        options: Vec<String>,
    },
    Parallel {
        steps: Vec<Step>,
        at_once: usize,
    },
    If {
        check: Option<String>,
        answer: Option<String>,
        equals: Option<String>,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
    Run {
        runbook: String,
        section: Option<String>,
        with: Vec<(String, String)>,
    },
    #[serde(untagged)]
    Data(DataStep),
    #[serde(untagged)]
    Incident(IncidentStep),
}

/// The names of all steps.
pub(super) const NAMES: &[&str] = &[
    "check",
    "wait",
    "watch",
    "backup",
    "restore",
    "rescue",
    "failover",
    "repair",
    "quarantine",
    "prove",
    "copy",
    "rotate",
    "stop",
    "start",
    "restart",
    "scale",
    "rollback",
    "look",
    "drain",
    "uncordon",
    "delete",
    "replace",
    "apply",
    "infrastructure",
    "block",
    "isolate",
    "keep_block",
    "unblock",
    "investigate",
    "log_level",
    "revise",
    "logs",
    "exec",
    "http",
    "dns",
    "network",
    "sql",
    "redis",
    "notify",
    "ask",
    "confirm",
    "choose",
    "parallel",
    "if",
    "run",
    "rebuild",
    "reconnect",
    "clean",
];

impl Native {
    /// Returns the class that it has where nothing else is said.
    pub fn class(&self) -> Class {
        match self {
            Self::Check { .. }
            | Self::Wait { .. }
            | Self::Watch { .. }
            | Self::Logs { .. }
            | Self::Network { .. }
            | Self::Ask { .. }
            | Self::Confirm { .. }
            | Self::Choose { .. }
            // What is in these has classes of its own, and is journaled by itself.
            | Self::Parallel { .. }
            | Self::If { .. }
            | Self::Run { .. } => Class::Observe,
            Self::Backup { .. }
            | Self::Stop { .. }
            | Self::Start { .. }
            | Self::Restart { .. }
            | Self::Rebuild { .. }
            | Self::Reconnect { .. }
            | Self::Clean { .. }
            | Self::Scale { .. }
            // A record that has its value already is left alone.
            | Self::Dns { .. }
            | Self::Notify { .. } => Class::Idempotent,
            Self::Cluster(step) => step.class(),
            Self::Change(step) => step.class(),
            Self::Exec { command, .. } => command::judge(&template::filled(command)).class,
            Self::Http { method, .. } if matches!(method.as_str(), "GET" | "HEAD") => Class::Observe,
            Self::Http { method, .. } if method == "PUT" => Class::Idempotent,
            Self::Restore { .. }
            | Self::Rescue { .. }
            | Self::Failover { .. }
            | Self::Rotate { .. }
            | Self::Rollback { .. }
            | Self::Http { .. } => Class::Destructive,
            Self::Sql { query, .. } => command::judge_sql(query),
            Self::Redis { command, .. } => command::judge(&format!("redis-cli {command}")).class,
            Self::Data(step) => step.class(),
            Self::Incident(step) => step.class(),
        }
    }

    /// Whether Muster itself can tell whether it has happened.
    pub fn has_probe(&self) -> bool {
        match self {
            Self::Cluster(step) => step.has_probe(),
            Self::Change(step) => step.has_probe(),
            _ => false,
        }
    }

    /// Returns the end of the id of the step that looks before it.
    pub fn looks_first(&self) -> Option<&'static str> {
        match self {
            Self::Cluster(step) => step.looks_first(),
            Self::Change(_) => Some(muster_types::script::PLAN),
            Self::Incident(IncidentStep::Revise { .. }) => Some(REVISED),
            _ => None,
        }
    }

    /// Returns the steps in it.
    pub fn inner(&self) -> Vec<&Step> {
        match self {
            Self::Parallel { steps, .. } => steps.iter().collect(),
            Self::If { then, otherwise, .. } => then.iter().chain(otherwise).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns its name as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::Wait { .. } => "wait",
            Self::Watch { .. } => "watch",
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::Rescue { .. } => "rescue",
            Self::Failover { .. } => "failover",
            Self::Rotate { .. } => "rotate",
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::Restart { .. } => "restart",
            Self::Rebuild { .. } => "rebuild",
            Self::Reconnect { .. } => "reconnect",
            Self::Clean { .. } => "clean",
            Self::Scale { .. } => "scale",
            Self::Rollback { .. } => "rollback",
            Self::Cluster(step) => step.name(),
            Self::Change(step) => step.name(),
            Self::Logs { .. } => "logs",
            Self::Exec { .. } => "exec",
            Self::Http { .. } => "http",
            Self::Dns { .. } => "dns",
            Self::Network { .. } => "network",
            Self::Sql { .. } => "sql",
            Self::Redis { .. } => "redis",
            Self::Notify { .. } => "notify",
            Self::Ask { .. } => "ask",
            Self::Confirm { .. } => "confirm",
            Self::Choose { .. } => "choose",
            Self::Parallel { .. } => "parallel",
            Self::If { .. } => "if",
            Self::Run { .. } => "run",
            Self::Data(step) => step.name(),
            Self::Incident(step) => step.name(),
        }
    }

    /// Returns its texts that may hold templates.
    pub(super) fn texts(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        match self {
            Self::Restore { to, into, tables, .. } => {
                found.extend(to.as_deref());
                found.extend(into.as_deref());
                found.extend(tables.iter().map(String::as_str));
            }
            Self::Rescue { table, filter, from, .. } => {
                found.extend([table.as_str(), from.as_str()]);
                found.extend(filter.as_deref());
            }
            Self::Failover { to, fenced_by, .. } => {
                found.extend(to.as_deref());
                found.extend(fenced_by.as_deref());
            }
            Self::Rollback { to, .. } | Self::Logs { to, .. } => {
                found.extend(to.as_deref());
            }
            Self::Cluster(step) => found.extend(step.texts()),
            Self::Change(step) => found.extend(step.texts()),
            Self::Exec { command, .. } | Self::Redis { command, .. } => found.push(command),
            Self::Http { url, headers, body, .. } => {
                found.push(url);
                found.extend(headers.iter().map(|(_, value)| value.as_str()));
                found.extend(body.as_deref());
            }
            Self::Dns { name, values, command, servers, server, zone, key, .. } => {
                let told = values.iter().chain(servers).chain(command).chain(server).chain(zone).chain(key);
                found.extend(std::iter::once(name).chain(told).map(String::as_str));
            }
            Self::Network { targets, .. } => found.extend(targets.iter().map(String::as_str)),
            Self::Sql { query, .. } => found.push(query),
            Self::Notify { message, .. } => found.push(message),
            Self::Ask { question, .. } | Self::Choose { question, .. } => found.push(question),
            Self::Confirm { text } => found.push(text),
            Self::Run { with, .. } => found.extend(with.iter().map(|(_, value)| value.as_str())),
            Self::Backup { label, .. } => found.extend(label.as_deref()),
            Self::Data(step) => found.extend(step.texts()),
            Self::Incident(step) => found.extend(step.texts()),
            _ => {}
        }
        found
    }
}

/// Reads the value of a step; `short` is the key under which a bare text stands.
pub(super) fn read(
    name: &'static str,
    value: &Node,
    depth: usize,
    faults: &mut Vec<Fault>,
) -> Option<Native> {
    if depth > DEPTH_MAX {
        let hint = "write the inner steps into a runbook of their own, and `run` it";
        faults.push(Fault::new(
            (value.line, value.column),
            name,
            format!("steps stand in steps deeper than {DEPTH_MAX}"),
            hint,
        ));
        return None;
    }
    match name {
        "parallel" => return Some(parallel(value, depth, faults)),
        "if" => return Some(condition(value, depth, faults)),
        _ => {}
    }
    match &value.value {
        Value::Map(_) => {
            // `checks: []` would look at nothing, or at everything, and pass.
            if let Some(list) = value.get("checks").filter(|list| is_empty_list(list)) {
                faults.push(names_nothing(name, list));
            }
            Some(long(name, value, faults))
        }
        Value::List(_) if is_empty_list(value) => {
            faults.push(names_nothing(name, value));
            None
        }
        Value::Null => {
            let hint = format!("write `{name}: …`; `docs/runbooks.md` has an example of each step");
            faults.push(Fault::new((value.line, value.column), name, format!("`{name}` says nothing"), hint));
            None
        }
        _ => short(name, value, faults),
    }
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

fn names_nothing(name: &'static str, node: &Node) -> Fault {
    let hint = "name what is meant, or leave the step out";
    Fault::new((node.line, node.column), name, format!("a `{name}` step has an empty list"), hint)
}

/// `stop: api`, `check: [ready, live]`, `wait: 5m`, `http: GET https://…`.
fn short(name: &'static str, value: &Node, faults: &mut Vec<Fault>) -> Option<Native> {
    let Some(names) = keys::names(value) else {
        faults.push(Fault::new(
            (value.line, value.column),
            "",
            format!("`{name}` has a list that is not made of names"),
            "write names, or the long form with keys",
        ));
        return None;
    };
    let text = names.join(" ");
    let span = text.parse::<Span>().ok();
    Some(match name {
        "check" => Native::Check { checks: names, tag: None },
        "wait" if span.is_some() => Native::Wait { checks: Vec::new(), span },
        "wait" => Native::Wait { checks: names, span: None },
        "backup" => Native::Backup { components: names, label: None },
        "restore" => Native::Restore { component: text, to: None, into: None, tables: Vec::new() },
        "failover" => Native::Failover { component: text, to: None, fenced_by: None },
        "rotate" => Native::Rotate { secrets: names },
        "stop" => Native::Stop { services: names },
        "start" => Native::Start { services: names },
        "restart" => Native::Restart { services: names },
        "rebuild" => Native::Rebuild { services: names },
        "reconnect" => Native::Reconnect { services: names },
        "clean" => Native::Clean { services: names },
        "rollback" => Native::Rollback { service: text, to: None },
        "logs" => Native::Logs { services: names, since: None, to: None },
        "exec" => Native::Exec { command: text, service: None },
        "http" => {
            let (method, url) = text.split_once(' ').unwrap_or(("GET", &text));
            Native::Http {
                method: method.to_uppercase(),
                url: url.trim().to_owned(),
                headers: Vec::new(),
                body: None,
                expect: Vec::new(),
            }
        }
        "network" => Native::Network { targets: names, inside: None, within: None },
        "ask" => Native::Ask { question: text, default: None, is_secret: false },
        "confirm" => Native::Confirm { text },
        "run" => Native::Run { runbook: text, section: None, with: Vec::new() },
        _ => {
            if let Some(step) = data::short(name, &names) {
                return Some(Native::Data(step));
            }
            if let Some(step) = incident::short(name, &names, value, faults) {
                return Some(Native::Incident(step));
            }
            let hint =
                format!("write the keys: `{name}: {{…}}`; docs/runbooks.md has an example of each step");
            faults.push(Fault::new(
                (value.line, value.column),
                &text,
                format!("`{name}` has no short form"),
                hint,
            ));
            return None;
        }
    })
}

fn long(name: &'static str, value: &Node, faults: &mut Vec<Fault>) -> Native {
    let mut keys = Keys::new(value, format!("a `{name}` step"), faults);
    let before = keys.faults.len();
    let native = on_data(name, &mut keys)
        .or_else(|| on_services(name, &mut keys))
        .or_else(|| cluster::read(name, &mut keys).map(|step| Native::Cluster(Box::new(step))))
        .or_else(|| change::read(name, &mut keys).map(|step| Native::Change(Box::new(step))))
        .or_else(|| match name {
            "dns" => Some(way::dns(&mut keys, (value.line, value.column))),
            "network" => Some(way::network(&mut keys)),
            _ => None,
        })
        .or_else(|| data::long(name, value, &mut keys).map(Native::Data))
        .or_else(|| incident::long(name, value, &mut keys).map(Native::Incident))
        .unwrap_or_else(|| with_people(name, value, &mut keys));
    if says_nothing(&native) && keys.faults.len() == before {
        let message = format!("`{name}` does not say what for");
        let hint = "docs/runbooks.md has an example of each step";
        keys.faults.push(Fault::new((value.line, value.column), name, message, hint));
    }
    keys.finish();
    native
}

/// Steps on components.
fn on_data(name: &str, keys: &mut Keys<'_, '_>) -> Option<Native> {
    Some(match name {
        "backup" => Native::Backup { components: keys.names("components"), label: keys.text("label") },
        "restore" => Native::Restore {
            component: keys.needed("component"),
            to: keys.text("to"),
            into: keys.text("into"),
            tables: keys.names("tables"),
        },
        "rescue" => Native::Rescue {
            component: keys.needed("component"),
            table: keys.needed("table"),
            filter: keys.text("where"),
            from: keys.needed("from"),
        },
        "failover" => Native::Failover {
            component: keys.needed("component"),
            to: keys.text("to"),
            fenced_by: keys.text("fenced_by"),
        },
        "rotate" => Native::Rotate { secrets: keys.names("secrets") },
        "sql" => Native::Sql {
            component: keys.needed("component"),
            query: keys.needed("query"),
            expect: keys.text("expect"),
        },
        "redis" => Native::Redis {
            component: keys.needed("component"),
            command: keys.needed("command"),
            expect: keys.text("expect"),
        },
        _ => return None,
    })
}

/// Steps on services, checks and addresses.
fn on_services(name: &str, keys: &mut Keys<'_, '_>) -> Option<Native> {
    Some(match name {
        "check" => Native::Check { checks: keys.names("checks"), tag: keys.text("tag") },
        "wait" => Native::Wait { checks: keys.names("checks"), span: keys.span("for") },
        "watch" => Native::Watch { span: keys.span("for"), checks: keys.names("checks") },
        "stop" => Native::Stop { services: keys.names("services") },
        "start" => Native::Start { services: keys.names("services") },
        "restart" => Native::Restart { services: keys.names("services") },
        "rebuild" => Native::Rebuild { services: keys.names("services") },
        "reconnect" => Native::Reconnect { services: keys.names("services") },
        "clean" => Native::Clean { services: keys.names("services") },
        "scale" => {
            keys.needed("replicas");
            Native::Scale { service: keys.needed("service"), replicas: keys.count("replicas") }
        }
        "rollback" => Native::Rollback { service: keys.needed("service"), to: keys.text("to") },
        "logs" => {
            Native::Logs { services: keys.names("services"), since: keys.span("since"), to: keys.text("to") }
        }
        "exec" => Native::Exec { command: keys.needed("command"), service: keys.text("service") },
        "http" => Native::Http {
            method: keys.text("method").unwrap_or_else(|| "GET".into()).to_uppercase(),
            url: keys.needed("url"),
            headers: keys.pairs("headers"),
            body: keys.text("body"),
            expect: keys.names("expect"),
        },
        _ => return None,
    })
}

/// Steps with people, and other runbooks.
fn with_people(name: &str, value: &Node, keys: &mut Keys<'_, '_>) -> Native {
    match name {
        "notify" => Native::Notify { to: keys.names("to"), message: keys.needed("message") },
        "ask" => Native::Ask {
            question: keys.needed("question"),
            default: keys.text("default"),
            is_secret: keys.is_set("secret"),
        },
        "confirm" => Native::Confirm { text: keys.needed("text") },
        "choose" => {
            let (question, options) = (keys.needed("question"), keys.names("options"));
            if options.len() < 2 {
                let message = "a `choose` step needs at least two `options`";
                let place = (value.line, value.column);
                keys.faults.push(Fault::new(place, "", message, "add `options: [one, other]`"));
            }
            Native::Choose { question, options }
        }
        _ => Native::Run {
            runbook: keys.needed("runbook"),
            section: keys.text("section"),
            with: keys.pairs("with"),
        },
    }
}

fn says_nothing(native: &Native) -> bool {
    match native {
        Native::Check { checks, tag } => checks.is_empty() && tag.is_none(),
        Native::Wait { checks, span } => checks.is_empty() && span.is_none(),
        Native::Watch { span, .. } => span.is_none(),
        Native::Stop { services }
        | Native::Start { services }
        | Native::Restart { services }
        | Native::Rebuild { services }
        | Native::Reconnect { services }
        | Native::Clean { services }
        | Native::Logs { services, .. } => services.is_empty(),
        Native::Rotate { secrets } => secrets.is_empty(),
        Native::Notify { to, .. } => to.is_empty(),
        Native::Data(DataStep::Prove { components, .. }) => components.is_empty(),
        Native::Data(DataStep::Copy { copies, .. }) => copies.is_empty(),
        _ => false,
    }
}

/// `parallel: [{…}, {…}]` or `parallel: {steps: […], at_once: 2}`.
fn parallel(value: &Node, depth: usize, faults: &mut Vec<Fault>) -> Native {
    if !matches!(value.value, Value::Map(_)) {
        if is_empty_list(value) {
            faults.push(names_nothing("parallel", value));
        }
        return Native::Parallel { steps: inner(value, "parallel", depth, faults), at_once: AT_ONCE };
    }
    let steps = value.get("steps").map(|node| inner(node, "steps", depth, faults)).unwrap_or_default();
    let mut keys = Keys::new(value, "a `parallel` step", faults);
    keys.node("steps");
    let at_once = keys.count("at_once").map_or(AT_ONCE, |count| count.clamp(1, 64) as usize);
    if steps.is_empty() && keys.faults.is_empty() {
        let place = (value.line, value.column);
        keys.faults.push(Fault::new(place, "", "a `parallel` step has no steps", "add `steps: [{…}, {…}]`"));
    }
    keys.finish();
    Native::Parallel { steps, at_once }
}

/// `if: {check: ready, then: […], else: […]}` or `if: {answer: NAME, equals: VALUE, …}`.
fn condition(value: &Node, depth: usize, faults: &mut Vec<Fault>) -> Native {
    let then = value.get("then").map(|node| inner(node, "then", depth, faults)).unwrap_or_default();
    let otherwise = value.get("else").map(|node| inner(node, "else", depth, faults)).unwrap_or_default();
    let mut keys = Keys::new(value, "an `if` step", faults);
    let (check, answer, equals) = (keys.text("check"), keys.text("answer"), keys.text("equals"));
    keys.node("then");
    keys.node("else");
    let place = (value.line, value.column);
    if check.is_some() == answer.is_some() || answer.is_some() != equals.is_some() {
        let hint = "write `check: NAME`, or `answer: NAME` and `equals: VALUE`";
        keys.faults.push(Fault::new(place, "", "an `if` step needs one condition", hint));
    }
    if then.is_empty() && otherwise.is_empty() {
        keys.faults.push(Fault::new(place, "", "an `if` step has no steps", "add `then: [{…}]`"));
    }
    keys.finish();
    Native::If { check, answer, equals, then, otherwise }
}

fn inner(node: &Node, name: &str, depth: usize, faults: &mut Vec<Fault>) -> Vec<Step> {
    let Value::List(items) = &node.value else {
        faults.push(Fault::new(
            (node.line, node.column),
            "",
            format!("`{name}` is not a list of steps"),
            "write each step as `- stop: api`",
        ));
        return Vec::new();
    };
    items.iter().filter_map(|item| steps::of_node(item, depth + 1, faults)).collect()
}
