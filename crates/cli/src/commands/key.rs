//! `muster key`: the key on paper, a key for a second person, and who has one.
//!
//! `print` and `add` open the repository first, so that no paper and no file holds a key that opens nothing. Only
//! `print` shows a key, because that is its purpose.

use std::path::Path;

use muster_repo::{KeyInfo, Location, Provider, keys};
use muster_types::{Clock, Kind, Timestamp};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, KeyCommand},
    clock::SystemClock,
    config::Loaded,
    exit::Failure,
    init::make,
    render,
};

/// Digits of an id that people see and use.
const ID_DIGITS: usize = 8;

pub(super) fn run(global: &Global, command: &KeyCommand) -> Result<Answer, Failure> {
    match command {
        KeyCommand::Print => print(&app::load(global, Intent::Read)?),
        KeyCommand::Add { file } => add(&app::load(global, Intent::Change)?, file),
        KeyCommand::List => list(&app::load(global, Intent::Read)?),
        KeyCommand::Remove { id } => remove(&app::load(global, Intent::Change)?, id),
    }
}

fn print(loaded: &Loaded) -> Result<Answer, Failure> {
    let repo = app::open_repo(loaded)?;
    let id = repo.keys()?.into_iter().find(|key| key.is_current).map(|key| key.id).unwrap_or_default();
    let key = app::key(loaded)?;
    let location = app::location(loaded)?;
    let now = SystemClock.now();
    let paper = Paper { loaded, id: short(&id), key: key.expose(), location: &location, now };
    let document = json!({
        "platform": loaded.platform.platform,
        "environment": loaded.environment,
        "location": location.to_string(),
        "id": id,
        "at": now,
        "key": key.expose(),
    });
    Ok(Answer::new(paper.text(), document))
}

struct Paper<'a> {
    loaded: &'a Loaded,
    id: &'a str,
    key: &'a str,
    location: &'a Location,
    now: Timestamp,
}

impl Paper<'_> {
    fn text(&self) -> String {
        let Self { loaded, id, key, location, now } = self;
        let form = if key.starts_with("MUSTER-") {
            "in capitals and with its dashes. The last character\n   of each group checks the group, so Muster tells a slip with its place"
        } else {
            "exactly as it stands here"
        };
        let environment = match loaded.environment.as_str() {
            "default" => String::new(),
            name => format!(" ({name})"),
        };
        format!(
            "\
KEY OF A BACKUP REPOSITORY
Whoever has this key and the repository can read every backup. Without it nobody can.
Keep it where a fire, a thief and the loss of the host do not reach it.

platform     {platform}{environment}
repository   {location}
key id       {id}
printed      {date}

    {key}

TO RECOVER ON A NEW HOST
1. Install muster. It needs the repository, or a copy of it, and this key.
2. muster recover --repository {asked} --into {folder_of_config}
   asks for the key, brings `muster.yaml`, runbooks and history back, and says how to go on.

BY HAND, WITH `muster.yaml`
1. Bring the repository and `muster.yaml` to the host.
2. Write the key into a file of mode 0600, as one line, {form}.
   Name both in `muster.yaml`:
       repository: {{location: {place}, password: \"${{file:FILE}}\"}}
3. muster list                  shows what is there
   muster restore --all -n      shows what would be done; without `-n` it is done

WITHOUT MUSTER
The repository has restic's format, and the key is its password:
       restic -r {folder} snapshots
       restic -r {folder} restore SNAPSHOT --target NEW_FOLDER
",
            platform = loaded.platform.platform,
            date = now.strftime("%Y-%m-%d"),
            asked = asked(location),
            folder_of_config = quoted(&loaded.folder.display().to_string()),
            place = place(location),
            folder = quoted(&for_restic(location)),
        )
    }
}

/// What the configuration needs to find the repository; a folder may lie elsewhere on a new host.
fn place(location: &Location) -> String {
    match location {
        Location::Local(_) => "FOLDER".to_owned(),
        Location::Sftp(_) => format!("\"{location}\""),
        Location::S3(s3) => {
            let endpoint = s3.endpoint.iter().map(|endpoint| format!(", endpoint: \"{endpoint}\""));
            let region = Some(&s3.region).filter(|region| !region.is_empty());
            let region = region.map(|region| format!(", region: {region}")).unwrap_or_default();
            format!("\"{location}\"{region}{}", endpoint.collect::<String>())
        }
    }
}

/// What `muster recover` is told; a folder may lie elsewhere on a new host.
fn asked(location: &Location) -> String {
    match location {
        Location::Local(_) => "FOLDER".to_owned(),
        Location::Sftp(_) => quoted(&location.to_string()),
        Location::S3(s3) => {
            let endpoint = s3.endpoint.iter().map(|endpoint| format!(" --endpoint {endpoint}"));
            let region = Some(&s3.region).filter(|region| !region.is_empty());
            let region = region.map(|region| format!(" --region {region}")).unwrap_or_default();
            format!("{}{region}{}", quoted(&location.to_string()), endpoint.collect::<String>())
        }
    }
}

/// How restic writes the location.
fn for_restic(location: &Location) -> String {
    match location {
        Location::Local(folder) => folder.display().to_string(),
        // With two slashes restic counts from the root, with one from the user's home folder.
        Location::Sftp(sftp) => format!("sftp://{}/{}", sftp.authority(), sftp.path),
        // The account and its key it has from AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY.
        Location::S3(s3) if s3.provider == Provider::Azure => format!("azure:{}:/{}", s3.bucket, s3.prefix),
        Location::S3(s3) => {
            let aws = format!("https://s3.{}.amazonaws.com", s3.region);
            let endpoint = s3.endpoint.as_deref().unwrap_or(&aws).trim_end_matches('/');
            let end = format!("{}/{}", s3.bucket, s3.prefix);
            format!("s3:{endpoint}/{}", end.trim_end_matches('/'))
        }
    }
}

/// Quotes a text for a shell where that is needed.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.')) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn add(loaded: &Loaded, file: &Path) -> Result<Answer, Failure> {
    let repo = app::open_repo(loaded)?;
    let key = keys::generate()?;
    // The file first: a key that the repository knows and nobody has is of no use, and cannot be told from one that is.
    make::write_key(file, &key)?;
    let id = repo.add_key(&key).inspect_err(|_| {
        // The error of the repository matters; this key opens nothing.
        drop(std::fs::remove_file(file));
    })?;
    let text = format!(
        "the new key {} is in {}\nhand the file over on a safe way; `muster key remove {}` takes the key back\n",
        short(&id),
        file.display(),
        short(&id)
    );
    Ok(Answer::new(text, json!({"id": id, "file": file})))
}

fn list(loaded: &Loaded) -> Result<Answer, Failure> {
    let keys = app::open_repo(loaded)?.keys()?;
    let rows: Vec<_> = keys.iter().map(row).collect();
    Ok(Answer::new(render::table(&["key", "added", "on host", ""], &rows), json!({"keys": keys})))
}

fn row(key: &KeyInfo) -> Vec<String> {
    vec![
        short(&key.id).to_owned(),
        key.created.map_or_else(|| "not known".into(), render::time),
        key.hostname.clone().unwrap_or_default(),
        if key.is_current { "in use here".into() } else { String::new() },
    ]
}

fn remove(loaded: &Loaded, id: &str) -> Result<Answer, Failure> {
    let repo = app::open_repo(loaded)?;
    let removed = repo.remove_key(id).map_err(|error| {
        let mut failure = Failure::from(error);
        if failure.note.hint.is_none() {
            failure.note.hint = Some(match failure.note.kind {
                Kind::NotFound => "show the keys with `muster key list`".into(),
                _ => "show the keys with `muster key list`; to remove the one in use, use another one first"
                    .into(),
            });
        }
        failure
    })?;
    let text = format!(
        "the key {} opens the repository no more\nwho has copied the repository before can still open that copy with it\n",
        short(&removed)
    );
    Ok(Answer::new(text, json!({"id": removed})))
}

fn short(id: &str) -> &str {
    id.get(..ID_DIGITS).unwrap_or(id)
}
