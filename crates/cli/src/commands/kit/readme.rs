//! The first paper of a kit: what to do at 3 a.m., with the names of this platform in the commands.
//!
//! A manifest comes in; a text leaves. It holds no key.

use muster_engine::kit::Manifest;

use crate::render;

/// Returns the text.
pub(super) fn text(manifest: &Manifest, has_binary: bool) -> String {
    let folder = manifest.folder.display();
    let places: String = manifest
        .places
        .iter()
        .map(|place| {
            let name =
                place.copy.as_ref().map_or("the repository".to_owned(), |name| format!("copy `{name}`"));
            let endpoint = place.endpoint.iter().map(|endpoint| format!("  endpoint {endpoint}"));
            let region = place.region.iter().map(|region| format!("  region {region}"));
            format!("  {name:<20} {}{}\n", place.location, endpoint.chain(region).collect::<String>())
        })
        .collect();
    let is_remote = manifest.places.iter().any(|place| place.location.contains("://"));
    let credentials = if is_remote {
        "   Object storage asks who you are; the kit does not hold that:\n       export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...\n       export AZURE_STORAGE_ACCOUNT=... AZURE_STORAGE_KEY=...    (azblob://)\n"
    } else {
        ""
    };
    let binary = if has_binary {
        format!(
            "1. The program `muster` in this folder runs on {} (with the C library of the host that made it, or a newer\n   one). Bring it, and the kit's file, to the new host:\n       install -m 755 muster /usr/local/bin/muster\n",
            manifest.system
        )
    } else {
        format!(
            "1. Install muster {} or newer on the new host, and bring the kit's file there.\n",
            manifest.muster
        )
    };
    format!(
        "\
EMERGENCY KIT OF {platform} ({environment})
made {made} on {host} by muster {muster}

Whoever has opened this kit can read every backup. Remove this folder when you are done.

EVERYTHING IS GONE: A NEW HOST
{binary}2. Bring configuration, runbooks and history back, and see what would be done:
       muster recover --kit KIT.age --identity YOUR.key --into {folder}
   It takes the first of these places that still opens:
{places}{credentials}3. What it says at its end restores everything. Or at once:
       muster recover --kit KIT.age --identity YOUR.key --into {folder} --all --yes
4. Then follow the runbook for what happened: runbooks/, and cheat.txt for single commands.

NO MUSTER AT HAND
The repository has restic's format, and `repository.key` is its password:
       restic -r FOLDER --password-file repository.key snapshots

WHAT IS IN HERE
  README.txt        this
  repository.key    the key of the repository, id {key}
  config/           muster.yaml and what belongs to it; secrets of services are not in it
  runbooks/         .html for the printer, .md to read
  cheat.txt         the commands of this platform
  contacts.txt      whom to call
  muster            the program{none}
  kit.json          the list of all this, with its hashes
",
        platform = manifest.platform,
        environment = manifest.environment,
        made = render::time(manifest.made_at),
        host = manifest.host,
        muster = manifest.muster,
        key = manifest.key_id.get(..8).unwrap_or(&manifest.key_id),
        none = if has_binary { "" } else { " (left out of this kit)" },
    )
}
