//! The plan of `muster failover`: a standby becomes the primary, after the old one can take no write any more.
//!
//! The order is the safety:
//! 1. writers that Muster knows are stopped, so that nobody's last words go to the old primary;
//! 2. the old primary is kept out, and nothing is promoted before that is done;
//! 3. the standby gets what the old one had, becomes the primary, and has written before it counts as one;
//! 4. clients are led there, and writers start again.
//!
//! It never plans a promotion beside a server that may still take writes. Read next: `failover/replica.rs` for a Redis
//! Cluster, `restore.rs`.

pub mod replica;

use muster_types::{
    Lsn, Timestamp,
    config::{Component, Member, PostgresComponent, Service},
    facts::Facts,
    failover::{Fence, MemberFacts, MemberState},
    plan::{Action, Plan, Step, StepClass, Verb},
};

use crate::{
    PlanError,
    restore::smoke_checks,
    scope::{Scope, start_service, step, stop_service},
};

/// All steps belong together: after the first failure nothing more is done.
const GROUP: &str = "failover";

/// What opens a server again that a fence has closed, as arguments of `psql`.
pub const OPEN: &str = "-c 'ALTER SYSTEM RESET default_transaction_read_only' \
    -c 'ALTER SYSTEM RESET synchronous_standby_names' -c 'SELECT pg_reload_conf()'";

/// What a person asks of a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverOptions {
    /// The member that becomes the primary.
    pub to: String,
    /// What each member is at present.
    pub members: Vec<MemberFacts>,
    /// Who says that the old primary is off, and how: `ada: power cut at the socket`.
    pub fenced_by: Option<String>,
}

/// Plans the failover of the only component in `facts.components`.
///
/// # Errors
/// `UnknownMember`, `NotAStandby`, `TwoPrimaries`, `OtherCluster`, `NoFence`, `MayNot`.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &FailoverOptions) -> Result<Plan, PlanError> {
    let Some(component) = facts.components.first() else {
        return Ok(scope.plan(Verb::Failover, facts, Vec::new()));
    };
    let name = &component.name;
    let target = target(name, options)?;
    let old = old_primaries(name, target, options)?;
    let mut steps = Vec::new();
    let mut notes = vec![about(target)];
    let definition = definition(scope, name);
    let services: Vec<(&String, &Service)> = scope
        .platform
        .services
        .iter()
        .filter(|(_, service)| service.uses.contains(name))
        // A member's own service is no writer.
        .filter(|(one, _)| options.members.iter().all(|member| member.service.as_ref() != Some(*one)))
        .collect();
    for (service, _) in services.iter().rev() {
        steps.push(stop_service(GROUP, service));
    }
    steps.extend(fences(name, &old, target, options, &mut notes)?);
    let seen = seen(facts, name);
    if !old.iter().any(|member| matches!(member.state, MemberState::Primary { .. })) {
        notes.push(match seen {
            Some((lsn, at)) => format!("the old primary does not answer: it was last seen at {lsn}, at {at}"),
            None => "the old primary does not answer, and nobody knows how far it was: what is lost cannot be measured".into(),
        });
    }
    let rebuild: Vec<String> =
        old.iter().flat_map(|member| rebuild(definition, &member.name, target)).collect();
    let (component, member) = (name.clone(), target.name.clone());
    let title = format!("promote {}, and wait until it takes writes", target.name);
    let action = Action::Promote { component, member, seen, rebuild };
    steps.push(step(format!("promote:{}", target.name), GROUP, StepClass::Destructive, title, action));
    let ways: Vec<&str> = definition
        .into_iter()
        .flat_map(|one| {
            let ways = [
                (!one.failover_secrets.is_empty()).then_some("`failover_secrets`"),
                (!one.on_failover.is_empty()).then_some("`on_failover`"),
            ];
            ways.into_iter().flatten()
        })
        .collect();
    if ways.is_empty() {
        notes.push(format!(
            "no `on_failover` or `failover_secrets` leads clients to {}: do it by hand",
            target.name
        ));
    } else {
        let action = Action::SwitchClients { component: name.clone(), member: target.name.clone() };
        let title = format!("lead clients to {} with {}", target.name, ways.join(" and "));
        steps.push(step(format!("switch:{name}"), GROUP, StepClass::Idempotent, title, action));
    }
    steps.extend(services.iter().map(|(name, service)| start_service(GROUP, name, service)));
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    notes.push(format!(
        "`url` of {name} still names its present server: let it name {} afterwards",
        target.name
    ));
    let mut plan = scope.plan(Verb::Failover, facts, steps);
    plan.notes = notes;
    Ok(plan)
}

/// Keeps every old primary out.
fn fences(
    name: &str,
    old: &[&MemberFacts],
    target: &MemberFacts,
    options: &FailoverOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for member in old {
        let fence = fence(name, member, options)?;
        notes.push(lag(member, target));
        let title = match &fence {
            Fence::Service { service } => format!("fence {}: close it, then stop {service}", member.name),
            Fence::Sessions => {
                format!("fence {}: no writes, no acknowledged commit, all sessions ended", member.name)
            }
            Fence::Declared { word } => format!("fence {}: it is off, says {word}", member.name),
        };
        let action = Action::Fence { component: name.to_owned(), member: member.name.clone(), fence };
        steps.push(step(format!("fence:{}", member.name), GROUP, StepClass::Destructive, title, action));
    }
    Ok(steps)
}

fn definition<'a>(scope: Scope<'a>, name: &str) -> Option<&'a PostgresComponent> {
    match scope.platform.components.get(name) {
        Some(Component::Postgres(postgres)) => Some(postgres),
        _ => None,
    }
}

/// Finds the member that is to be promoted, and refuses one that cannot be.
fn target<'a>(name: &str, options: &'a FailoverOptions) -> Result<&'a MemberFacts, PlanError> {
    let known = || options.members.iter().map(|one| one.name.clone()).collect();
    let Some(target) = options.members.iter().find(|one| one.name == options.to) else {
        let (component, member) = (name.to_owned(), options.to.clone());
        return Err(PlanError::UnknownMember { component, member, known: known() });
    };
    let why = match &target.state {
        MemberState::Standby { .. } => None,
        MemberState::Primary { .. } => Some("it is the primary already".to_owned()),
        MemberState::Silent { why, .. } => Some(why.clone()),
    };
    if let Some(why) = why {
        return Err(PlanError::NotAStandby { member: target.name.clone(), why });
    }
    match &target.hindrance {
        Some(mend) => Err(PlanError::MayNot { member: target.name.clone(), mend: mend.clone() }),
        None => Ok(target),
    }
}

/// Finds every member that takes writes, or may: the primary, else whoever cannot be asked.
fn old_primaries<'a>(
    name: &str,
    target: &MemberFacts,
    options: &'a FailoverOptions,
) -> Result<Vec<&'a MemberFacts>, PlanError> {
    let others: Vec<&MemberFacts> = options.members.iter().filter(|one| one.name != target.name).collect();
    if let Some(other) = others.iter().find(|one| {
        one.system_identifier.is_some()
            && target.system_identifier.is_some()
            && one.system_identifier != target.system_identifier
    }) {
        let (member, target) = (other.name.clone(), target.name.clone());
        return Err(PlanError::OtherCluster { member, target });
    }
    let primaries: Vec<&MemberFacts> =
        others.iter().copied().filter(|one| matches!(one.state, MemberState::Primary { .. })).collect();
    if let [first, second, ..] = primaries.as_slice() {
        let members = format!("{} and {}", first.name, second.name);
        return Err(PlanError::TwoPrimaries { component: name.to_owned(), members });
    }
    // One that cannot be asked may be a second primary: it is kept out too.
    let silent = others.iter().copied().filter(|one| matches!(one.state, MemberState::Silent { .. }));
    let old: Vec<&MemberFacts> = primaries.iter().copied().chain(silent).collect();
    if old.is_empty() {
        // All the others are standbys: of whom, `members` does not say.
        return Err(PlanError::NoOldPrimary { component: name.to_owned() });
    }
    Ok(old)
}

/// Chooses the surest fence that there is.
fn fence(name: &str, member: &MemberFacts, options: &FailoverOptions) -> Result<Fence, PlanError> {
    let by_service = || member.service.clone().map(|service| Fence::Service { service });
    match &member.state {
        MemberState::Silent { why, answers } => {
            // A word does not close a server that answers. But with a host that is gone nobody can stop its service.
            let word = options.fenced_by.clone().filter(|_| !answers);
            word.map(|word| Fence::Declared { word }).or_else(by_service).ok_or_else(|| PlanError::NoFence {
                component: name.to_owned(),
                member: member.name.clone(),
                why: why.clone(),
                answers: *answers,
            })
        }
        MemberState::Primary { .. } | MemberState::Standby { .. } => {
            match (by_service(), &member.hindrance) {
                (Some(fence), _) => Ok(fence),
                (None, None) => Ok(Fence::Sessions),
                (None, Some(mend)) => {
                    Err(PlanError::MayNot { member: member.name.clone(), mend: mend.clone() })
                }
            }
        }
    }
}

fn about(target: &MemberFacts) -> String {
    let MemberState::Standby { received, replayed, newest_commit, is_streaming } = &target.state else {
        return String::new();
    };
    let streams = if *is_streaming { "receives at present" } else { "receives nothing at present" };
    let commit = newest_commit.map_or("none".to_owned(), |time| time.to_string());
    format!(
        "{} ({}) has received the log up to {received} and replayed it up to {replayed} (newest commit {commit}); it {streams}",
        target.name, target.address
    )
}

fn lag(member: &MemberFacts, target: &MemberFacts) -> String {
    match (&member.state, &target.state) {
        (MemberState::Primary { at }, MemberState::Standby { received, .. }) => format!(
            "{} ({}) is the primary at {at}: {} lacks {} bytes of its log now",
            member.name,
            member.address,
            target.name,
            at.0.saturating_sub(received.0)
        ),
        (MemberState::Silent { why, .. }, _) => {
            format!("{} ({}) cannot be asked: {why}", member.name, member.address)
        }
        _ => format!("{} ({}) is a standby", member.name, member.address),
    }
}

/// How far the server was when the receiver of its log last heard of it.
fn seen(facts: &Facts, name: &str) -> Option<(Lsn, Timestamp)> {
    let told = facts.receivers.iter().find(|one| one.component == *name)?;
    (told.server > Lsn(0)).then_some((told.server, told.at))
}

/// The commands that make a standby of the old primary again.
fn rebuild(definition: Option<&PostgresComponent>, old: &str, target: &MemberFacts) -> Vec<String> {
    let member: Option<&Member> = definition.and_then(|one| one.members.get(old));
    let data = member
        .and_then(|one| one.data_dir.as_ref())
        .map_or("<data directory>".to_owned(), |path| path.display().to_string());
    let (host, port) = target.address.rsplit_once(':').unwrap_or((&target.address, "5432"));
    let source = format!("host={host} port={port} user=postgres dbname=postgres");
    vec![
        format!("# on the host of {old}, as the server's user, with its server stopped in order:"),
        format!(
            "pg_rewind --target-pgdata={data} --source-server='{source}' --write-recovery-conf --progress"
        ),
        "# or, where pg_rewind cannot, anew:".into(),
        format!("mv {data} {data}.old"),
        format!(
            "pg_basebackup --pgdata={data} --dbname='{source}' --write-recovery-conf --wal-method=stream --checkpoint=fast --progress"
        ),
        "# then start it; when it follows the new primary, what had closed it can go:".into(),
        format!("psql -d postgres {OPEN}"),
    ]
}
