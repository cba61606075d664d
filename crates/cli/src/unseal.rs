//! Shares of an unseal key, as people give them for one run: from a file, from standard input, or typed.
//!
//! In: options, and a terminal where there is one. Out: the shares inside the loaded configuration, for drivers of kind
//! `vault`. They are never in an argument, never written, and not shown while they are typed.

use std::{
    fs::File,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use muster_types::{Kind, Secret, config::Component};

use crate::{args::UnsealArgs, config::Loaded, confirm::is_readable, exit::Failure, signals};

/// Shares are short, and nobody has more than 255 of them.
const BYTES_MAX: u64 = 64 * 1024;

/// Whether people may be asked on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// They may.
    Allowed,
    /// The run only looks, or nobody sits there.
    Never,
}

/// Puts what people give into the configuration of each `vault` among `names`; no names mean all components.
///
/// # Errors
/// `Input`: a file without shares or token, or none of the components is a `vault`. `Unavailable`: it cannot be read.
pub(crate) fn give(
    loaded: &mut Loaded,
    names: &[String],
    args: &UnsealArgs,
    server_token: Option<&Path>,
    asking: Asking,
) -> Result<(), Failure> {
    let mut vaults: Vec<_> = loaded
        .platform
        .components
        .iter_mut()
        .filter(|(name, _)| names.is_empty() || names.contains(name))
        .filter_map(|(name, component)| match component {
            Component::Vault(vault) => Some((name.clone(), vault)),
            _ => None,
        })
        .collect();
    if vaults.is_empty() {
        if args.unseal_keys_file.is_none() && server_token.is_none() {
            return Ok(());
        }
        return Err(Failure::new(
            Kind::Input,
            "keys or a token of a Vault are given, and none of the components is of kind `vault`",
            "leave `--unseal-keys-file` and `--server-token-file` out",
        ));
    }
    let token = server_token.map(|path| read(path).and_then(|text| first(path, &text))).transpose()?;
    let given = match &args.unseal_keys_file {
        Some(path) => Some(shares(path, &read(path)?)?),
        None => None,
    };
    for (name, vault) in &mut vaults {
        vault.setup_token.clone_from(&token);
        vault.unseal_keys = match &given {
            Some(shares) => shares.clone(),
            None if asking == Asking::Allowed && io::stdin().is_terminal() && io::stderr().is_terminal() => {
                ask(name)?
            }
            None => Vec::new(),
        };
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
    };
    match result {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(
            Kind::Unavailable,
            format!("cannot read {}: {error}", path.display()),
            "name a file that Muster may read, or `-` for standard input",
        )),
    }
}

/// One share in a line; `Unseal Key 1: …`, as the server prints it, is fine too.
fn shares(path: &Path, text: &str) -> Result<Vec<Secret>, Failure> {
    let found: Vec<Secret> =
        text.lines().filter_map(|line| line.split_whitespace().last()).map(Secret::new).collect();
    if found.is_empty() {
        return Err(Failure::new(
            Kind::Input,
            format!("there is no share of an unseal key in {}", path.display()),
            "write the shares that people hold, one in a line",
        ));
    }
    Ok(found)
}

fn first(path: &Path, text: &str) -> Result<Secret, Failure> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(Secret::new).ok_or_else(|| {
        Failure::new(
            Kind::Input,
            format!("there is no token in {}", path.display()),
            "write the token into it",
        )
    })
}

/// Asks for one share after the other; an empty line ends it.
fn ask(name: &str) -> Result<Vec<Secret>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot ask for the unseal key: {error}"),
            "give the shares with `--unseal-keys-file FILE`",
        )
    };
    let _silent = Silence::begin().map_err(failed)?;
    let mut stderr = io::stderr().lock();
    writeln!(
        stderr,
        "shares of the unseal key of `{name}`, one in a line; they are not shown and not stored"
    )
    .map_err(failed)?;
    let mut shares = Vec::new();
    loop {
        write!(stderr, "share {} (an empty line: no more): ", shares.len() + 1).map_err(failed)?;
        stderr.flush().map_err(failed)?;
        // A signal does not end a read, so wait for input and look at it in between.
        while !is_readable().map_err(failed)? {
            if signals::is_cancelled() {
                return Err(Failure::new(Kind::Interrupted, "stopped", "nothing was changed"));
            }
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        writeln!(stderr).map_err(failed)?;
        match line.split_whitespace().last() {
            Some(share) => shares.push(Secret::new(share)),
            None => return Ok(shares),
        }
    }
}

/// The terminal does not show what is typed while it lives.
struct Silence;

impl Silence {
    fn begin() -> io::Result<Self> {
        stty("-echo").map(|()| Self)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that stays silent is mended with `stty sane`; there is nobody to tell here.
        stty("echo").unwrap_or_default();
    }
}

fn stty(word: &str) -> io::Result<()> {
    let status = Command::new("stty").arg(word).stdin(Stdio::inherit()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the terminal would show what is typed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_have_them() {
        let text = "Unseal Key 1: abc\n\n  def  \nUnseal Key 3: ghi\n";
        let found = shares(Path::new("keys"), text).unwrap();
        assert_eq!(found.iter().map(Secret::expose).collect::<Vec<_>>(), ["abc", "def", "ghi"]);
        assert!(shares(Path::new("keys"), "\n  \n").is_err());
    }
}
