//! Where the servers lie that no Debian package brings: wheels, and Azurite of npm, unpacked by `cargo xtask servers`.
//!
//! In: the name of a wheel. Out: the folder into which it was unpacked.
//!
//! Nothing is downloaded, unpacked or started here: a server that is missing fails the test that needs it.

use std::{env, path::PathBuf};

/// Names another folder of servers than [`FOLDER`].
const VARIABLE: &str = "MUSTER_SERVERS";
/// Outside of any home folder: servers run as other users than the tests, and must reach their programs.
const FOLDER: &str = "/opt/muster-servers";

/// Returns the folder into which the wheel `name` was unpacked.
///
/// # Panics
/// When it is not there.
pub fn wheel(name: &str) -> PathBuf {
    let folder = env::var_os(VARIABLE).map_or_else(|| PathBuf::from(FOLDER), PathBuf::from).join(name);
    assert!(
        folder.is_dir(),
        "this test needs the server `{name}`, and {} does not exist: run `cargo xtask servers`",
        folder.display()
    );
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "run `cargo xtask servers`")]
    fn a_missing_server_tells_how_to_get_it() {
        wheel("no-such-server");
    }
}
