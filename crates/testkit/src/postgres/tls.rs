//! A certificate authority for one test, and what it signs; made by `openssl`.
//!
//! In: a folder. Out: `ca.crt`, and `server.crt` with `server.key` for `localhost` and 127.0.0.1, valid for a day.
//!
//! No key is ever shared between two tests.

use std::{fs, path::Path, process::Command};

use super::{home, process};

/// As rustls wants it: an authority says that it is one, a server's certificate names the server.
const SERVER: &str = "basicConstraints=critical,CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n\
                      subjectAltName=DNS:localhost,IP:127.0.0.1\n";

/// Makes an authority `ca.crt` in `folder`; a second one makes a client refuse the first one's servers.
pub fn authority(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=muster-test-authority \
         -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign \
         -keyout ca.key -out ca.crt",
    );
}

/// Makes `server.crt` and `server.key`, signed by the authority in `folder`.
pub fn server(folder: &Path) {
    fs::write(folder.join("server.ext"), SERVER).expect("a file beside the certificate");
    openssl(
        folder,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
         -keyout server.key -out server.csr",
    );
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 2 -days 1 -extfile server.ext \
         -out server.crt",
    );
    home::give(&folder.join("server.crt"), 0o644);
    home::give(&folder.join("server.key"), 0o600);
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(folder);
    process::run_well(command);
}
