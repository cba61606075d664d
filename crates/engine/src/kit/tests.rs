//! A kit comes back whole for whom it was made, and for nobody else; a byte or an end that is missing is always found.

use std::{fs, os::unix::fs::PermissionsExt};

use age::secrecy::ExposeSecret;

use super::*;

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        platform: "shop".into(),
        environment: "default".into(),
        made_at: "2026-05-01T10:00:00Z".parse().unwrap(),
        host: "here".into(),
        muster: "0".into(),
        system: "linux x86_64".into(),
        folder: "/srv/shop".into(),
        places: vec![Place {
            copy: None,
            location: "/var/backups/shop".into(),
            endpoint: None,
            region: None,
            path_style: None,
        }],
        key_id: "abcd".into(),
        people: vec!["dana".into()],
        files: Vec::new(),
    }
}

fn items(binary: &Path) -> Vec<Item> {
    let item = |path: &str, mode, text: &str| Item {
        path: path.into(),
        mode,
        content: Content::Bytes(text.as_bytes().to_vec()),
    };
    vec![
        item("README.txt", 0o600, "read me"),
        item(KEY, 0o600, "MUSTER-KEY\n"),
        item("config/deep/muster.yaml", 0o600, "platform: shop\n"),
        Item { path: BINARY.into(), mode: 0o755, content: Content::File(binary.to_owned()) },
    ]
}

/// A person: a public key, and what opens with the private one.
fn person() -> (x25519::Recipient, Unlock) {
    let identity = x25519::Identity::generate();
    let text = format!("# created today\n{}\n", identity.to_string().expose_secret());
    (identity.to_public(), Unlock::identities(&Secret::new(text)).unwrap())
}

struct Made {
    folder: tempfile::TempDir,
    file: PathBuf,
    dana: Unlock,
}

fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let (file, binary) = (folder.path().join("kit.age"), folder.path().join("binary"));
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    durable_write(&binary, &bytes);
    let (key, dana) = person();
    let sealed = seal(&file, manifest(), &items(&binary), &Lock::People(vec![key])).unwrap();
    assert_eq!(sealed.files.len(), 4);
    Made { folder, file, dana }
}

fn durable_write(path: &Path, bytes: &[u8]) {
    muster_repo::durable::write(path, bytes, 0o600).unwrap();
}

#[test]
fn a_kit_comes_back_as_it_was_for_whom_it_was_made() {
    let made = made();
    assert_eq!(fs::metadata(&made.file).unwrap().permissions().mode() & 0o777, 0o600);
    let sealed = fs::read(&made.file).unwrap();
    assert!(!sealed.windows(10).any(|bytes| bytes == b"MUSTER-KEY"), "nothing stands there in clear");
    let kit = read(&made.file, &made.dana).unwrap();
    assert_eq!(kit.key().unwrap().expose(), "MUSTER-KEY");
    assert_eq!(kit.files[Path::new("config/deep/muster.yaml")], b"platform: shop\n");
    assert_eq!(kit.manifest.files[3].size_bytes, 1_200_000);
    let into = made.folder.path().join("new/opened");
    unpack(&made.file, &made.dana, &into).unwrap();
    let same =
        |name: &str, was: &Path| assert_eq!(fs::read(into.join(name)).unwrap(), fs::read(was).unwrap());
    same("muster", &made.folder.path().join("binary"));
    for (name, mode) in [("", 0o700), ("muster", 0o755), ("repository.key", 0o600)] {
        assert_eq!(fs::metadata(into.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    // A folder with something in it stays as it is.
    assert!(matches!(unpack(&made.file, &made.dana, &into), Err(KitError::Exists { .. })));
    let above: Vec<_> = fs::read_dir(into.parent().unwrap()).unwrap().collect();
    assert_eq!(above.len(), 1, "nothing half is left beside");
}

#[test]
fn nobody_else_opens_it_and_nothing_but_an_old_kit_is_replaced() {
    let made = made();
    let (stranger_key, stranger) = person();
    assert!(matches!(read(&made.file, &stranger), Err(KitError::WrongKey { with: "identity", .. })));
    let passphrase = Secret::new("correct horse battery");
    assert!(matches!(
        read(&made.file, &Unlock::passphrase(&passphrase)),
        Err(KitError::OtherLock { by: "keys of people", .. })
    ));
    let binary = made.folder.path().join("binary");
    let lock = Lock::People(vec![stranger_key]);
    assert!(matches!(seal(&binary, manifest(), &[], &lock), Err(KitError::Exists { .. })));
    assert_eq!(fs::metadata(&binary).unwrap().len(), 1_200_000);
    assert!(matches!(read(&binary, &stranger), Err(KitError::NotAKit { .. })));
    // An old kit is replaced as a whole, or not at all.
    let gone = made.folder.path().join("gone");
    assert!(matches!(seal(&made.file, manifest(), &items(&gone), &lock), Err(KitError::Io { .. })));
    assert!(read(&made.file, &made.dana).is_ok());
    seal(&made.file, manifest(), &items(&binary), &Lock::passphrase(&passphrase).unwrap()).unwrap();
    assert!(matches!(read(&made.file, &made.dana), Err(KitError::OtherLock { by: "a passphrase", .. })));
    assert!(read(&made.file, &Unlock::passphrase(&passphrase)).is_ok());
    let wrong = Unlock::passphrase(&Secret::new("another passphrase"));
    assert!(matches!(read(&made.file, &wrong), Err(KitError::WrongKey { with: "passphrase", .. })));
    assert_eq!(fs::read_dir(made.folder.path()).unwrap().count(), 2, "nothing is left beside");
}

#[test]
fn an_altered_byte_and_a_missing_end_are_found_wherever_they_are_and_nothing_is_written() {
    let made = made();
    let whole = fs::read(&made.file).unwrap();
    let into = made.folder.path().join("opened");
    let damaged = |bytes: &[u8], what: &str| {
        durable_write(&made.file, bytes);
        let error = unpack(&made.file, &made.dana, &into).unwrap_err();
        // In the beginning it is not known any more what it was, or for whom.
        let is_named = match &error {
            KitError::Damaged { .. } => true,
            KitError::WrongKey { .. } | KitError::NotAKit { .. } => what.starts_with("head"),
            _ => false,
        };
        assert!(is_named, "{what}: {error:?}");
        assert!(!into.exists(), "{what}");
    };
    let head = 200;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        damaged(&bytes, &format!("{} byte {at}", if at < head { "head" } else { "body" }));
        damaged(&whole[..at], &format!("{} end {at}", if at < head { "head" } else { "body" }));
    }
    let mut longer = whole.clone();
    longer.push(0);
    damaged(&longer, "a byte too many");
    assert_eq!(fs::read_dir(made.folder.path()).unwrap().count(), 2, "nothing half is left");
    durable_write(&made.file, &whole);
    assert!(read(&made.file, &made.dana).is_ok());
}

#[test]
fn a_wrong_key_file_is_told_without_a_word_of_it() {
    let secret = "AGE-SECRET-KEY-1NOTAKEY";
    for text in [secret, "", "# only a note\n", "age-encryption.org/v1\nx"] {
        let Err(error) = Unlock::identities(&Secret::new(text)) else { panic!("{text} opens something") };
        assert!(
            matches!(error, KitError::BadIdentity { .. }) && !error.to_string().contains("NOTAKEY"),
            "{error}"
        );
    }
    for (key, is_private, is_ssh) in
        [(secret, true, false), ("ssh-ed25519 AAAA dana@host", false, true), ("age1x", false, false)]
    {
        let Err(error) = Lock::people([("dana", key)]) else { panic!("{key} locks something") };
        let fits = matches!(&error, KitError::BadRecipient { name, is_private: private, is_ssh: ssh }
            if name == "dana" && *private == is_private && *ssh == is_ssh);
        assert!(fits && !error.to_string().contains("NOTAKEY"), "{error:?}");
    }
    assert!(matches!(Lock::people([]), Err(KitError::NoPeople)));
    assert!(matches!(Lock::passphrase(&Secret::new("short")), Err(KitError::ShortPassphrase { .. })));
}
