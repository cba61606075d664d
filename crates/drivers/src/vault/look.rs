//! What `muster survey` says of a Vault: how it stands, and what stands in the way of a backup.
//!
//! In: the component's configuration. Out: facts, hindrances with what mends them, warnings. It asks what needs no token,
//! and lets the server judge the token itself; it takes no snapshot and writes no canary.

use muster_types::{Explain, config::VaultComponent, event::Watcher};

use super::{backup, server::Server};
use crate::{DriverError, look::Look, scratch::find_program};

pub(super) fn look(component: &VaultComponent, _watcher: &dyn Watcher) -> Result<Look, DriverError> {
    let mut look = Look::default();
    let server = Server::new(component)?;
    look.add("server", server.url());
    let status = match server.status() {
        Ok(status) => status,
        Err(error) => {
            hinder(&mut look, &error);
            return Ok(look);
        }
    };
    look.add("version", &status.version);
    look.add("initialised", yes(status.is_initialised));
    look.add("sealed", yes(status.is_sealed));
    if status.is_initialised {
        look.add("seal", format!("{}, {} of {} shares", status.seal, status.threshold, status.shares));
    }
    if let Some(storage) = &status.storage {
        look.add("storage", storage);
    }
    if let Some(cluster) = &status.cluster_id {
        look.add("cluster", cluster);
    }
    if let Err(error) = backup::refuse(&server, &status) {
        hinder(&mut look, &error);
        return Ok(look);
    }
    match server.session(component).and_then(|session| session.look_up()) {
        Ok(Some(ttl)) if ttl.as_secs() > 0 && ttl.as_secs() < 24 * 3600 => look.warn(
            format!("the token ends in {} h", ttl.as_secs() / 3600),
            Some("renew it, or log in with an AppRole (`role_id`, `secret_id`)".into()),
        ),
        Ok(_) => {}
        Err(error) => hinder(&mut look, &error),
    }
    if component.canary.is_none() {
        look.warn(
            "no canary: a proof shows that the keys fit, and no secret",
            Some("add `canary: secret/data/muster-canary`".into()),
        );
    }
    if matches!(find_program(component.bin_dir.as_deref(), &["bao", "vault"]), Ok(None)) {
        look.warn(
            "this host has no program `bao` or `vault`: backups can be taken, and not proven here",
            Some("install it, or name its folder in `bin_dir`".into()),
        );
    }
    Ok(look)
}

fn hinder(look: &mut Look, error: &DriverError) {
    let mend = error.hint().map_or_else(|| "look into the server's log".to_owned(), |hint| hint.0);
    look.hinder(error.to_string(), mend);
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}
