//! What each action of a plan does. One function per action; none of them chooses anything.
//!
//! It is long and one thing: who looks for an action finds it here, or is led on from here.

use std::path::Path;

use muster_drivers::{
    DriverError,
    cache::Cache,
    checks,
    component::{Verification, Verified},
    rescue::RowSearch,
    server::Told,
    services,
};
use muster_repo::{BackupHeader, CopyDepth, CopyOptions};
use muster_types::{
    ByteSize, Explain, Kind, Span,
    backup::{BackupId, Identity, Method},
    event::{Unwatched, Watcher, What},
    facts::{ProofFact, ProofOutcome},
    plan::{Action, Holder, KeptData, Step, SwapMove, Verb},
    text::counted,
    wal::{Replay, Replayed},
};

use super::{Executor, StepEffect};
use crate::{
    EngineError,
    places::{self, Places, remove_kept, remove_tree},
    sweep::holds_more,
};

impl Executor<'_> {
    pub(super) fn act(&self, step: &Step) -> Result<StepEffect, EngineError> {
        match &step.action {
            Action::BackUp { component, identity, method, label, pin, scratch, files } => {
                let from = (*method, files.as_deref());
                self.back_up(component, identity, from, label.as_ref(), *pin, scratch)
            }
            Action::CheckSpace { path, need_bytes } => check_space(path, *need_bytes),
            Action::CheckUnused { component } => self.check_unused(component),
            Action::StopService { service } => self.stop(service),
            Action::StartService { service, within } => self.start(service, *within),
            Action::RestoreBeside { backup, places, .. } => self.restore(backup, places),
            Action::VerifyRestored {
                component,
                backup,
                places,
                witness,
                assertions,
                damage,
                replay,
                loaded,
            } => {
                refuse_damage(component, backup, damage)?;
                let request = Verification {
                    places,
                    witness,
                    assertions,
                    is_proof: self.plan.verb == Verb::Prove,
                    replay: replay.as_ref(),
                    loaded: loaded.as_deref(),
                };
                self.verify(step, component, backup, &request)
            }
            Action::EditFiles { component, backup, places, edits, set } => {
                self.edit_files(component, backup, places, (edits, set))
            }
            Action::FetchWal { replay, into, .. } => self.fetch_wal(replay, into),
            Action::FindRows { .. } | Action::InsertRows { .. } => self.rows(&step.action),
            Action::CheckPlace { .. }
            | Action::Load { .. }
            | Action::Unseal { .. }
            | Action::TakeOver { .. }
            | Action::StartAnew { .. }
            | Action::MeasureHits { .. }
            | Action::EmptyCache { .. }
            | Action::WarmUp { .. }
            | Action::ReplaceTables { .. }
            | Action::ReturnTables { .. }
            | Action::Fence { .. }
            | Action::Promote { .. }
            | Action::PromoteReplica { .. }
            | Action::SwitchClients { .. } => self.in_server(&step.action),
            Action::Swap { component, holder, moves } => self.swap(component, *holder, moves),
            Action::FindDamage { .. }
            | Action::KeepDefinitions { .. }
            | Action::Mend { .. }
            | Action::Quarantine { .. }
            | Action::EndQuarantine { .. } => self.repair(&step.action),
            Action::Rotate { secret, part } => self.rotate(secret, part),
            Action::Check { check, within } => self.check(check, *within),
            Action::RemoveScratch { path } => {
                remove_tree(path).map_err(state_error("remove", path)).map(|()| StepEffect::default())
            }
            Action::Forget { .. }
            | Action::FreeSpace
            | Action::FreeWal { .. }
            | Action::SetPin { .. }
            | Action::CopyTo { .. }
            | Action::ThinCopy { .. } => self.keep_house(&step.action),
            Action::ReleaseKept { kept } => self.release(kept),
        }
    }

    fn rows(&self, action: &Action) -> Result<StepEffect, EngineError> {
        match action {
            Action::FindRows { component, places, selection, keep, triggers } => {
                let search = RowSearch { places, selection, keep, triggers: *triggers };
                self.find_rows(component, &search)
            }
            Action::InsertRows { component, triggers } => self.insert_rows(component, *triggers),
            other => Err(not_here(other)),
        }
    }

    fn check_unused(&self, component: &str) -> Result<StepEffect, EngineError> {
        self.world.component(component)?.check_unused()?;
        Ok(StepEffect::default())
    }

    fn stop(&self, service: &str) -> Result<StepEffect, EngineError> {
        self.world.service(service)?.stop(self.observer)?;
        Ok(StepEffect::default())
    }

    fn fetch_wal(&self, replay: &Replay, into: &Path) -> Result<StepEffect, EngineError> {
        remove_tree(into).map_err(state_error("remove", into))?;
        let fetched = self.world.repo.wal().fetch(replay, into, self.observer)?;
        let summary = format!("{}, {}", counted(fetched.segments, "segment"), ByteSize(fetched.bytes));
        Ok(StepEffect { summary: Some(summary), events: Vec::new() })
    }

    /// What a run does inside a running server.
    fn in_server(&self, action: &Action) -> Result<StepEffect, EngineError> {
        match action {
            Action::CheckPlace { component, place } => {
                self.on_server(component, |server| server.check(place, self.observer))
            }
            Action::Load { component, places, into, .. } => {
                self.on_server(component, |server| server.load(places, into, self.observer))
            }
            Action::Unseal { component } => {
                Ok(told(component, self.world.component(component)?.unseal(self.observer)?))
            }
            Action::TakeOver { component, places, how, .. } => {
                // Without a place nothing was restored, and that must never look like a success.
                let Some(place) = places.first() else { return Err(not_here(action)) };
                Ok(told(component, self.world.component(component)?.take_over(place, *how, self.observer)?))
            }
            Action::StartAnew { component, places, anew } => {
                Ok(told(component, self.world.component(component)?.start_anew(places, anew, self.observer)?))
            }
            Action::MeasureHits { component } => {
                self.on_cache(component, |cache| cache.hit_rate(self.observer))
            }
            Action::EmptyCache { component, folder } => {
                self.on_cache(component, |cache| cache.empty(folder.as_deref(), self.observer))
            }
            Action::WarmUp { component } => self.on_cache(component, |cache| cache.warm_up(self.observer)),
            Action::Fence { component, member, fence } => self.fence(component, member, fence),
            Action::Promote { .. } => self.promote(action),
            Action::PromoteReplica { .. } => self.promote_replica(action),
            Action::SwitchClients { component, member } => self.switch_clients(component, member),
            Action::ReplaceTables { .. } | Action::ReturnTables { .. } => self.tables(action),
            other => Err(not_here(other)),
        }
    }

    /// What a run does to the repository besides backing up.
    fn keep_house(&self, action: &Action) -> Result<StepEffect, EngineError> {
        let repo = &self.world.repo;
        let said = |summary: String, events| Ok(StepEffect { summary: Some(summary), events });
        match action {
            Action::Forget { backups } => {
                repo.forget(backups)?;
                let events = vec![What::BackupsForgotten { backups: backups.clone() }];
                said(format!("{} forgotten", counted(backups.len(), "backup")), events)
            }
            Action::FreeSpace => said(repo.free_space(false)?.to_string(), Vec::new()),
            Action::FreeWal { needs } => {
                let needed: Vec<_> = needs
                    .iter()
                    .map(|need| (need.system_identifier.clone(), need.line, need.first))
                    .collect();
                let freed = repo.wal().remove_before(&needed)?;
                said(format!("{} freed", ByteSize(freed)), Vec::new())
            }
            Action::SetPin { backup, pin } => {
                repo.set_pin(backup, *pin)?;
                Ok(StepEffect::default())
            }
            Action::CopyTo { copy, may_begin, is_mending, read_all } => {
                let depth = if *read_all { CopyDepth::All } else { CopyDepth::Sample };
                let may_replace = !is_mending;
                self.copy_to(copy, CopyOptions { may_begin: *may_begin, may_replace, depth, dry_run: false })
            }
            Action::ThinCopy { copy, backups } => self.thin_copy(copy, backups),
            other => Err(not_here(other)),
        }
    }

    fn release(&self, kept: &KeptData) -> Result<StepEffect, EngineError> {
        // A server that does not answer keeps it, and the next prune tries again.
        let places = Places::of(self.world, &kept.component, kept.holder)?;
        for one in &kept.moves {
            places.is_there(&one.kept)?;
        }
        // Told before it is done: a half-removed state must never be offered to `--undo`.
        self.emit(released(kept))?;
        remove_kept(self.world, kept)?;
        Ok(StepEffect::default())
    }

    fn back_up(
        &self,
        component: &str,
        identity: &Identity,
        (method, files): (Method, Option<&Path>),
        label: Option<&String>,
        pin: bool,
        scratch: &Path,
    ) -> Result<StepEffect, EngineError> {
        let begun_at = self.world.clock.now();
        let opened = make_scratch(scratch).and_then(|()| {
            let driver = self.world.component(component)?;
            Ok(match files {
                Some(files) => driver.open_files(files, scratch, self.observer)?,
                None => driver.open_source(method, scratch, self.observer)?,
            })
        });
        self.gate.pass(self.observer);
        let source = opened?;
        let header = BackupHeader {
            identity: identity.clone(),
            method,
            run: self.run.clone(),
            begun_at,
            label: label.cloned(),
            pin,
            muster: self.world.version.to_owned(),
        };
        let backup = self.world.repo.back_up(source, header, self.observer)?;
        let mut summary = format!("backup {}, {}", backup.id.short(), ByteSize(backup.record.size_bytes));
        if let Some(added) = backup.added_bytes {
            summary.push_str(&format!(", {} new", ByteSize(added)));
        }
        let mut events: Vec<What> = backup
            .record
            .warnings
            .iter()
            .map(|warning| What::Warning { message: format!("{component}: {warning}") })
            .collect();
        let (id, damage) = (backup.id.clone(), backup.record.damage.clone());
        events.push(What::BackupTaken { backup: Box::new(backup) });
        // The copy is in the repository now; what stays here is removed at the end of the run at the latest.
        remove_tree(scratch).map_err(state_error("remove", scratch))?;
        if let Err(error) = refuse_damage(component, &id, &damage) {
            // It is kept and in the journal, for what is good in it; but nobody must take it for a good one.
            for event in events {
                self.emit(event)?;
            }
            return Err(error);
        }
        Ok(StepEffect { summary: Some(summary), events })
    }

    fn start(&self, service: &str, within: Span) -> Result<StepEffect, EngineError> {
        let platform = &self.world.platform;
        muster_drivers::secrets::refuse_missing(platform, [service].into_iter(), &|_| false, &Unwatched)?;
        let definition = &self.world.platform.services[service];
        let ready = match &definition.ready {
            Some(name) => Some((name.as_str(), self.world.check(name)?)),
            None => None,
        };
        services::start_and_wait(
            service,
            self.world.service(service)?,
            ready,
            within.duration(),
            self.world.clock.as_ref(),
            // Starting what this run has stopped is part of stopping it well.
            if self.observer.is_cancelled() { &Unwatched as &dyn Watcher } else { self.observer },
        )?;
        Ok(StepEffect::default())
    }

    fn restore(&self, backup: &BackupId, places: &[std::path::PathBuf]) -> Result<StepEffect, EngineError> {
        for place in places {
            // What an earlier attempt of this run has left half-written.
            remove_tree(place).map_err(state_error("remove", place))?;
            if let Some(parent) = place.parent() {
                if place.starts_with(self.world.scratch_root()) {
                    make_scratch(parent)?;
                } else {
                    std::fs::create_dir_all(parent).map_err(state_error("create", parent))?;
                }
            }
        }
        let stats = self.world.repo.restore(backup, places, self.observer)?;
        Ok(StepEffect { summary: Some(stats.to_string()), events: Vec::new() })
    }

    fn verify(
        &self,
        step: &Step,
        component: &str,
        backup: &BackupId,
        request: &Verification<'_>,
    ) -> Result<StepEffect, EngineError> {
        let begun = std::time::Instant::now();
        let driver = self.world.component(component)?;
        let Verified { summary, doubts, reached } = driver.verify(request, self.observer)?;
        if request.is_proof && !doubts.is_empty() {
            return Err(EngineError::Doubtful { component: component.to_owned(), doubts });
        }
        let mut events: Vec<What> =
            doubts.iter().map(|doubt| What::Warning { message: format!("{component}: {doubt}") }).collect();
        if let (Some(replay), Some(reached)) = (request.replay, reached) {
            let (component, asked) = (component.to_owned(), replay.until.clone());
            events.push(What::Replayed { replayed: Replayed { component, asked, reached } });
        }
        if request.is_proof {
            let seconds = begun.elapsed().as_secs_f64() + self.seconds_before(step)?;
            let proof = ProofFact {
                backup: backup.clone(),
                component: component.to_owned(),
                at: self.world.clock.now(),
                outcome: ProofOutcome::Proven,
                seconds,
                from: self.plan.from.clone(),
            };
            events.push(What::ProofEnded { proof, reason: None });
        }
        Ok(StepEffect { summary: Some(summary), events })
    }

    /// Seconds that the earlier steps of the same group have taken, from the journal.
    fn seconds_before(&self, step: &Step) -> Result<f64, EngineError> {
        let report = self.report()?;
        Ok(self
            .plan
            .steps
            .iter()
            .zip(&report.steps)
            .take_while(|(earlier, _)| earlier.id != step.id)
            .filter(|(earlier, _)| earlier.group == step.group)
            .filter_map(|(_, told)| told.seconds)
            .sum())
    }

    /// Asks what knows the places inside a component's server; what it warns of is told with the step.
    fn on_server(
        &self,
        component: &str,
        act: impl FnOnce(&dyn muster_drivers::server::ServerPlaces) -> Result<Told, muster_drivers::DriverError>,
    ) -> Result<StepEffect, EngineError> {
        match Places::of(self.world, component, Holder::Server)? {
            Places::Server(server) => Ok(told(component, act(server)?)),
            Places::Folder => Ok(StepEffect::default()),
        }
    }

    /// Asks what knows how a component is emptied instead of restored.
    fn on_cache(
        &self,
        component: &str,
        act: impl FnOnce(&dyn Cache) -> Result<Told, DriverError>,
    ) -> Result<StepEffect, EngineError> {
        let cache = self.world.component(component)?.cache();
        let name = component.to_owned();
        let cache = cache.ok_or(EngineError::Unknown { what: "cache of component", name })?;
        Ok(told(component, act(cache)?))
    }

    fn swap(&self, component: &str, holder: Holder, moves: &[SwapMove]) -> Result<StepEffect, EngineError> {
        let driver = self.world.component(component)?;
        let held = Places::of(self.world, component, holder)?;
        // A swap without anything to put in place would look like one that is done.
        let mut gone = Vec::new();
        for one in moves {
            if !held.is_there(&one.from)? && !held.is_half_done(one)? {
                gone.push(one.from.clone());
            }
        }
        if gone.len() == moves.len() || (!gone.is_empty() && self.plan.verb == Verb::Undo) {
            return Err(EngineError::NothingToSwap(gone.into_iter().next().unwrap_or_default()));
        }
        // Asked again: since the first time a whole restore has gone by, and services come back by themselves.
        if holder == Holder::Folder && moves.iter().any(|one| driver.targets().contains(&one.target)) {
            driver.check_unused()?;
        }
        let result = places::swap(self.world, component, holder, moves, self.observer);
        let mut events = Vec::new();
        if self.plan.verb == Verb::Undo && result.is_ok() {
            // The old data is in place again: what the earlier run had kept is used up.
            let journal = self.world.journal.events()?;
            let used = crate::fold::kept(&journal).into_iter().find(|one| {
                one.component == component
                    && one.moves.iter().zip(moves).all(|(old, new)| old.kept == new.from)
            });
            events.extend(used.as_ref().map(released));
        }
        let mut is_kept = false;
        for one in moves {
            // Of a server that has gone away meanwhile nobody knows; then nothing is promised to `--undo`.
            is_kept |= held.is_there(&one.kept).unwrap_or(false);
        }
        if is_kept {
            let kept = KeptData {
                run: self.run.clone(),
                component: component.to_owned(),
                holder,
                moves: moves.to_vec(),
                at: self.world.clock.now(),
                holds_more: holds_more(self.world, component),
            };
            events.push(What::DataKept { kept });
        }
        match result {
            Ok(done) => {
                let mut effect = told(component, done);
                effect.events.splice(0..0, events);
                Ok(effect)
            }
            Err(error) => {
                // What was moved aside before it failed can be put back all the same.
                for event in events {
                    self.emit(event)?;
                }
                Err(error)
            }
        }
    }

    fn check(&self, name: &str, within: Span) -> Result<StepEffect, EngineError> {
        let check = self.world.check(name)?;
        let result =
            checks::wait_until(name, check, within.duration(), self.world.clock.as_ref(), self.observer);
        let reason = result.reason();
        self.emit(What::Checked { result })?;
        match reason {
            None => Ok(StepEffect::default()),
            Some(_) if self.observer.is_cancelled() => Err(EngineError::Interrupted),
            Some(reason) => Err(EngineError::CheckFailed { name: name.to_owned(), reason }),
        }
    }

    /// A proof that failed, and a restore that found its backup damaged, say so about the backup: the next choice of
    /// `latest` leaves it out. What merely could not be tried here (no room, no rights) says nothing about it.
    pub(super) fn emit_proof_failure(
        &self,
        step: &Step,
        seconds: f64,
        error: &EngineError,
    ) -> Result<(), EngineError> {
        let (Action::VerifyRestored { component, backup, .. }
        | Action::Load { component, backup, .. }
        | Action::TakeOver { component, backup, .. }
        | Action::RestoreBeside { component, backup, .. }) = &step.action
        else {
            return Ok(());
        };
        let outcome = match error.kind() {
            Kind::Corrupt => ProofOutcome::Failed,
            Kind::Interrupted => return Ok(()),
            _ if self.plan.verb == Verb::Prove => ProofOutcome::Unproven,
            _ => return Ok(()),
        };
        let proof = ProofFact {
            backup: backup.clone(),
            component: component.clone(),
            at: self.world.clock.now(),
            outcome,
            seconds,
            from: self.plan.from.clone(),
        };
        self.emit(What::ProofEnded { proof, reason: Some(error.to_string()) })
    }
}

/// An action that was handed to the wrong function must never look like one that was done.
pub(super) fn not_here(action: &Action) -> EngineError {
    DriverError::new(Kind::Bug, format!("this action is done elsewhere: {action:?}")).into()
}

fn refuse_damage(component: &str, backup: &BackupId, damage: &[String]) -> Result<(), EngineError> {
    if damage.is_empty() {
        return Ok(());
    }
    Err(EngineError::SourceDamaged {
        component: component.to_owned(),
        backup: backup.short().to_owned(),
        damage: damage.join("; "),
    })
}

pub(super) fn told(component: &str, told: Told) -> StepEffect {
    let warnings = told.warnings.into_iter();
    StepEffect {
        summary: Some(told.summary).filter(|summary| !summary.is_empty()),
        events: warnings.map(|one| What::Warning { message: format!("{component}: {one}") }).collect(),
    }
}

fn released(kept: &KeptData) -> What {
    What::KeptDataReleased { kept_by: kept.run.clone(), component: kept.component.clone() }
}

/// Makes a scratch folder that only its owner can read: it will hold production data.
fn make_scratch(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(state_error("create", path))
}

fn check_space(path: &Path, need_bytes: u64) -> Result<StepEffect, EngineError> {
    // The folder may not exist yet: the file system of its nearest ancestor is the one that will be filled.
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let stat =
        rustix::fs::statvfs(existing).map_err(|errno| state_error("look at", existing)(errno.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < need_bytes {
        return Err(EngineError::NoSpace {
            path: path.to_owned(),
            free: ByteSize(free),
            need: ByteSize(need_bytes),
        });
    }
    Ok(StepEffect { summary: Some(format!("{} free", ByteSize(free))), events: Vec::new() })
}

fn state_error(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.to_owned();
    move |source| EngineError::State { operation, path, source }
}
