//! What a Docker Compose file says about services, images and the host's folders that they mount.
//!
//! In: the text of the file. Out: a [`ComposeFile`], with the services sorted by name.
//!
//! It never runs Docker and resolves no variable: an image that is `${IMAGE}` stays so. Keys that it does not know are
//! Compose's business and are passed over.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

/// The names that Compose itself looks for, in its order.
pub const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Parts of image names, and what runs in such an image.
const KNOWN: [(&str, &str); 13] = [
    ("postgres", "PostgreSQL"),
    ("postgis", "PostgreSQL"),
    ("timescale", "PostgreSQL"),
    ("pgvector", "PostgreSQL"),
    ("redis", "Redis"),
    ("valkey", "Redis"),
    ("mysql", "MySQL"),
    ("mariadb", "MariaDB"),
    ("mongo", "MongoDB"),
    ("vault", "Vault"),
    ("openbao", "OpenBao"),
    ("etcd", "etcd"),
    ("minio", "MinIO"),
];

/// A compose file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ComposeFile {
    /// Its name in the folder.
    pub file: PathBuf,
    /// Its services, sorted by name.
    pub services: Vec<ComposeService>,
}

/// A service of a compose file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ComposeService {
    /// Its name.
    pub name: String,
    /// Its image, if it names one.
    pub image: Option<String>,
    /// What runs in it, if the image tells: `PostgreSQL`, `Redis`, ….
    pub server: Option<&'static str>,
    /// Folders and files of the host that it can write to, as they stand in the file, without `./`.
    pub mounts: Vec<PathBuf>,
    /// Ports of the host and of the container, as far as they are numbers.
    pub ports: Vec<(u16, u16)>,
}

impl ComposeService {
    /// Returns the port of the host behind which a port of the container is.
    pub fn published(&self, port: u16) -> Option<u16> {
        self.ports.iter().find(|(_, inner)| *inner == port).map(|(outer, _)| *outer)
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    services: BTreeMap<String, Option<Keys>>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    volumes: Option<Vec<Mount>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Short(String),
    Long {
        #[serde(default)]
        target: Option<u16>,
        /// A number, or a text with one.
        #[serde(default)]
        published: Option<Published>,
    },
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Published {
    Number(u16),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Mount {
    Short(String),
    Long {
        #[serde(default)]
        source: Option<String>,
        #[serde(default)]
        read_only: Option<bool>,
    },
    /// Whatever Compose may learn one day.
    Other(serde::de::IgnoredAny),
}

/// Reads a compose file.
///
/// # Errors
/// A line that says why it is none.
pub fn read(file: &Path, text: &str) -> Result<ComposeFile, String> {
    let document: Document = serde_saphyr::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    let services = document.services.into_iter().map(|(name, keys)| {
        let (image, volumes, ports) =
            keys.map_or((None, None, None), |keys| (keys.image, keys.volumes, keys.ports));
        let ports = ports.unwrap_or_default().into_iter().filter_map(published).collect();
        let mounts = volumes.unwrap_or_default().into_iter().filter_map(writable).collect();
        ComposeService { name, server: image.as_deref().and_then(server), image, mounts, ports }
    });
    Ok(ComposeFile { file: file.to_owned(), services: services.collect() })
}

/// Tells by an image's name what runs in it; the registry's and the owner's name count too, the tag does not.
fn server(image: &str) -> Option<&'static str> {
    let name = image.split('@').next().unwrap_or(image);
    let name = match name.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let is_exporter = name.contains("exporter") || name.contains("commander") || name.contains("express");
    KNOWN.iter().find(|(part, _)| !is_exporter && name.contains(part)).map(|(_, server)| *server)
}

/// The host's side and the container's; `None` for a range, a variable, or a port that the host chooses.
fn published(port: Port) -> Option<(u16, u16)> {
    match port {
        Port::Short(text) => {
            let text = text.strip_suffix("/tcp").unwrap_or(&text);
            let (outer, inner) = text.rsplit_once(':')?;
            // An address of the host may stand before its port.
            let outer = outer.rsplit_once(':').map_or(outer, |(_, port)| port);
            Some((outer.parse().ok()?, inner.parse().ok()?))
        }
        Port::Long { target, published } => {
            let outer = match published? {
                Published::Number(number) => number,
                Published::Text(text) => text.parse().ok()?,
            };
            Some((outer, target?))
        }
        Port::Other(_) => None,
    }
}

/// The host's side of a mount that can be written; `None` for a named volume.
fn writable(mount: Mount) -> Option<PathBuf> {
    let source = match mount {
        Mount::Short(text) => {
            let mut parts = text.split(':');
            let source = parts.next()?.to_owned();
            let mode = parts.nth(1).unwrap_or_default();
            parts.next().is_none().then_some(())?;
            (!mode.split(',').any(|word| word == "ro")).then_some(source)?
        }
        Mount::Long { source, read_only } => (read_only != Some(true)).then_some(source)??,
        Mount::Other(_) => return None,
    };
    // A name without a slash is a volume of Docker's.
    if !source.starts_with(['.', '/']) {
        return None;
    }
    Some(Path::new(&source).components().filter(|part| !matches!(part, Component::CurDir)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_images_and_mounts_are_read_and_the_rest_is_passed_over() {
        let text = "
x-common: &common {restart: always}
services:
  api:
    <<: *common
    build: {context: .}
    ports: ['8080:8080']
    volumes: ['./data/uploads:/srv/uploads', 'cache:/cache', './config:/config:ro', '/srv/app:/app:rw,z']
  db:
    image: postgres:17
    volumes: [{type: volume, source: pgdata, target: /var/lib/postgresql/data}]
    ports: ['127.0.0.1:5433:5432', '9000:9000/tcp', '${PORT}:1', 8080, {target: 7, published: '17'}]
  worker:
    image: ${IMAGE}
    volumes: [{type: bind, source: ./data, target: /data}, {type: bind, source: ./keys, target: /k, read_only: true}]
  nothing:
volumes: {pgdata: {}}
";
        let file = read(Path::new("compose.yaml"), text).unwrap();
        let names: Vec<_> = file.services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["api", "db", "nothing", "worker"]);
        assert_eq!(file.services[0].mounts, [Path::new("data/uploads"), Path::new("/srv/app")]);
        assert_eq!(file.services[1].server, Some("PostgreSQL"));
        assert!(file.services[1].mounts.is_empty());
        assert_eq!(file.services[1].ports, [(5433, 5432), (9000, 9000), (17, 7)]);
        assert_eq!((file.services[1].published(5432), file.services[0].published(5432)), (Some(5433), None));
        assert_eq!(file.services[3].image.as_deref(), Some("${IMAGE}"));
        assert_eq!(file.services[3].mounts, [Path::new("data")]);
    }

    #[test]
    fn an_image_is_known_by_its_name_and_not_by_its_tag() {
        assert_eq!(server("registry:5000/team/postgres"), Some("PostgreSQL"));
        assert_eq!(server("docker.io/bitnami/redis:7.4@sha256:abc"), Some("Redis"));
        assert_eq!(server("hashicorp/vault:1.17"), Some("Vault"));
        assert_eq!(server("team/api:with-redis"), None);
        assert_eq!(server("oliver006/redis_exporter"), None);
    }

    #[test]
    fn a_file_that_is_no_yaml_is_refused_in_one_line() {
        let error = read(Path::new("compose.yaml"), "services: [").unwrap_err();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
}
