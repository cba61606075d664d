//! What a step of a runbook becomes: a deed with every text filled in.
//!
//! A step and what is known come in; a [`Deed`] leaves, or what is missing. Steps that Muster cannot execute never come
//! here: `faults` refuses them before anything begins.

use std::{collections::BTreeMap, time::Duration};

use muster_types::{
    Kind, Span,
    config::{Check, Component, Platform},
    event::ErrorNote,
    script::{BlockRequest, ChildRequest, Deed, DnsChange, DnsWay, Filled, InvestigateRequest, ServiceVerb},
};

use super::{
    change, cluster,
    fill::{Scope, Unfilled, answered, fill, fill_some},
};
use crate::{
    investigate,
    runbook::{Action, Barrier, DataStep, IncidentStep, Native, REVISED, Step},
};

/// How long all servers of a zone may take to answer with a change when nobody says: secondaries ask now and then only.
const DNS_WITHIN: Duration = Duration::from_mins(15);
/// How long a wait lasts when nobody says.
const WITHIN: Duration = Duration::from_mins(5);

/// What a `revise` step asks when it does not say.
const REVISE: &str = "Was this runbook changed after what you have learnt?";

pub(super) fn deed(step: &Step, scope: &Scope<'_>, platform: &Platform) -> Result<Deed, Unfilled> {
    match &step.action {
        Action::Command { shell, text, cwd, env } => Ok(Deed::Command {
            shell: shell.clone(),
            text: fill(text, scope)?,
            cwd: fill_some(cwd.as_ref(), scope)?.map(|one| one.expose().to_owned()),
            env: env
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, scope)?)))
                .collect::<Result<_, Unfilled>>()?,
        }),
        Action::Confirm { text } => Ok(Deed::Confirm { text: shown(text, scope)? }),
        Action::Native(native) => self::native(native, step, scope, platform),
    }
}

fn native(native: &Native, step: &Step, scope: &Scope<'_>, platform: &Platform) -> Result<Deed, Unfilled> {
    Ok(match native {
        Native::Check { checks, tag } => Deed::Check { checks: checks_of(checks, tag.as_deref(), platform) },
        Native::If { check: Some(check), .. } => Deed::Test { check: check.clone() },
        Native::Wait { checks, span } if checks.is_empty() => {
            Deed::Pause { span: span.unwrap_or(Span::from(Duration::ZERO)) }
        }
        Native::Wait { checks, span } => Deed::WaitFor {
            checks: checks.clone(),
            within: span.or(step.timeout).unwrap_or(Span::from(WITHIN)),
        },
        Native::Watch { span, checks } => {
            let all = checks_of(checks, None, platform);
            Deed::Watch { checks: all, span: span.unwrap_or(Span::from(Duration::ZERO)) }
        }
        Native::Stop { .. }
        | Native::Start { .. }
        | Native::Restart { .. }
        | Native::Rebuild { .. }
        | Native::Reconnect { .. }
        | Native::Clean { .. }
        | Native::Logs { .. }
        | Native::Rollback { .. }
        | Native::Exec { service: Some(_), .. }
        | Native::Scale { replicas: Some(_), .. } => on_services(native, scope)?,
        Native::Backup { .. }
        | Native::Restore { .. }
        | Native::Rescue { .. }
        | Native::Failover { .. }
        | Native::Rotate { .. } => child(native, scope)?,
        Native::Exec { command, .. } => {
            Deed::Command { shell: "sh".into(), text: fill(command, scope)?, cwd: None, env: Vec::new() }
        }
        Native::Http { method, url, headers, body, expect } => {
            http(method, url, headers, body.as_ref(), (expect, step.timeout), scope)?
        }
        Native::Dns { .. } => dns(native, scope)?,
        Native::Network { targets, inside, within } => Deed::Network {
            targets: targets.iter().map(|one| shown(one, scope)).collect::<Result<_, _>>()?,
            inside: inside.clone(),
            within: within.or(step.timeout),
        },
        Native::Sql { component, query, expect } => {
            Deed::Sql { component: component.clone(), query: fill(query, scope)?, expect: expect.clone() }
        }
        Native::Redis { component, command, expect } => Deed::Query {
            component: component.clone(),
            words: words(command).iter().map(|word| fill(word, scope)).collect::<Result<_, _>>()?,
            expect: expect.clone(),
        },
        Native::Cluster(step) => cluster::deed(step, scope, platform)?,
        Native::Change(step) => change::deed(step, scope, platform)?,
        Native::Notify { to, message } => Deed::Notify { to: to.clone(), message: fill(message, scope)? },
        Native::Ask { question, default, is_secret } => Deed::Ask {
            question: shown(question, scope)?,
            default: default.clone(),
            options: Vec::new(),
            is_secret: *is_secret,
        },
        Native::Choose { question, options } => Deed::Ask {
            question: shown(question, scope)?,
            default: None,
            options: options.clone(),
            is_secret: false,
        },
        Native::Confirm { text } => Deed::Confirm { text: shown(text, scope)? },
        Native::Data(step) => Deed::Child(data(step, scope)?),
        Native::Incident(incident) => self::incident(incident, step.timeout, scope, platform)?,
        other => return Err(not_yet(other)),
    })
}

/// A record that is changed. The step that takes a change back has its own step's name for what it found.
fn dns(native: &Native, scope: &Scope<'_>) -> Result<Deed, Unfilled> {
    let Native::Dns { name, record, values, ttl, servers, server, zone, key, command, within, is_back } =
        native
    else {
        return Err(not_yet(native));
    };
    let way = match (key, command) {
        (Some(key), _) => DnsWay::Update {
            server: server.as_deref().map(|one| shown(one, scope)).transpose()?,
            zone: zone.as_deref().map(|one| shown(one, scope)).transpose()?,
            key: shown(key, scope)?,
        },
        (None, command) => DnsWay::Command { text: fill(command.as_deref().unwrap_or_default(), scope)? },
    };
    let filled = values.iter().filter(|_| !is_back).map(|value| fill(value, scope));
    Ok(Deed::Dns(Box::new(DnsChange {
        name: fill(name, scope)?,
        record: *record,
        values: filled.collect::<Result<_, _>>()?,
        ttl: *ttl,
        servers: servers.iter().map(|one| shown(one, scope)).collect::<Result<_, _>>()?,
        way,
        within: within.unwrap_or(Span::from(DNS_WITHIN)),
        back_of: is_back.then(|| scope.id.clone()),
    })))
}

/// What keeps somebody out, or lets them in again. Steps are meant by their whole id.
fn incident(
    step: &IncidentStep,
    timeout: Option<Span>,
    scope: &Scope<'_>,
    platform: &Platform,
) -> Result<Deed, Unfilled> {
    let real = |text: &String| fill(text, scope).map(|one| one.expose().to_owned());
    let request = |barrier: &Barrier| -> Result<Deed, Unfilled> {
        let all = |texts: &[String]| texts.iter().map(real).collect::<Result<Vec<_>, _>>();
        Ok(Deed::Block(Box::new(BlockRequest {
            blocked: all(&barrier.addresses)?,
            allowed: all(&barrier.except)?,
            ports: barrier.ports.clone(),
            revert_after: barrier.revert_after,
            passes: barrier.passes.clone(),
            fails: barrier.fails.clone(),
        })))
    };
    let kind = |name: &String| platform.components.get(name).map(Component::kind);
    Ok(match step {
        IncidentStep::Block(barrier) | IncidentStep::Isolate(barrier) => request(barrier)?,
        IncidentStep::KeepBlock { step } => Deed::KeepBlock { step: format!("{}{step}", scope.prefix) },
        IncidentStep::Unblock { step, run } => Deed::Unblock {
            step: if run.is_some() { step.clone() } else { format!("{}{step}", scope.prefix) },
            run: run.as_ref().map(real).transpose()?,
        },
        IncidentStep::LogLevel { component, level } => {
            let is_postgres = kind(component) == Some("postgres");
            let (is_sql, settings) = investigate::log_settings(is_postgres, level.as_deref());
            Deed::LogLevel { component: component.clone(), is_sql, settings }
        }
        IncidentStep::LogLevelBack => Deed::LogLevelBack { step: scope.id.clone() },
        IncidentStep::Revise { question } => {
            let asked = question.clone().unwrap_or_else(|| REVISE.to_owned());
            let asked = format!("{asked} (`changed`, or why it stays)");
            let answer = answered(REVISED, asked, scope)?;
            Deed::Revise { file: scope.file.to_owned(), answer: answer.expose().to_owned() }
        }
        IncidentStep::Investigate { component, git, since, files } => {
            let of_kind = component.as_ref().and_then(|name| Some((name, kind(name)?)));
            let mut looks =
                of_kind.map(|(name, kind)| investigate::of_component(name, kind)).unwrap_or_default();
            if let Some(git) = git {
                let since = since.as_ref().map(real).transpose()?;
                looks.extend(investigate::of_git(&real(git)?, since.as_deref()));
            }
            for file in files {
                looks.push(investigate::of_file(&real(file)?));
            }
            Deed::Investigate(Box::new(InvestigateRequest { looks, timeout }))
        }
    })
}

/// What is asked of a run that mends, proves or copies.
fn data(step: &DataStep, scope: &Scope<'_>) -> Result<ChildRequest, Unfilled> {
    let real = |text: &String| fill(text, scope).map(|one| one.expose().to_owned());
    let some = |text: &Option<String>| text.as_ref().map(real).transpose();
    let all = |texts: &[String]| texts.iter().map(real).collect::<Result<Vec<_>, _>>();
    Ok(match step {
        DataStep::Repair { component, reindex, vacuum, analyze } => ChildRequest::Repair {
            component: component.clone(),
            reindex: all(reindex)?,
            vacuum: all(vacuum)?,
            analyze: all(analyze)?,
        },
        DataStep::Quarantine { component, table, filter, set, disable, expect, reason, undo } => {
            ChildRequest::Quarantine {
                component: component.clone(),
                table: some(table)?,
                filter: some(filter)?,
                set: some(set)?,
                disable: all(disable)?,
                expect: expect.map(u64::from),
                reason: some(reason)?,
                undo: some(undo)?,
            }
        }
        DataStep::Prove { components, backup } => {
            ChildRequest::Prove { components: components.clone(), backup: some(backup)? }
        }
        DataStep::Copy { copies, verify } => {
            ChildRequest::Copy { copies: copies.clone(), is_verified: *verify }
        }
    })
}

/// What is done to services.
fn on_services(native: &Native, scope: &Scope<'_>) -> Result<Deed, Unfilled> {
    Ok(match native {
        Native::Stop { services } => services_deed(ServiceVerb::Stop, services),
        Native::Start { services } => services_deed(ServiceVerb::Start, services),
        Native::Restart { services } => services_deed(ServiceVerb::Restart, services),
        Native::Rebuild { services } => services_deed(ServiceVerb::Rebuild, services),
        Native::Reconnect { services } => services_deed(ServiceVerb::Reconnect, services),
        Native::Clean { services } => services_deed(ServiceVerb::Clean, services),
        Native::Logs { services, since, to } => Deed::Logs {
            services: services.clone(),
            since: *since,
            to: fill_some(to.as_ref(), scope)?.map(|to| to.expose().to_owned()),
        },
        Native::Rollback { service, to } => Deed::Rollback {
            service: service.clone(),
            to: fill_some(to.as_ref(), scope)?.map(|to| to.expose().to_owned()),
        },
        Native::Exec { command, service: Some(service) } => {
            Deed::Exec { service: service.clone(), command: fill(command, scope)? }
        }
        Native::Scale { service, replicas: Some(replicas) } => {
            Deed::Scale { service: service.clone(), replicas: *replicas }
        }
        other => return Err(not_yet(other)),
    })
}

fn not_yet(native: &Native) -> Unfilled {
    Unfilled::Never(Box::new(ErrorNote {
        error: format!("`{}` cannot be executed yet", native.name()),
        causes: Vec::new(),
        hint: Some("do it by hand, and write it as a box to tick: `- [ ] …`".into()),
        kind: Kind::Config,
    }))
}

/// Divides a command at its blanks; what stands in quotes or in a template stays together.
///
/// Templates are filled in afterwards: a value with blanks is one word.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut is_word) = (Vec::new(), String::new(), false);
    let mut quote: Option<char> = None;
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("{{")
            && let Some(end) = rest.find("}}")
        {
            let (template, after) = rest.split_at(end + 2);
            word.push_str(template);
            is_word = true;
            rest = after;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.push(c),
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                is_word = true;
            }
            None if c.is_whitespace() => {
                if std::mem::take(&mut is_word) {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

fn services_deed(verb: ServiceVerb, services: &[String]) -> Deed {
    Deed::Services { verb, services: services.to_vec() }
}

fn child(native: &Native, scope: &Scope<'_>) -> Result<Deed, Unfilled> {
    let real = |text: &str| fill(text, scope).map(|one| one.expose().to_owned());
    let some = |text: &Option<String>| text.as_deref().map(real).transpose();
    Ok(Deed::Child(match native {
        Native::Restore { component, to, into, tables } => ChildRequest::Restore {
            component: component.clone(),
            to: some(to)?,
            into: some(into)?,
            tables: tables.iter().map(|table| real(table)).collect::<Result<_, _>>()?,
        },
        Native::Failover { component, to, fenced_by } => ChildRequest::Failover {
            component: component.clone(),
            to: real(to.as_deref().unwrap_or_default())?,
            fenced_by: some(fenced_by)?,
        },
        Native::Rescue { component, table, filter, from } => ChildRequest::Rescue {
            component: component.clone(),
            table: real(table)?,
            filter: some(filter)?,
            from: real(from)?,
        },
        Native::Rotate { secrets } => ChildRequest::Rotate { secrets: secrets.clone() },
        Native::Backup { components, label } => {
            ChildRequest::Backup { components: components.clone(), label: some(label)? }
        }
        _ => ChildRequest::Backup { components: Vec::new(), label: None },
    }))
}

fn http(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&String>,
    (expect, timeout): (&[String], Option<Span>),
    scope: &Scope<'_>,
) -> Result<Deed, Unfilled> {
    let url = fill(url, scope)?;
    let mut filled: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        filled.insert(name.clone(), fill(value, scope)?.expose().to_owned());
    }
    let request = Check {
        http: Some(format!("{method} {}", url.expose())),
        headers: filled,
        body: fill_some(body, scope)?.map(|body| body.expose().to_owned()),
        conditions: expect.to_vec(),
        timeout,
        ..Check::default()
    };
    Ok(Deed::Http { request: Box::new(request), shown: format!("{method} {}", url.shown()) })
}

/// The checks that are named, else those with the tag, else all.
fn checks_of(checks: &[String], tag: Option<&str>, platform: &Platform) -> Vec<String> {
    if !checks.is_empty() {
        return checks.to_vec();
    }
    let fits = |check: &Check| tag.is_none_or(|tag| check.tags.iter().any(|own| own == tag));
    platform.checks.iter().filter(|(_, check)| fits(check)).map(|(name, _)| name.clone()).collect()
}

/// A text for people: what is secret is not shown.
fn shown(text: &str, scope: &Scope<'_>) -> Result<String, Unfilled> {
    fill(text, scope).map(|one: Filled| one.shown().to_owned())
}
