//! Makes the paths of a configuration absolute.
//!
//! A platform and the folder of its file come in; relative paths mean that folder, wherever Muster is started. A
//! program is a path only if it has a slash: `./start.sh` means the folder, `docker` is looked up as a shell does.
//!
//! It never looks at the disk, and leaves the path of an assertion alone: that one is relative to its component.

use std::path::{Path, PathBuf};

use muster_types::config::{CommandText, Component, Platform};

use super::discover::clean;

/// Makes every path absolute that a driver, the journal or the repository gets.
pub(super) fn make_absolute(platform: &mut Platform, folder: &Path) {
    let path = |path: &mut PathBuf| *path = clean(&folder.join(&*path));
    let program = |argv: &mut Vec<String>| {
        if let Some(first) = argv.first_mut().filter(|first| first.contains('/')) {
            *first = clean(&folder.join(&*first)).to_string_lossy().into_owned();
        }
    };
    platform.state.iter_mut().for_each(path);
    if let Some(repository) = &mut platform.repository {
        let files = repository.copies.iter_mut().filter_map(|copy| copy.ssh_config.as_mut());
        for file in files.chain(&mut repository.ssh_config) {
            *file = clean(&folder.join(&*file));
        }
        let copies = repository.copies.iter_mut().map(|copy| &mut copy.location);
        for location in copies.chain([&mut repository.location]).filter(|text| !text.contains("://")) {
            *location = clean(&folder.join(&*location)).to_string_lossy().into_owned();
        }
    }
    make_components_absolute(platform, path, program);
    for service in platform.services.values_mut() {
        if let Some(compose) = &mut service.compose {
            path(&mut compose.file);
        }
        if let Some(own) = &mut service.kubernetes {
            own.kubeconfig.iter_mut().for_each(path);
            own.kubectl.iter_mut().filter(|one| one.components().count() > 1).for_each(path);
        }
        if let Some(command) = &mut service.command {
            [&mut command.start, &mut command.stop, &mut command.status].into_iter().for_each(program);
            command.log.iter_mut().for_each(path);
        }
    }
    make_secrets_absolute(platform, path, program);
    for check in platform.checks.values_mut() {
        check.command.iter_mut().for_each(program);
        if let Some(tool) = check.tool.as_mut().filter(|tool| tool.contains('/')) {
            *tool = clean(&folder.join(&*tool)).to_string_lossy().into_owned();
        }
        [&mut check.disk, &mut check.file, &mut check.ca].into_iter().flatten().for_each(path);
        for request in
            check.chain.iter_mut().flat_map(|chain| chain.requests.iter_mut().chain(&mut chain.always))
        {
            request.upload.iter_mut().for_each(|upload| path(&mut upload.file));
            request.download.iter_mut().filter_map(|download| download.same_as.as_mut()).for_each(path);
        }
        if let Some(sqlite) = &mut check.sqlite {
            path(&mut sqlite.path);
        }
    }
}

/// Where components live, and the programs that read and change them.
fn make_components_absolute(
    platform: &mut Platform,
    path: impl Fn(&mut PathBuf) + Copy,
    program: impl Fn(&mut Vec<String>) + Copy,
) {
    for component in platform.components.values_mut() {
        match component {
            Component::Sqlite(sqlite) => sqlite.path.iter_mut().for_each(path),
            Component::Files(files) => files.paths.iter_mut().for_each(path),
            Component::Postgres(postgres) => {
                postgres.data_dir.iter_mut().chain(&mut postgres.bin_dir).for_each(path);
                for one in &mut postgres.failover_secrets {
                    one.kubeconfig.iter_mut().for_each(path);
                    one.kubectl.iter_mut().filter(|one| one.components().count() > 1).for_each(path);
                }
            }
            Component::Kubernetes(own) => {
                own.kubeconfig.iter_mut().for_each(path);
                own.kubectl.iter_mut().filter(|one| one.components().count() > 1).for_each(path);
            }
            Component::Command(own) => {
                own.commands_mut().filter_map(CommandText::program_mut).for_each(program);
            }
            Component::Redis(redis) => {
                let warm = redis.warm.iter_mut().flat_map(|warm| &mut warm.ca);
                redis.bin_dir.iter_mut().chain(&mut redis.data_dir).chain(warm).for_each(path);
            }
            Component::Vault(vault) => {
                vault.bin_dir.iter_mut().chain(vault.tls.files_mut()).for_each(path);
            }
            Component::Etcd(etcd) => {
                let members = etcd.members.iter_mut().map(|member| &mut member.data_dir);
                let own = etcd.data_dir.iter_mut().chain(&mut etcd.bin_dir);
                own.chain(members).chain(etcd.tls.files_mut()).for_each(path);
            }
        }
    }
}

/// Where secrets live, and the programs that make, look at and revoke them.
fn make_secrets_absolute(
    platform: &mut Platform,
    path: impl Fn(&mut PathBuf) + Copy,
    program: impl Fn(&mut Vec<String>) + Copy,
) {
    for secret in platform.secrets.values_mut() {
        for place in &mut secret.places {
            place.env_file.iter_mut().for_each(|own| path(&mut own.path));
            place.file.iter_mut().for_each(path);
            if let Some(own) = &mut place.kubernetes {
                own.kubeconfig.iter_mut().for_each(path);
                own.kubectl.iter_mut().filter(|one| one.components().count() > 1).for_each(path);
            }
        }
        secret.revoke.iter_mut().for_each(program);
        if let Some(new) = &mut secret.new {
            new.command.iter_mut().for_each(program);
            new.file.iter_mut().for_each(path);
        }
        for look in [&mut secret.proof.accepts, &mut secret.proof.refuses].into_iter().flatten() {
            look.command.iter_mut().for_each(program);
            look.ca.iter_mut().for_each(path);
        }
    }
}
