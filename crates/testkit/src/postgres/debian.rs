//! Servers as Debian lays them out: the configuration is not in the data directory.
//!
//! In: a cluster, or a folder for one. Out: the folder of its configuration, and the command line that names it.
//!
//! What is made under `/etc/postgresql` has a name that only one folder of a server can have, and `home.rs` drops it.
//! Debian's services never start such a cluster: its `start.conf` says `manual`, and the handle starts the server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{home, home::Home, process};

const FILES: [&str; 3] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];

/// Moves the configuration of `data` to `folder`, which is made, and returns `folder`.
pub(crate) fn separate(data: &Path, folder: &Path) -> PathBuf {
    home::make(folder);
    home::make(&folder.join("conf.d"));
    for file in FILES {
        fs::rename(data.join(file), folder.join(file)).expect("a file of initdb's");
    }
    let conf = folder.join("postgresql.conf");
    let mut text = fs::read_to_string(&conf).expect("a configuration");
    text.push_str(&format!("data_directory = '{}'\n", data.display()));
    text.push_str(&format!("hba_file = '{}'\n", folder.join("pg_hba.conf").display()));
    text.push_str(&format!("ident_file = '{}'\n", folder.join("pg_ident.conf").display()));
    text.push_str("include_dir = 'conf.d'\n");
    fs::write(&conf, text).expect("a configuration");
    folder.to_owned()
}

/// Makes a cluster with Debian's own program and returns the folder of its configuration.
pub(crate) fn create(home: &Home, port: u16, initdb: &[String]) -> PathBuf {
    let name = home.cluster();
    let mut command = Command::new("pg_createcluster");
    command.args(["--user=postgres", "--start-conf=manual", "--port", &port.to_string()]);
    command
        .arg("--datadir")
        .arg(home.data())
        .arg("--socketdir")
        .arg(home.sockets())
        .arg("--logfile")
        .arg(home.log());
    command.args(["15", &name, "--"]).args(initdb).current_dir("/");
    process::run_well(command);
    config(&name)
}

/// Returns the command line that Debian gives to such a server beside the data directory.
pub(crate) fn arguments(config: &Path) -> [String; 2] {
    ["-c".to_owned(), format!("config_file={}", config.join("postgresql.conf").display())]
}

/// Returns the name of the cluster that may belong to a server's folder: without dashes, which Debian advises against.
pub(crate) fn cluster(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.replace('-', "")
}

/// Returns the folder of a Debian cluster's configuration.
pub(crate) fn config(cluster: &str) -> PathBuf {
    Path::new("/etc/postgresql/15").join(cluster)
}
