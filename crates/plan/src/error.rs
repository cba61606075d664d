//! Why no plan could be made. Nothing has been changed when one of these is returned.

use muster_types::{Explain, Hint, Kind, Span, Timestamp};

/// Why no plan could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The component has no backup at all.
    #[error("`{component}` has no backup")]
    NoBackup {
        /// The component.
        component: String,
    },
    /// No backup is old enough.
    #[error("no backup of `{component}` reaches {target}: the earliest is consistent at {earliest}")]
    NoBackupBefore {
        /// The component.
        component: String,
        /// The time asked for, UTC.
        target: Timestamp,
        /// The earliest that can be reached, UTC.
        earliest: Timestamp,
    },
    /// No backup of the component fits what was asked for.
    #[error("`{component}` has no backup `{wanted}`")]
    UnknownBackup {
        /// The component.
        component: String,
        /// What was asked for.
        wanted: String,
    },
    /// An abbreviated id fits several backups.
    #[error("`{wanted}` fits {count} backups of `{component}`")]
    AmbiguousBackup {
        /// The component.
        component: String,
        /// What was asked for.
        wanted: String,
        /// How many it fits.
        count: usize,
    },
    /// Every backup of the component is known to be bad.
    #[error("every backup of `{component}` has failed its newest proof or restore")]
    OnlyBadBackups {
        /// The component.
        component: String,
    },
    /// The backup was taken from something else.
    #[error("backup {backup} was taken from {found}, not from {expected}")]
    OtherIdentity {
        /// The backup's short id.
        backup: String,
        /// What it was taken from.
        found: String,
        /// What the configuration names.
        expected: String,
    },
    /// Something stands at the target and nobody said that it may be replaced.
    #[error("{target} is not empty")]
    TargetNotEmpty {
        /// The target.
        target: String,
    },
    /// A process has the target open.
    #[error("`{component}` is in use by {by}")]
    InUse {
        /// The component.
        component: String,
        /// The processes.
        by: String,
    },
    /// The component does not say where its data lies on this host.
    #[error("`{component}` does not say where its data directory is on this host")]
    NoPlace {
        /// The component.
        component: String,
    },
    /// Rows are compared with a server that was started on the earlier state; a dump is none.
    #[error(
        "backup {backup} of `{component}` is a dump: rows are brought back from backups of the whole cluster"
    )]
    RowsOfDump {
        /// The backup's short id.
        backup: String,
        /// The component.
        component: String,
    },
    /// A backup cannot take the place of what the server holds.
    #[error("the server of `{component}` {why}: no backup can be put into it")]
    CannotTakeOver {
        /// The component.
        component: String,
        /// How it stands.
        why: String,
        /// What to do.
        hint: String,
    },
    /// A cache whose server is away.
    #[error("the server of `{component}` does not answer: it cannot be emptied")]
    CannotEmpty {
        /// The component.
        component: String,
    },
    /// A component of kind `command` that nothing puts in place.
    #[error("`{component}` has no `restore` command: nothing can put its backup in place")]
    NoRestoreCommand {
        /// The component.
        component: String,
    },
    /// A secret cannot be rotated as it stands.
    #[error("`{secret}` cannot be rotated: {why}")]
    CannotRotate {
        /// The secret.
        secret: String,
        /// Why.
        why: String,
        /// What to do.
        hint: String,
        /// The family.
        kind: Kind,
    },
    /// The backup does not fit the target's shape.
    #[error("backup {backup} holds {found} paths, but `{component}` has {expected}")]
    OtherShape {
        /// The backup's short id.
        backup: String,
        /// The component.
        component: String,
        /// Paths in the backup.
        found: usize,
        /// Paths in the configuration.
        expected: usize,
    },
    /// No backup and no gap-free log lead there.
    #[error("`{component}` cannot be brought back to {wanted}")]
    NotReached {
        /// The component.
        component: String,
        /// What was asked for.
        wanted: String,
        /// What can be reached, one line each.
        reach: Vec<String>,
    },
    /// Nothing is known of the future.
    #[error("{target} is in the future: it is {now} now")]
    InTheFuture {
        /// What was asked for, UTC.
        target: Timestamp,
        /// The time of the survey, UTC.
        now: Timestamp,
    },
    /// A state that an intruder may have touched was asked for.
    #[error("`{wanted}` {} after the compromise at {since}", .at.map_or("may lie".to_owned(), |at| format!("is the state of {at},")))]
    Compromised {
        /// What was asked for.
        wanted: String,
        /// The state that it holds, UTC, where that is known.
        at: Option<Timestamp>,
        /// The first moment that is not trusted, UTC.
        since: Timestamp,
    },
    /// Nothing is old enough to be trusted.
    #[error("no backup of `{component}` is from before the compromise at {since}")]
    NoCleanBackup {
        /// The component.
        component: String,
        /// The first moment that is not trusted, UTC.
        since: Timestamp,
    },
    /// That all components fit together costs one of them more than it may lose.
    #[error(
        "to fit the others, `{component}` would go back to {would} although it could come back to {could}: more than its RPO of {rpo}"
    )]
    GivesUp {
        /// The component.
        component: String,
        /// The newest state that it could have, UTC.
        could: Timestamp,
        /// The state that fits, UTC.
        would: Timestamp,
        /// What it may lose.
        rpo: Span,
    },
    /// The configuration has no such server.
    #[error("`{component}` has no member `{member}`")]
    UnknownMember {
        /// The component.
        component: String,
        /// What was asked for.
        member: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Only a standby that answers can be promoted.
    #[error("{member} cannot be promoted: {why}")]
    NotAStandby {
        /// The member.
        member: String,
        /// Why.
        why: String,
    },
    /// Two servers take writes already.
    #[error("{members} of `{component}` are both primaries: nobody can say which one is right")]
    TwoPrimaries {
        /// The component.
        component: String,
        /// Which.
        members: String,
    },
    /// Every other member follows somebody.
    #[error("no member of `{component}` is the primary, and all of them answer")]
    NoOldPrimary {
        /// The component.
        component: String,
    },
    /// A member is of another cluster.
    #[error("{member} and {target} are not of the same cluster")]
    OtherCluster {
        /// One.
        member: String,
        /// The other one.
        target: String,
    },
    /// The old primary may still take writes.
    #[error("{member} of `{component}` may still take writes, and nothing keeps it out: {why}")]
    NoFence {
        /// The component.
        component: String,
        /// The member.
        member: String,
        /// Why it could not be asked.
        why: String,
        /// Whether something answers there.
        answers: bool,
    },
    /// Too few primaries of a Redis Cluster are left to agree on another one.
    #[error(
        "only {alive} of {primaries} primaries of `{component}` can vote: nothing but a word would keep {member} out"
    )]
    NoMajority {
        /// The component.
        component: String,
        /// The primary that would be replaced.
        member: String,
        /// Those that can vote.
        alive: u32,
        /// All with slots.
        primaries: u32,
        /// Whether something answers there.
        answers: bool,
    },
    /// The role lacks a right.
    #[error("the role of {member} lacks rights for a failover")]
    MayNot {
        /// The member.
        member: String,
        /// The statements that give them.
        mend: String,
    },
    /// There is nothing to undo.
    #[error("no restore of `{component}` has kept its old data")]
    NothingKept {
        /// The component.
        component: String,
    },
}

impl PlanError {
    /// Says what to do where no server can be promoted.
    fn before_failover(&self) -> String {
        match self {
            Self::UnknownMember { known, .. } => format!("it has: {}", known.join(", ")),
            Self::NotAStandby { .. } => "choose a member that follows the primary: `--to`".into(),
            Self::TwoPrimaries { .. } => {
                "stop the one that must not win, and compare what it has before it is rebuilt".into()
            }
            Self::NoOldPrimary { .. } => {
                "add the server that they follow to `members`: it must be kept out before one is promoted"
                    .into()
            }
            Self::OtherCluster { .. } => "mend the urls of `members`".into(),
            Self::NoFence { answers: true, member, .. } => {
                format!("it answers, so it runs: stop it on its host, or give {member} a `service` that does")
            }
            Self::NoFence { member, .. } => format!(
                "give {member} a `service` that Muster can stop; or make sure that it is off, and say who did it and how: `--fenced-by \"ada: power cut\"`"
            ),
            Self::NoMajority { answers: true, member, .. } => {
                format!(
                    "{member} answers, so it runs: stop it on its host, or bring other primaries back first"
                )
            }
            Self::NoMajority { member, .. } => format!(
                "bring other primaries back first; or make sure that {member} is off, and say who did it and how: `--fenced-by \"ada: power cut\"`"
            ),
            _ => "look with `muster failover COMPONENT --to MEMBER --dry-run`".into(),
        }
    }
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoBackup { .. }
            | Self::NoBackupBefore { .. }
            | Self::UnknownBackup { .. }
            | Self::NothingKept { .. }
            | Self::NotReached { .. }
            | Self::NoCleanBackup { .. }
            | Self::OnlyBadBackups { .. } => Kind::NotFound,
            Self::AmbiguousBackup { .. } | Self::InTheFuture { .. } | Self::UnknownMember { .. } => {
                Kind::Input
            }
            Self::OtherIdentity { .. }
            | Self::TargetNotEmpty { .. }
            | Self::InUse { .. }
            | Self::RowsOfDump { .. }
            | Self::CannotTakeOver { .. }
            | Self::CannotEmpty { .. }
            | Self::NotAStandby { .. }
            | Self::TwoPrimaries { .. }
            | Self::NoOldPrimary { .. }
            | Self::OtherCluster { .. }
            | Self::NoFence { .. }
            | Self::NoMajority { .. }
            | Self::MayNot { .. }
            | Self::GivesUp { .. }
            | Self::Compromised { .. }
            | Self::OtherShape { .. } => Kind::Conflict,
            Self::NoPlace { .. } | Self::NoRestoreCommand { .. } => Kind::Config,
            Self::CannotRotate { kind, .. } => *kind,
        }
    }

    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::NoBackup { component } => format!("take one with `muster backup {component}`"),
            Self::NoBackupBefore { component, .. } | Self::UnknownBackup { component, .. } => {
                format!("show what there is with `muster list {component}`")
            }
            Self::NotReached { component, reach, .. } if reach.is_empty() => {
                format!("no log is archived for it; what there is: `muster list {component}`")
            }
            Self::NotReached { component, reach, .. } => {
                format!("it reaches:\n{}\nbackups without log: `muster list {component}`", reach.join("\n"))
            }
            Self::InTheFuture { .. } => "give a time that has passed, or `latest`".into(),
            Self::Compromised { at: Some(_), .. } => {
                "choose an older one; if a person has examined this very backup, say who and how: `--vouched-by \"ada: compared with the audit log\"`".into()
            }
            Self::Compromised { .. } => "give a time before the compromise, or `latest`".into(),
            Self::NoCleanBackup { component, .. } => format!(
                "look into the copies: `muster list {component} --from COPY`; or leave the component out and build it anew"
            ),
            Self::GivesUp { .. } => {
                "say `--together` when they must fit all the same, `--apart` when each keeps its own newest state; or name only the components that must fit, with `--together`".into()
            }
            Self::AmbiguousBackup { .. } => "give more digits of the id".into(),
            Self::OnlyBadBackups { component } => {
                format!("choose one yourself: `muster list {component}`, then `--to BACKUP`")
            }
            Self::OtherIdentity { .. } => {
                "check `--env` and the component's connection; if only the folder is another one since a recovery, recover into the one where `muster.yaml` stood; to have it elsewhere use `--into PATH`"
                    .into()
            }
            Self::TargetNotEmpty { .. } => {
                "choose an empty target, or say `--replace`: what stands there is kept beside".into()
            }
            Self::InUse { .. } => {
                "stop it first, or list the service's `uses:` so that Muster stops it".into()
            }
            Self::NoPlace { .. } => {
                "add `data_dir: /var/lib/postgresql/15/main` to it, or restore with `--into FOLDER`".into()
            }
            Self::RowsOfDump { backup, component } => format!(
                "take the rows from it by hand: `muster restore {component} --to {backup} --into FOLDER`, then \
                 `pg_restore --data-only --table TABLE` into a database of its own"
            ),
            Self::CannotTakeOver { hint, .. } | Self::CannotRotate { hint, .. } => hint.clone(),
            Self::CannotEmpty { .. } => {
                "start it; or name its `service` and its `data_dir` on this host, and its files are removed while it is stopped".into()
            }
            Self::NoRestoreCommand { component } => format!(
                "add `restore: {{command: …}}` to it, or get its files: `muster restore {component} --into FOLDER`"
            ),
            Self::OtherShape { .. } => "restore it elsewhere with `--into PATH`".into(),
            Self::UnknownMember { .. }
            | Self::NotAStandby { .. }
            | Self::TwoPrimaries { .. }
            | Self::NoOldPrimary { .. }
            | Self::OtherCluster { .. }
            | Self::NoFence { .. }
            | Self::NoMajority { .. } => self.before_failover(),
            Self::MayNot { mend, .. } => mend.clone(),
            Self::NothingKept { .. } => "list the runs with `muster runs`".into(),
        };
        Some(Hint(text))
    }
}
