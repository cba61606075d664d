//! Tests of the interface against a real server: OpenSSH's.

use std::thread;

use muster_testkit::{Sshd, TinyDisk, wait_for};
use muster_types::{Explain, Kind};

use super::*;
use crate::{location::Location, lock::Lock, place::Root};

fn location(server: &Sshd, name: &str) -> SftpLocation {
    let Ok(Location::Sftp(mut location)) = server.location(name).parse() else { panic!() };
    location.ssh_config = Some(server.config());
    location.patience = Duration::from_secs(30);
    location
}

fn source(error: RepoError) -> StoreError {
    match error {
        RepoError::Store { source, .. } => source,
        other => panic!("{other}"),
    }
}

fn parts(text: &[u8]) -> Vec<Bytes> {
    text.chunks(100_000).map(Bytes::copy_from_slice).collect()
}

#[test]
fn files_are_written_read_listed_and_removed_and_locks_hold() {
    let server = Sshd::new();
    let sftp = Sftp::new(&location(&server, "a place/of ours"));
    assert_eq!(sftp.top().unwrap(), [""; 0]);
    assert_eq!(sftp.list("data").unwrap(), []);
    assert!(matches!(sftp.read("config"), Err(Fault::Missing)));
    sftp.create().unwrap();
    sftp.create().unwrap();
    for name in ["config", "data/ab/abcd", "data/cd/cdef", "muster/pins/x~y +ü", "muster/wal/c/1/p"] {
        sftp.write(name, &[Bytes::from("other")]).unwrap();
        sftp.write(name, &[Bytes::from(name.to_owned())]).unwrap();
        assert_eq!(sftp.read(name).unwrap(), name.as_bytes(), "{name}");
        assert_eq!(sftp.size(name).unwrap(), Some(name.len() as u64), "{name}");
    }
    sftp.write("empty", &[]).unwrap();
    assert_eq!(sftp.read("empty").unwrap(), b"");
    let mut top = sftp.top().unwrap();
    top.sort();
    assert_eq!(top, ["config", "data", "empty", "index", "keys", "muster", "snapshots"]);
    let mut packs: Vec<String> = sftp.list("data").unwrap().into_iter().map(|one| one.name).collect();
    packs.sort();
    assert_eq!(packs, ["data/ab/abcd", "data/cd/cdef"]);
    assert_eq!(sftp.list("muster/wal").unwrap().len(), 1);
    assert_eq!(sftp.size("dat").unwrap(), None);

    // More than what is under way at once, in pieces that do not fit the questions.
    let content: Vec<u8> = (0..5_000_003_u32).map(|number| (number % 251) as u8).collect();
    sftp.write("data/ab/large", &parts(&content)).unwrap();
    assert!(sftp.read("data/ab/large").unwrap() == content);
    let mut middle = vec![0; 3_000_000];
    sftp.read_range("data/ab/large", 1_234_567, &mut middle).unwrap();
    assert!(middle == content[1_234_567..4_234_567]);
    assert!(matches!(sftp.read_range("data/ab/large", 4_000_000, &mut middle), Err(Fault::Short)));
    assert_eq!(sftp.read_up_to("data/ab/abcd", 10, 100).unwrap(), b"cd");
    assert!(matches!(sftp.read_up_to("data/ab/abcd", 12, 100), Err(Fault::Short)));
    sftp.remove("data/ab/large").unwrap();
    assert!(matches!(sftp.remove("data/ab/large"), Err(Fault::Missing)));
    sftp.sync("data/ab").unwrap();

    // What a writer left that was killed is removed after a day, and not before.
    let folder = server.files().join("a place/of ours");
    let left = |days: u64| {
        let path = folder.join(format!("data/ab/.x{}{days}", crate::temporary::MARK));
        crate::durable::create(&path, b"x", 0o600).unwrap();
        let then = std::fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_hours(24 * days);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        path
    };
    let (young, old) = (left(0), left(2));
    drop(Lock::shared(&Root::open(&Location::Sftp(location(&server, "a place/of ours"))).unwrap()).unwrap());
    assert_eq!(sftp.remove_leftovers().unwrap(), 1);
    assert!(young.exists() && !old.exists());

    // Locks hold between hosts, and one that nobody renews is dead after half an hour.
    let open = || Root::open(&Location::Sftp(location(&server, "a place/of ours"))).unwrap();
    let (one, other) = (open(), open());
    let shared = Lock::shared(&one).unwrap();
    assert_eq!(Lock::exclusive(&other).err().unwrap().kind(), Kind::Locked);
    one.confirm_locks().unwrap();
    drop(shared);
    let only = Lock::exclusive(&one).unwrap();
    assert_eq!(Lock::shared(&other).err().unwrap().kind(), Kind::Locked);
    let listed = one.list(lock::FOLDER).unwrap().remove(0).name;
    let file = std::fs::File::options().write(true).open(folder.join(&listed)).unwrap();
    let then = file.metadata().unwrap().modified().unwrap() - Duration::from_mins(40);
    file.set_modified(then).unwrap();
    let error = one.confirm_locks().unwrap_err();
    assert!(error.to_string().contains("was stopped for too long"), "{error}");
    drop(Lock::shared(&other).unwrap());
    drop(only);
    assert_eq!(one.list(lock::FOLDER).unwrap(), []);
}

#[test]
fn a_connection_that_is_cut_in_the_middle_is_made_again_and_nothing_half_is_left() {
    let mut server = Sshd::new();
    let rate = std::num::NonZeroU64::new(8_000_000);
    let sftp = Sftp::new(&SftpLocation { upload_rate_max: rate, ..location(&server, "r") });
    let content: Vec<u8> = (0..12_000_000_u32).map(|number| (number % 241) as u8).collect();
    sftp.create().unwrap();
    let data = server.files().join("r/data/ab");
    // In the first second nothing has its name yet; each time something is cut that was begun.
    let mut cuts = 0;
    thread::scope(|scope| {
        let writing = scope.spawn(|| sftp.write("data/ab/pack", &parts(&content)));
        for _ in 0..2 {
            wait_for("an upload", Duration::from_mins(1), || {
                let mut names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap());
                names.any(|entry| entry.metadata().is_ok_and(|found| found.len() > 1_000_000)).then_some(())
            });
            assert!(!data.join("pack").exists(), "it has its name before it is whole");
            cuts += usize::from(server.cut() > 0);
            // The next one is seen by its own file.
            for entry in std::fs::read_dir(&data).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).ok();
            }
        }
        writing.join().unwrap().unwrap();
    });
    assert_eq!(cuts, 2);
    assert!(sftp.read("data/ab/pack").unwrap() == content);
    // One whose host stays away is named when patience ends.
    server.stop();
    let hasty = Sftp::new(&SftpLocation { patience: Duration::from_secs(1), ..location(&server, "r") });
    let error = hasty.top().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let StoreError::Unreachable { last, tries, .. } = source(error) else { panic!() };
    assert!(last.contains("Connection refused") && tries > 1, "{tries}: {last}");
}

#[test]
fn who_is_not_let_in_and_what_may_not_be_done_is_named_with_what_to_do() {
    let mut server = Sshd::new();
    let top = |server: &Sshd| Sftp::new(&location(server, "r")).top();
    assert_eq!(top(&server).unwrap(), [""; 0]);
    server.change_host_key();
    let error = top(&server).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.hint().unwrap().0.contains("send nothing there"));
    assert_eq!(source(error), StoreError::HostKeyChanged);
    server.write_config("user", "nobody-known");
    let error = top(&server).unwrap_err();
    assert!(error.hint().unwrap().0.contains("fingerprint"));
    assert_eq!(source(error), StoreError::HostKeyUnknown);
    server.trust_host_key();
    server.make_key("stranger");
    server.write_config("stranger", "known_hosts");
    let StoreError::LoginRefused(said) = source(top(&server).unwrap_err()) else { panic!() };
    assert!(said.contains("Permission denied (publickey)"), "{said}");
    std::fs::rename(server.config(), server.files().join("kept")).unwrap();
    assert!(matches!(source(top(&server).unwrap_err()), StoreError::Ssh(said) if said.contains("config")));
    server.trust_host_key();

    // Who may only read reads without a lock; a write is refused as what it is.
    let sftp = Sftp::new(&location(&server, "r"));
    sftp.create().unwrap();
    sftp.write("config", &[Bytes::from("x")]).unwrap();
    server.restart_read_only();
    let reader = Sftp::new(&location(&server, "r"));
    assert_eq!(reader.read("config").unwrap(), b"x");
    let error = reader.write("config", &[Bytes::from("y")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(matches!(source(error), StoreError::NotPermitted(_)));
    let root = Root::open(&Location::Sftp(location(&server, "r"))).unwrap();
    assert!(!Lock::shared(&root).unwrap().is_held());
    assert!(Lock::exclusive(&root).is_err());
}

#[test]
fn a_full_disk_there_is_named_and_nothing_half_is_left() {
    let server = Sshd::new();
    let disk = TinyDisk::new(4 << 20);
    let Ok(Location::Sftp(mut full)) =
        format!("sftp://root@127.0.0.1:{}{}/r", server.port(), disk.path().display()).parse()
    else {
        panic!()
    };
    full.ssh_config = Some(server.config());
    let sftp = Sftp::new(&full);
    sftp.create().unwrap();
    let error = sftp.write("data/ab/pack", &[Bytes::from(vec![7; 8 << 20])]).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.hint().unwrap().0.contains("free space"));
    assert!(matches!(source(error), StoreError::Full(_)));
    assert_eq!(sftp.list("data").unwrap(), []);
}
