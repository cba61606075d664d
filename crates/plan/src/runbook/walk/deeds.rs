//! What a step of a runbook becomes: a deed with every text filled in.
//!
//! A step and what is known come in; a [`Deed`] leaves, or what is missing. Steps that Muster cannot execute never come
//! here: `faults` refuses them before anything begins.

use std::{collections::BTreeMap, time::Duration};

use muster_types::{
    Kind, Span,
    config::{Check, Platform},
    event::ErrorNote,
    script::{ChildRequest, Deed, Filled, ServiceVerb},
};

use super::fill::{Scope, Unfilled, fill, fill_some};
use crate::runbook::{Action, Native, Step};

/// How long a wait lasts when nobody says.
const WITHIN: Duration = Duration::from_mins(5);

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
        Native::Backup { .. } | Native::Restore { .. } | Native::Rescue { .. } | Native::Failover { .. } => {
            child(native, scope)?
        }
        Native::Exec { command, .. } => {
            Deed::Command { shell: "sh".into(), text: fill(command, scope)?, cwd: None, env: Vec::new() }
        }
        Native::Http { method, url, headers, body, expect } => {
            http(method, url, headers, body.as_ref(), (expect, step.timeout), scope)?
        }
        Native::Sql { component, query, expect } => {
            Deed::Sql { component: component.clone(), query: fill(query, scope)?, expect: expect.clone() }
        }
        Native::Redis { component, command, expect } => Deed::Query {
            component: component.clone(),
            words: words(command).iter().map(|word| fill(word, scope)).collect::<Result<_, _>>()?,
            expect: expect.clone(),
        },
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
        other => return Err(not_yet(other)),
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
