//! `muster restore --start-anew`: who gets the keys of a Vault that begins anew.
//!
//! In: names and files with public keys, as people give them. Out: a plan. It never reads a private key: a file that
//! holds one is refused.

use std::{collections::BTreeSet, fs, path::Path};

use muster_engine::{survey, world::World};
use muster_plan::restore::plan_anew;
use muster_types::{
    Kind,
    anew::{Anew, KeyHolder},
    backup::RunId,
    plan::{Mode, Plan},
};

use crate::{
    app::Request,
    args::{AnewArgs, RestoreArgs},
    exit::Failure,
};

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// A public key is small, also one with many signatures.
const BYTES_MAX: u64 = 1 << 20;

/// Surveys and plans it.
pub(super) fn make_plan(
    world: &World,
    args: &RestoreArgs,
    names: &[String],
) -> Result<(RunId, Plan), Failure> {
    if names.len() != 1 || args.all || args.into.is_some() || args.undo || !args.table.is_empty() {
        return Err(Failure::new(
            Kind::Input,
            "`--start-anew` takes one component, and nothing is restored to it",
            "give `muster restore VAULT --start-anew --holder NAME=FILE --keys-into DIR` alone",
        ));
    }
    let anew = read(&args.anew)?;
    let facts = survey::survey(world, names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, if args.drill { Mode::Drill } else { Mode::Live });
    let plan = plan_anew(scope, &facts, anew)?;
    Ok((request.run, plan))
}

fn read(args: &AnewArgs) -> Result<Anew, Failure> {
    let holders: Vec<KeyHolder> = args.holder.iter().map(|text| holder(text)).collect::<Result<_, _>>()?;
    let names: BTreeSet<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
    let count = holders.len() as u64;
    let needed = args.needed.unwrap_or(count / 2 + 1);
    // One of several would make every holder the master of all.
    let least = if count > 1 { 2 } else { 1 };
    if names.len() != holders.len() || needed < least || needed > count {
        return Err(Failure::new(
            Kind::Input,
            format!("{needed} of {count} shares for {} people cannot be", names.len()),
            "name each holder once; `--needed` is from 2 to their number",
        ));
    }
    let into = args.keys_into.clone().unwrap_or_default();
    let into = std::path::absolute(&into).map_err(|error| {
        Failure::new(Kind::Input, format!("`--keys-into`: {error}"), "name a folder for the encrypted shares")
    })?;
    Ok(Anew { holders, needed, into })
}

/// Reads `NAME=FILE`.
fn holder(text: &str) -> Result<KeyHolder, Failure> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['.', '-'])
            && name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
    };
    let Some((name, file)) = text.split_once('=').filter(|(name, _)| is_name(name)) else {
        return Err(Failure::new(
            Kind::Input,
            format!("`--holder {text}` does not say who and with which key"),
            "write it like `--holder ada=ada.asc`; the name becomes the name of a file",
        ));
    };
    let path = Path::new(file);
    let fail = |error: std::io::Error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot read {}: {error}", path.display()),
            "name the file with the person's public key: `gpg --armor --export ada@example.org > ada.asc`",
        )
    };
    let is_small = fs::metadata(path).map_err(fail)?.len() <= BYTES_MAX;
    let content = if is_small { fs::read_to_string(path).map_err(fail)? } else { String::new() };
    let public_key = body(&content).ok_or_else(|| {
        Failure::new(
            Kind::Input,
            format!("{} holds no OpenPGP public key in text form", path.display()),
            "export it: `gpg --armor --export ada@example.org > ada.asc`; never give a private key",
        )
    })?;
    Ok(KeyHolder { name: name.to_owned(), public_key })
}

/// Returns the base64 of the armour; the line with its checksum is left out.
fn body(content: &str) -> Option<String> {
    if content.contains("PRIVATE KEY") {
        return None;
    }
    let mut lines = content.lines().map(str::trim).skip_while(|line| *line != BEGIN).skip(1);
    // Headers end with an empty line.
    lines.by_ref().find(|line| line.is_empty())?;
    let body: String =
        lines.take_while(|line| !line.starts_with('=') && !line.starts_with("-----")).collect();
    (!body.is_empty()).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armour_is_read_without_its_headers_and_checksum_and_a_private_key_is_refused() {
        let text =
            format!("before\n{BEGIN}\nComment: x\n\nabcd\nefgh\n=wxyz\n-----END PGP PUBLIC KEY BLOCK-----\n");
        assert_eq!(body(&text).as_deref(), Some("abcdefgh"));
        assert_eq!(body(&text.replace("PUBLIC", "PRIVATE")), None);
        assert_eq!(body("nothing"), None);
    }
}
