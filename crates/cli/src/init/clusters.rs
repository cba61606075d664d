//! PostgreSQL servers on this host that Muster can back up: Debian's clusters, servers of a compose file, others.
//!
//! In: Debian's folder of configurations, the compose file, a folder of sockets. Out: [`FoundPostgres`], one for each
//! server, with the URL of a role that has still to be made.
//!
//! It never logs in. What does not answer is only named, so that a new `muster.yaml` has no component that cannot work.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{compose::ComposeFile, servers};

/// Where Debian keeps the settings of each cluster: `15/main/postgresql.conf`.
pub const DEBIAN: &str = "/etc/postgresql";
/// The variable by which Debian's own programs are told another folder.
pub const DEBIAN_VARIABLE: &str = "PG_CLUSTER_CONF_ROOT";
/// Where PostgreSQL has its socket, on Debian and on most others.
pub const SOCKETS: &str = "/var/run/postgresql";
/// The port when nothing says another.
const PORT: u16 = 5432;
/// How the name of a socket begins; its port follows.
const SOCKET: &str = ".s.PGSQL.";
/// The role that is proposed.
const ROLE: &str = "muster";

/// A PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FoundPostgres {
    /// What its component may be called.
    pub name: String,
    /// Where it was found: `cluster 15/main of this host`.
    pub origin: String,
    /// Its URL for the role that is proposed, without a password.
    pub url: String,
    /// Its data directory, when it is known and on this host.
    pub data_dir: Option<PathBuf>,
    /// Whether a PostgreSQL server answers there now.
    pub answers: bool,
    #[serde(skip)]
    place: Place,
}

/// Where it listens: the same place is the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Local(u16),
    /// Only in a network of containers.
    Within,
}

/// Looks for servers; one that is found twice is listed where most is known of it.
pub fn find(
    debian: &Path,
    compose: Option<&ComposeFile>,
    folder: &Path,
    sockets: &Path,
) -> Vec<FoundPostgres> {
    let mut found = clusters(debian);
    found.extend(compose.iter().flat_map(|file| services(file, folder)));
    let mut ports: Vec<u16> = sockets_in(sockets);
    ports.push(PORT);
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        if found.iter().any(|one| one.place == Place::Local(port)) {
            continue;
        }
        let is_on_tcp = is_on_tcp(port);
        let path = sockets.join(format!("{SOCKET}{port}"));
        if is_on_tcp || servers::is_postgres_socket(&path) {
            let url = if is_on_tcp { tcp(port) } else { socket(sockets, port) };
            let origin = if is_on_tcp { format!("127.0.0.1:{port}") } else { path.display().to_string() };
            let (name, place) = ("postgres".to_owned(), Place::Local(port));
            found.push(FoundPostgres { name, origin, url, data_dir: None, answers: true, place });
        }
    }
    found
}

fn clusters(debian: &Path) -> Vec<FoundPostgres> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let mut found = Vec::new();
    for cluster in folders(debian).iter().flat_map(|version| folders(version)) {
        // A folder without it is none, or is not ours to read: then nothing can be told.
        let Ok(text) = fs::read_to_string(cluster.join("postgresql.conf")) else { continue };
        let port = setting(&text, "port").and_then(|port| port.parse().ok()).unwrap_or(PORT);
        let folder = setting(&text, "unix_socket_directories").unwrap_or_else(|| SOCKETS.to_owned());
        let sockets = PathBuf::from(folder.split(',').next().unwrap_or_default().trim());
        let is_on_tcp = is_on_tcp(port);
        let answers = is_on_tcp || servers::is_postgres_socket(&sockets.join(format!("{SOCKET}{port}")));
        let data_dir = setting(&text, "data_directory").map(PathBuf::from);
        // A cluster that was dropped may leave its settings.
        if !answers && !data_dir.as_ref().is_some_and(|folder| folder.is_dir()) {
            continue;
        }
        let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (version, name) = (cluster.parent().map(named).unwrap_or_default(), named(&cluster));
        found.push(FoundPostgres {
            name: if name == "main" { "postgres".into() } else { format!("postgres-{name}") },
            origin: format!("cluster {version}/{name} of this host"),
            url: if answers && !is_on_tcp { socket(&sockets, port) } else { tcp(port) },
            data_dir,
            answers,
            place: Place::Local(port),
        });
    }
    found
}

fn services(file: &ComposeFile, folder: &Path) -> Vec<FoundPostgres> {
    let servers = file.services.iter().filter(|service| service.server == Some("PostgreSQL"));
    servers
        .map(|service| {
            let port = service.published(PORT);
            let data_dir = service.mounts.iter().map(|mount| folder.join(mount)).find_map(|mount| {
                let below = [mount.clone(), mount.join("data"), mount.join("pgdata")];
                below.into_iter().find(|folder| folder.join("PG_VERSION").exists())
            });
            FoundPostgres {
                name: service.name.clone(),
                origin: format!("service `{}` of {}", service.name, file.file.display()),
                url: match port {
                    Some(port) => tcp(port),
                    None => format!("postgres://{ROLE}@{}:{PORT}/postgres", service.name),
                },
                data_dir,
                answers: port.is_some_and(is_on_tcp),
                place: port.map_or(Place::Within, Place::Local),
            }
        })
        .collect()
}

/// Reads one setting of a `postgresql.conf`; the last one counts. Files that it includes are not followed.
fn setting(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let rest = line.trim_start().strip_prefix(name)?;
        let rest = rest.trim_start_matches([' ', '\t']);
        let value = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        let is_this = rest.starts_with('=') || rest.len() < line.trim_start().len() - name.len();
        let text = match value.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next()?,
            None => value.split([' ', '\t', '#']).next()?,
        };
        is_this.then(|| text.to_owned())
    };
    text.lines().filter_map(value).next_back()
}

fn sockets_in(folder: &Path) -> Vec<u16> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(SOCKET)?.parse().ok()).collect()
}

fn is_on_tcp(port: u16) -> bool {
    servers::is_postgres(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn tcp(port: u16) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/postgres")
}

fn socket(folder: &Path, port: u16) -> String {
    format!("postgres://{ROLE}@/postgres?host={}&port={port}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_server_reads_them() {
        let text = "#port = 1\nport = 5433\t# (change requires restart)\nport_x = 7\n\
                    data_directory = '/srv/a b/15'  # use data in another directory\nport 5434\n";
        assert_eq!(setting(text, "port").as_deref(), Some("5434"));
        assert_eq!(setting(text, "data_directory").as_deref(), Some("/srv/a b/15"));
        assert_eq!(setting(text, "unix_socket_directories"), None);
    }

    #[test]
    fn a_cluster_whose_data_is_there_is_found_and_one_that_was_dropped_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let cluster = |name: &str, data: &Path| {
            let path = folder.path().join("etc/15").join(name);
            fs::create_dir_all(&path).unwrap();
            let free = muster_testkit::free_port();
            let text = format!("data_directory = '{}'\nport = {free}\n", data.display());
            muster_repo::durable::create(&path.join("postgresql.conf"), text.as_bytes(), 0o600).unwrap();
            free
        };
        fs::create_dir(&data).unwrap();
        let port = cluster("main", &data);
        cluster("gone", &folder.path().join("nothing"));
        let found = clusters(&folder.path().join("etc"));
        let [only] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(only.url, format!("postgres://muster@127.0.0.1:{port}/postgres"));
        assert_eq!((only.data_dir.as_deref(), only.answers), (Some(data.as_path()), false));
        assert_eq!((only.name.as_str(), only.origin.as_str()), ("postgres", "cluster 15/main of this host"));
    }
}
