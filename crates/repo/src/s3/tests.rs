//! Tests of the interface against a real server.

use std::{collections::BTreeSet, thread, time::Instant};

use bytes::Bytes;
use muster_testkit::{
    Proxy, Seaweed,
    seaweed::{ACCESS_KEY, BUCKET, READER_KEY, SECRET_KEY},
};
use muster_types::{
    Explain, Kind, Secret,
    bucket::BucketVerdict,
    config::{Bucket, BucketEncryption},
};

use super::*;
use crate::{
    bucket,
    location::Location,
    lock::Lock,
    place::{Place, Root},
};

pub(crate) fn location(endpoint: &str) -> S3Location {
    S3Location {
        provider: crate::location::Provider::S3,
        bucket: BUCKET.into(),
        prefix: "a prefix/of ours".into(),
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        path_style: true,
        credentials: Some(Credentials {
            access_key: ACCESS_KEY.into(),
            secret_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        patience: Duration::from_secs(30),
        stop: crate::Stop::default(),
        upload_rate_max: None,
        storage_class: None,
    }
}

fn source(error: RepoError) -> StoreError {
    match error {
        RepoError::Store { source, .. } => source,
        other => panic!("{other}"),
    }
}

fn parts(text: &str) -> Vec<Bytes> {
    text.as_bytes().chunks(3).map(Bytes::copy_from_slice).collect()
}

#[test]
fn objects_are_written_read_listed_and_removed() {
    let server = Seaweed::new();
    let s3 = S3::new(&location(&server.endpoint())).unwrap();
    assert_eq!(s3.top().unwrap(), [""; 0]);
    assert_eq!(s3.list("data").unwrap(), []);
    for name in ["config", "data/ab/abcd", "data/cd/cdef", "muster/pins/x~y +ü"] {
        s3.write(name, &parts(name)).unwrap();
        assert_eq!(s3.read(name).unwrap(), name.as_bytes(), "{name}");
        assert_eq!(s3.size(name).unwrap(), Some(name.len() as u64), "{name}");
    }
    s3.write("empty", &[]).unwrap();
    assert_eq!(s3.read("empty").unwrap(), b"");
    let mut top = s3.top().unwrap();
    top.sort();
    assert_eq!(top, ["config", "data", "empty", "muster"]);
    let packs = s3.list("data").unwrap();
    assert_eq!(
        packs.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["data/ab/abcd", "data/cd/cdef"]
    );
    // A name that begins as another folder's does is not in it.
    s3.write("database", &parts("x")).unwrap();
    assert_eq!(s3.list("data").unwrap().len(), 2);
    assert_eq!(s3.size("dat").unwrap(), None);

    let mut middle = [0; 4];
    s3.read_range("data/ab/abcd", 5, &mut middle).unwrap();
    assert_eq!(&middle, b"ab/a");
    assert!(matches!(s3.read_range("data/ab/abcd", 10, &mut middle), Err(Fault::Short)));
    assert!(matches!(s3.read_range("data/ab/abcd", 100, &mut middle), Err(Fault::Short)));
    assert_eq!(s3.read_up_to("data/ab/abcd", 10, 100).unwrap(), b"cd");
    assert!(matches!(s3.read_up_to("data/ab/abcd", 12, 100), Err(Fault::Short)));
    assert!(matches!(s3.read("data/ab/none"), Err(Fault::Missing)));
    s3.remove("data/ab/abcd").unwrap();
    s3.remove("data/ab/abcd").unwrap();
    assert!(matches!(s3.read("data/ab/abcd"), Err(Fault::Missing)));
}

#[test]
fn a_list_of_thousands_is_whole() {
    let server = Seaweed::new();
    let s3 = S3::new(&location(&server.endpoint())).unwrap();
    let names: Vec<String> =
        (0..2_345_u32).map(|number| format!("data/{:02x}/{number:08x}", number % 256)).collect();
    thread::scope(|scope| {
        for part in names.chunks(300) {
            scope.spawn(|| part.iter().for_each(|name| s3.write(name, &parts(name)).unwrap()));
        }
    });
    let listed = s3.list("data").unwrap();
    assert_eq!(listed.len(), names.len());
    let found: BTreeSet<String> = listed.into_iter().map(|one| one.name).collect();
    assert_eq!(found, names.into_iter().collect());
}

#[test]
fn who_is_refused_and_what_is_missing_is_named_with_what_to_do() {
    let server = Seaweed::new();
    let right = location(&server.endpoint());
    let top = |location: &S3Location| S3::new(location).and_then(|s3| s3.top()).unwrap_err();

    let mut wrong = right.clone();
    wrong.credentials.as_mut().unwrap().secret_key = Secret::new("wrong");
    let error = top(&wrong);
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.hint().unwrap().0.contains("`secret_key`"));
    assert_eq!(source(error), StoreError::Refused { code: "SignatureDoesNotMatch".into() });
    wrong.credentials.as_mut().unwrap().access_key = "nobody".into();
    assert_eq!(source(top(&wrong)), StoreError::Refused { code: "InvalidAccessKeyId".into() });
    wrong.credentials = None;
    assert_eq!(source(top(&wrong)), StoreError::NoCredentials);

    let error = top(&S3Location { bucket: "not-there".into(), ..right.clone() });
    assert!(error.hint().unwrap().0.contains("make the bucket `not-there`"));
    assert_eq!(source(error), StoreError::NoBucket("not-there".into()));
    let s3 = S3::new(&S3Location { bucket: "not-there".into(), ..right.clone() }).unwrap();
    assert_eq!(source(s3.size("config").unwrap_err()), StoreError::NoBucket("not-there".into()));
    let Err(Fault::Failed(error)) = s3.read("config") else { panic!() };
    assert_eq!(source(error), StoreError::NoBucket("not-there".into()));

    for endpoint in ["ftp://127.0.0.1", "127.0.0.1:8333", "http://", "http://h/path"] {
        let error = top(&S3Location { endpoint: Some(endpoint.into()), ..right.clone() });
        assert_eq!(source(error), StoreError::BadEndpoint(endpoint.into()));
    }
}

#[test]
fn a_wrong_clock_is_named() {
    let server = Seaweed::new();
    let mut s3 = S3::new(&location(&server.endpoint())).unwrap();
    s3.skew_seconds = 3600;
    let StoreError::ClockSkew { seconds } = source(s3.top().unwrap_err()) else { panic!() };
    assert!((3590..=3610).contains(&seconds), "{seconds}");
}

#[test]
fn nobody_there_is_said_when_patience_ends_and_not_before() {
    let location = location(&format!("http://127.0.0.1:{}", muster_testkit::free_port()));
    let s3 = S3::new(&S3Location { patience: Duration::from_secs(2), ..location }).unwrap();
    let begun = Instant::now();
    let error = s3.top().unwrap_err();
    assert!((2..5).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(error.kind(), Kind::Unavailable);
    let StoreError::Unreachable { tries, last, .. } = source(error) else { panic!() };
    assert!(tries >= 3 && last.contains("refused"), "{tries}: {last}");
}

#[test]
fn what_is_cut_or_changed_on_its_way_is_sent_again() {
    let server = Seaweed::new();
    let proxy = Proxy::new(server.port(), Duration::ZERO);
    let s3 = S3::new(&location(&proxy.endpoint())).unwrap();
    let content = Bytes::from(vec![5; 3_000_000]);
    proxy.cut(2);
    s3.write("cut", std::slice::from_ref(&content)).unwrap();
    proxy.flip(1);
    s3.write("changed", std::slice::from_ref(&content)).unwrap();
    assert_eq!(proxy.left(), 0);
    for name in ["cut", "changed"] {
        assert!(s3.read(name).unwrap() == content, "{name}");
    }
}

#[test]
fn locks_hold_between_hosts_and_end_with_their_process() {
    let server = Seaweed::new();
    let here = crate::location::Location::S3(location(&server.endpoint()));
    let open = || Root::open(&here).unwrap();
    let (one, other) = (open(), open());
    let (a, b) = (Lock::shared(&one).unwrap(), Lock::shared(&other).unwrap());
    let error = Lock::exclusive(&other).err().unwrap();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(error.to_string().contains("process "), "{error}");
    drop((a, b));
    assert_eq!(server.names(""), [""; 0]);

    let only = Lock::exclusive(&one).unwrap();
    assert!(only.is_held());
    for error in [Lock::shared(&other).err(), Lock::exclusive(&other).err()] {
        assert_eq!(error.unwrap().kind(), Kind::Locked);
    }
    one.confirm_locks().unwrap();
    let name = server.names("").remove(0);
    let note = String::from_utf8(server.get(&name)).unwrap();
    // Another host's lock of the same age stays; one of a process of this host that has ended does not.
    let foreign = note.replace("\"boot\":\"", "\"boot\":\"x");
    let dead = note.replace(&format!("\"pid\":{}", std::process::id()), "\"pid\":4194305");
    assert!(foreign != note && dead != note);
    drop(only);
    server.put(&name, foreign.as_bytes());
    assert_eq!(Lock::shared(&other).err().unwrap().kind(), Kind::Locked);
    server.put(&name, dead.as_bytes());
    drop(Lock::shared(&other).unwrap());
    assert_eq!(server.names(""), [""; 0]);
    // What cannot be read may be anything.
    server.put(&name, b"{");
    assert_eq!(Lock::shared(&other).err().unwrap().kind(), Kind::Locked);
    server.remove(&name);

    // A lock that was taken away is never taken for held.
    let taken = Lock::exclusive(&one).unwrap();
    let name = server.names("").remove(0);
    server.remove(&name);
    let error = one.confirm_locks().unwrap_err();
    assert!(error.to_string().contains("was stopped for too long"), "{error}");
    drop(taken);
}

/// What the bucket says of each declared property, and the verdict.
fn seen(location: &S3Location) -> Vec<(Option<String>, BucketVerdict)> {
    let declared = Bucket {
        versioning: Some(true),
        encryption: Some(BucketEncryption::Aes256),
        object_lock: Some(true),
        storage_class: Some("STANDARD_IA".into()),
    };
    let points = bucket::look(&Location::S3(location.clone()), &declared).unwrap();
    points.into_iter().map(|point| (point.found, point.verdict)).collect()
}

#[test]
fn a_bucket_is_what_it_says_and_what_it_does_not_tell_is_unknown() {
    use BucketVerdict::{AsDeclared, Differs, Unknown};
    let server = Seaweed::new();
    let plain = location(&server.endpoint());
    let off = || (Some("off".to_owned()), Differs);
    assert_eq!(seen(&plain), [off(), off(), off(), (None, Unknown)]);

    // Packs that are not small get the class, and nothing else does.
    let s3 = S3::new(&S3Location { storage_class: Some("STANDARD_IA".into()), ..plain.clone() }).unwrap();
    let large = [Bytes::from(vec![1; 100_000]), Bytes::from(vec![2; 100_000])];
    for (name, content, class) in [
        ("data/ab/abcd", &large[..], Some("STANDARD_IA")),
        ("data/ab/small", &large[..1], None),
        ("index/abcd", &large[..], None),
    ] {
        s3.write(name, content).unwrap();
        let answer = s3.ask(&s3.question("look at", "HEAD", name)).unwrap_or_else(|_| panic!("{name}"));
        assert_eq!(answer.storage_class.as_deref().filter(|class| *class != "STANDARD"), class, "{name}");
    }
    let class = (Some("STANDARD_IA".to_owned()), AsDeclared);
    assert_eq!(seen(&plain)[3], class);
    // What was written before the class was declared is seen when it is the newest.
    S3::new(&plain).unwrap().write("data/cd/cdef", &large).unwrap();
    assert_eq!(seen(&plain)[3], (Some("STANDARD".to_owned()), Differs));

    server.set_bucket(
        "versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    );
    let lock = |rule: &str| {
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        let text = format!("<ObjectLockConfiguration>{enabled}{rule}</ObjectLockConfiguration>");
        server.set_bucket("object-lock", &text);
    };
    lock("");
    // Without a default retention nothing that Muster writes is kept by it.
    let on = || (Some("on".to_owned()), AsDeclared);
    let partly = (Some("on without a default retention".to_owned()), Differs);
    assert_eq!(seen(&plain)[..3], [on(), off(), partly]);
    lock("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>");
    server.set_bucket(
        "encryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256\
         </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    );
    assert_eq!(seen(&plain)[..3], [on(), (Some("AES256".to_owned()), AsDeclared), on()]);

    // Who may not ask gets no answer, and no answer is no "on".
    let mut reader = plain.clone();
    reader.credentials.as_mut().unwrap().access_key = READER_KEY.into();
    assert_eq!(seen(&reader)[1..3], [(None, Unknown), (None, Unknown)]);
    let declared = Bucket { versioning: Some(true), ..Bucket::default() };
    let missing = Location::S3(S3Location { bucket: "not-there".into(), ..plain.clone() });
    let error = bucket::look(&missing, &declared).unwrap_err();
    assert_eq!(source(error), StoreError::NoBucket("not-there".into()));
    reader.credentials.as_mut().unwrap().secret_key = Secret::new("wrong");
    let error = bucket::look(&Location::S3(reader), &declared).unwrap_err();
    assert!(matches!(source(error), StoreError::Refused { .. }));
}

#[test]
fn an_address_of_google_is_asked_in_the_same_language_where_it_is_told_to() {
    let server = Seaweed::new();
    let Ok(Location::S3(google)) = format!("gs://{BUCKET}/of us").parse() else { panic!() };
    let google =
        S3Location { endpoint: Some(server.endpoint()), credentials: location("").credentials, ..google };
    let s3 = S3::new(&google).unwrap();
    s3.write("config", &parts("hello")).unwrap();
    assert_eq!(s3.read("config").unwrap(), b"hello");
    assert_eq!(s3.title(), format!("gs://{BUCKET}/of us"));
    assert_eq!(server.names("of us"), ["of us/config"]);
}
