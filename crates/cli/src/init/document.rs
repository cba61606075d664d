//! The text of a new `muster.yaml`: what was found, as blocks that work, and the rest as comments to think about.
//!
//! In: a [`Draft`]. Out: YAML text, every line of it made here. The text is a proposal to a person, so each block says
//! what must be decided.
//!
//! It never writes a secret and never names a thing that was not found, other than in a comment.
//! Read next: `init/make.rs`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    clusters::FoundPostgres,
    compose::{ComposeFile, ComposeService},
    discover::{Found, FoundFolder},
};

/// What the text is made of.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The platform's name.
    pub platform: &'a str,
    /// The repository's location, as it is to stand in the file.
    pub repository: &'a Path,
    /// The server of object storage that is not AWS.
    pub endpoint: Option<&'a str>,
    /// The region of object storage.
    pub region: Option<&'a str>,
    /// The key file, as it is to stand in the file.
    pub key_file: &'a Path,
    /// The folder of the file, absolute.
    pub folder: &'a Path,
    /// What is there.
    pub found: &'a Found,
}

/// A component that the file will have.
struct Entry<'a> {
    name: String,
    what: What<'a>,
}

/// What a component is.
#[derive(Clone, Copy)]
enum What<'a> {
    Database(&'a Path),
    Folder(&'a FoundFolder),
    Server(&'a FoundPostgres),
}

impl Entry<'_> {
    fn paths(&self) -> Vec<&Path> {
        match self.what {
            What::Database(path) => vec![path],
            What::Folder(folder) => folder.paths.iter().map(PathBuf::as_path).collect(),
            What::Server(server) => server.data_dir.iter().map(PathBuf::as_path).collect(),
        }
    }
}

/// How often and what is kept: enough to begin with, and cheap, because only what changed is stored.
const BACKUP: &str = "{every: 1h, keep: {hourly: 24, daily: 7, weekly: 4, monthly: 12}}";
/// The name under which Redis and its like are found.
const REDIS: &str = "Redis";

/// Writes the text.
pub fn text(draft: &Draft<'_>) -> String {
    let entries = entries(draft.found);
    let mut text = head(draft);
    components(&mut text, &entries);
    not_supported(&mut text, draft.found);
    left_out(&mut text, draft.found);
    services(&mut text, draft, &entries);
    checks(&mut text, &entries);
    text
}

/// Makes a name for a platform or a component of any text: letters, digits, `-` and `_`.
pub fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c.to_ascii_lowercase()),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// Tells whether a text can name a platform.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn entries(found: &Found) -> Vec<Entry<'_>> {
    let mut taken = BTreeSet::new();
    let mut name = |path: &Path, otherwise: &str| {
        let stem = name_of(&path.file_stem().unwrap_or_default().to_string_lossy());
        let base = if stem.is_empty() { otherwise.to_owned() } else { stem };
        let mut name = base.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    };
    let databases =
        found.databases.iter().map(|path| Entry { name: name(path, "database"), what: What::Database(path) });
    // Databases take their names first.
    let mut entries: Vec<_> = databases.collect();
    // What does not answer stays a comment: a component that cannot work would stop every backup.
    entries.extend(
        found.postgres.iter().filter(|server| server.answers).map(|server| Entry {
            name: name(Path::new(&server.name), "postgres"),
            what: What::Server(server),
        }),
    );
    entries.extend(
        found
            .folders
            .iter()
            .map(|folder| Entry { name: name(&folder.path, "files"), what: What::Folder(folder) }),
    );
    entries
}

const LOCAL: &str = "\
# A repository on the same disk does not survive that disk: copy the folder to another place as well.
";
const REMOTE: &str = "\
# Who may read it there is said by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (Azure: AZURE_STORAGE_ACCOUNT and
# AZURE_STORAGE_KEY), or by `access_key` and `secret_key` here.
";

const HOST: &str = "\
# That host must let this user in without a question: `ssh_config: FILE` here names another configuration for `ssh -F`.
";

fn head(draft: &Draft<'_>) -> String {
    let advice = match draft.repository.to_string_lossy().split_once("://") {
        None => LOCAL,
        Some(("sftp", _)) => HOST,
        Some(_) => REMOTE,
    };
    let mut store = String::new();
    for (key, value) in [("endpoint", draft.endpoint), ("region", draft.region)] {
        if let Some(value) = value {
            store.push_str(&format!("  {key}: {}\n", scalar(value)));
        }
    }
    format!(
        "\
# What Muster protects, and how. Written by `muster init`: read it once, and change what is wrong.
# `muster config check` says whether it is sound; `muster config schema` helps an editor.

platform: {platform}

# What you promise. Think about it: how long may it take until everything works again (rto),
# and how much of the newest data may be lost (rpo)? These two are only a beginning.
objectives: {{rto: 4h, rpo: 1d}}

# Where backups are kept, encrypted. Who loses the key loses them all: keep a copy of it elsewhere (`muster key print`).
{advice}repository:
  location: {repository}
{store}  password: {password}
",
        platform = scalar(draft.platform),
        repository = path(draft.repository),
        store = store,
        password = scalar_of_reference(draft.key_file),
    )
}

fn components(text: &mut String, entries: &[Entry<'_>]) {
    text.push_str("\n# What has state.\n");
    if entries.is_empty() {
        text.push_str(
            "# Nothing was found that looks like data. Replace `{}` by blocks like these.\n\
             components: {}\n\
             #  database:\n\
             #    kind: sqlite\n\
             #    path: /srv/app/app.db\n\
             #  uploads:\n\
             #    kind: files\n\
             #    paths: [/srv/app/uploads]\n",
        );
        return;
    }
    text.push_str("components:\n");
    for entry in entries {
        text.push_str(&format!("  {}:\n", scalar(&entry.name)));
        match entry.what {
            What::Database(database) => {
                text.push_str(&format!("    kind: sqlite\n    path: {}\n", path(database)));
            }
            What::Folder(folder) => {
                text.push_str("    kind: files\n");
                if folder.is_split() {
                    text.push_str("    # Parts, because a database lies beside them: what is new beside them must be added here.\n");
                }
                let paths: Vec<_> = folder.paths.iter().map(|part| path(part)).collect();
                text.push_str(&format!("    paths: [{}]\n", paths.join(", ")));
            }
            What::Server(server) => text.push_str(&server_block(&entry.name, server)),
        }
        text.push_str(&format!("    backup: {BACKUP}\n    prove: {{every: 1w}}\n"));
    }
}

/// The name of the file that holds a server's password, beside `muster.yaml`.
pub fn password_file(component: &str) -> String {
    format!("{component}.password")
}

/// Names, files and URLs of the PostgreSQL components that the text will have.
pub fn postgres(found: &Found) -> Vec<(String, String)> {
    let servers = entries(found).into_iter().filter_map(|entry| match entry.what {
        What::Server(server) => Some((entry.name, server.url.clone())),
        _ => None,
    });
    servers.collect()
}

fn server_block(name: &str, server: &FoundPostgres) -> String {
    let mut text = format!(
        "    # {}. Its role and password are still to be made: `muster survey {} --sql` prints how.\n\
         \x20   kind: postgres\n    url: {}\n    password: {}\n",
        comment(&server.origin),
        comment(name),
        scalar(&server.url.replace("${", "$${")),
        scalar_of_reference(Path::new(&password_file(name))),
    );
    match &server.data_dir {
        Some(data_dir) => text.push_str(&format!("    data_dir: {}\n", path(data_dir))),
        None => text.push_str(
            "    # data_dir: /var/lib/postgresql/15/main   # if it is on this host: a restore puts it there\n",
        ),
    }
    text
}

fn not_supported(text: &mut String, found: &Found) {
    let mut lines: Vec<String> = Vec::new();
    for server in found.postgres.iter().filter(|server| !server.answers) {
        text.push_str(&format!(
            "\n# Not protected: PostgreSQL, {}, does not answer at this host. When it does, add under `components:`\n",
            comment(&server.origin)
        ));
        text.push_str(&format!("#  {}:\n", scalar(&server.name)));
        for line in server_block(&server.name, server).lines() {
            text.push_str(&format!("#{}\n", line.trim_end()));
        }
    }
    for service in found.compose.iter().flat_map(|file| &file.services) {
        if service.server == Some(REDIS) {
            let image = comment(service.image.as_deref().unwrap_or_default());
            let origin = format!("service `{}` (image {image})", comment(&service.name));
            redis_block(text, &origin, "127.0.0.1:PORT");
        } else if let Some(server) = service.server.filter(|server| *server != "PostgreSQL") {
            let image = comment(service.image.as_deref().unwrap_or_default());
            lines.push(format!("{server}: service `{}` (image {image})", comment(&service.name)));
        }
    }
    for server in found.servers.iter().filter(|server| server.name == REDIS) {
        redis_block(text, &format!("answers at {}", comment(&server.address)), &server.address);
    }
    for server in found.servers.iter().filter(|server| server.name != REDIS) {
        lines.push(format!("{}: answers at {}", server.name, comment(&server.address)));
    }
    if lines.is_empty() {
        return;
    }
    text.push_str("\n# Not protected: this version of Muster has no component for these servers.\n");
    text.push_str(
        "# Until it has, let their own tool write dumps into a folder, and back that up as `kind: files`.\n",
    );
    for line in lines {
        text.push_str(&format!("#   {line}\n"));
    }
}

/// Whether it is a cache that nobody misses, only a person knows: so it is offered and not taken.
fn redis_block(text: &mut String, origin: &str, address: &str) {
    text.push_str(&format!(
        "\n# Not protected: Redis, {origin}. Where its data matters, add under `components:`\n\
         #  redis:\n#    kind: redis\n#    url: redis://{address}/\n\
         #    password: ${{file:redis.password}}   # a file with nothing else in it; leave the line out where there is none\n\
         #    backup: {{every: 1h}}\n"
    ));
}

fn left_out(text: &mut String, found: &Found) {
    if found.warnings.is_empty() {
        return;
    }
    text.push_str("\n# Look at this, then remove the lines:\n");
    for warning in &found.warnings {
        text.push_str(&format!("#   {}\n", comment(warning)));
    }
}

fn services(text: &mut String, draft: &Draft<'_>, entries: &[Entry<'_>]) {
    let Some(file) = draft.found.compose.as_ref().filter(|file| !file.services.is_empty()) else {
        text.push_str(
            "\n# What runs. A service is stopped before a component that it uses is restored, and started afterwards.\n\
             # services:\n\
             #   api:\n\
             #     systemd: {unit: api.service}\n\
             #     uses: [database]\n",
        );
        return;
    };
    text.push_str("\n# What runs. A service is stopped before a component that it `uses` is restored, and started afterwards.\n");
    let before = if draft.found.has_docker {
        ""
    } else {
        text.push_str("# There is no `docker` here; where there is, take the `#` away.\n");
        "# "
    };
    text.push_str(&format!("{before}services:\n"));
    for service in &file.services {
        text.push_str(&service_block(file, service, draft.folder, entries, before));
    }
}

fn service_block(
    file: &ComposeFile,
    service: &ComposeService,
    folder: &Path,
    entries: &[Entry<'_>],
    before: &str,
) -> String {
    let place = |path: &Path| folder.join(path);
    let uses: Vec<String> = entries
        .iter()
        .filter(|entry| {
            let data: Vec<_> = entry.paths().into_iter().map(place).collect();
            let mut mounts = service.mounts.iter().map(|mount| place(mount));
            mounts.any(|mount| data.iter().any(|data| data.starts_with(&mount) || mount.starts_with(data)))
        })
        .map(|entry| scalar(&entry.name))
        .collect();
    let uses = if uses.is_empty() {
        format!("{before}    # uses: []   # the components that it writes to\n")
    } else {
        format!("{before}    uses: [{}]\n", uses.join(", "))
    };
    format!(
        "{before}  {}:\n{before}    compose: {{file: {}, service: {}}}\n{uses}",
        scalar(&service_name(&service.name)),
        path(&file.file),
        scalar(&service.name),
    )
}

fn service_name(name: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.chars().map(|c| if is_name(c) { c } else { '-' }).collect()
}

fn checks(text: &mut String, entries: &[Entry<'_>]) {
    text.push_str(
        "\n# What is observed. The checks say when the platform works again; `muster check` runs them.\n",
    );
    let databases: Vec<_> = entries
        .iter()
        .filter_map(
            |entry| if let What::Database(path) = entry.what { Some((&entry.name, path)) } else { None },
        )
        .collect();
    let before = if databases.is_empty() { "# " } else { "" };
    text.push_str(&format!("{before}checks:\n"));
    for (name, database) in databases {
        let name = scalar(&format!("{name}-is-sound"));
        text.push_str(&format!("  {name}: {{sqlite: {{path: {}}}}}\n", path(database)));
    }
    text.push_str("#  ready: {http: \"http://localhost:8080/health\", conditions: [\"[STATUS] == 200\"], tags: [quick]}\n");
}

fn path(path: &Path) -> String {
    // `${` begins a reference to a secret.
    scalar(&path.to_string_lossy().replace("${", "$${"))
}

fn scalar_of_reference(key_file: &Path) -> String {
    scalar(&format!("${{file:{}}}", key_file.display()))
}

/// Writes a text as a YAML value: as it is where nobody could take it for anything else, else in double quotes.
fn scalar(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let is_reference = text.strip_prefix("${file:").and_then(|rest| rest.strip_suffix('}'));
    let inner = is_reference.unwrap_or(text);
    let begins_well =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') || is_reference.is_some();
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if begins_well && !is_word && inner.chars().all(is_safe) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A text of others inside a comment: it must not end the line.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_a_name_may_have_and_never_twice() {
        assert_eq!(name_of("My App (2)"), "my-app-2");
        assert_eq!(name_of("größe"), "gr-e");
        assert_eq!(name_of("日本"), "");
        let found = Found {
            databases: ["data/app.db", "old/app.db", "日本.db"].map(PathBuf::from).to_vec(),
            folders: vec![FoundFolder { path: "app".into(), paths: vec!["app".into()] }],
            ..Found::default()
        };
        let names: Vec<_> = entries(&found).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["app", "app-2", "database", "app-3"]);
    }

    #[test]
    fn a_value_is_quoted_where_yaml_would_take_it_for_something_else() {
        for plain in ["app", "/srv/app.db", "data/app-1.db", "${file:muster.key}"] {
            assert_eq!(scalar(plain), plain);
        }
        for odd in
            ["", "true", "NO", "1.5", "-x", "a b", "a: b", "a#b", "x\"y\\z", "new\nline", "[a]", "grö", "a,b"]
        {
            let quoted = scalar(odd);
            assert!(quoted.starts_with('"'), "{quoted}");
            assert_eq!(serde_saphyr::from_str::<String>(&quoted).unwrap(), odd);
        }
        assert_eq!(path(Path::new("/srv/${x}/a")), "\"/srv/$${x}/a\"");
    }

    #[test]
    fn a_service_uses_the_components_that_lie_in_its_mounts() {
        let service = |name: &str, mounts: &[&str]| ComposeService {
            name: name.into(),
            image: None,
            server: None,
            ports: Vec::new(),
            mounts: mounts.iter().map(PathBuf::from).collect(),
        };
        let found = Found {
            databases: vec!["data/app.db".into()],
            folders: vec![FoundFolder { path: "uploads".into(), paths: vec!["uploads".into()] }],
            compose: Some(ComposeFile {
                file: "compose.yaml".into(),
                services: vec![service("api", &["data", "/srv/x/uploads/new"]), service("mail", &["logs"])],
            }),
            has_docker: true,
            ..Found::default()
        };
        let draft = Draft {
            platform: "x",
            repository: Path::new("muster-repository"),
            endpoint: None,
            region: None,
            key_file: Path::new("muster.key"),
            folder: Path::new("/srv/x"),
            found: &found,
        };
        let with = text(&draft);
        assert!(
            with.contains(
                "  api:\n    compose: {file: compose.yaml, service: api}\n    uses: [app, uploads]\n"
            ),
            "{with}"
        );
        assert!(
            with.contains("  mail:\n    compose: {file: compose.yaml, service: mail}\n    # uses: []"),
            "{with}"
        );
        let found = Found { has_docker: false, ..found.clone() };
        let without = text(&Draft { found: &found, ..draft });
        assert!(without.contains("\n# services:\n#   api:\n#     compose:"), "{without}");
        assert!(!without.contains("\nservices:"), "{without}");
    }
}
