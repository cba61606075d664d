//! Tests of Azure's language: signature and lists by themselves, everything else against Azurite.

use bytes::Bytes;
use jiff::SignedDuration;
use muster_testkit::{
    Azurite, Proxy,
    azurite::{ACCOUNT, CONTAINER, KEY},
};
use muster_types::{
    Explain, Kind, Secret,
    bucket::BucketVerdict,
    config::{Bucket, BucketEncryption},
};

use super::*;
use crate::{
    bucket,
    error::RepoError,
    location::{Location, S3Location},
    lock::Lock,
    place::{Distant, Fault, Place, Root},
    s3::S3,
};

fn azure(account: &str, secret: &str) -> Result<Azure, StoreError> {
    let access_key = account.into();
    Azure::new(&Credentials { access_key, secret_key: Secret::new(secret), session_token: None })
}

fn server() -> (Azurite, S3Location) {
    let server = Azurite::new();
    server.make_container(CONTAINER);
    let location = location(&server.endpoint(), KEY);
    (server, location)
}

fn location(endpoint: &str, secret: &str) -> S3Location {
    let Ok(Location::S3(location)) = format!("azblob://{CONTAINER}/a prefix/of ours").parse() else {
        panic!()
    };
    S3Location {
        endpoint: Some(endpoint.into()),
        path_style: true,
        credentials: Some(Credentials {
            access_key: ACCOUNT.into(),
            secret_key: Secret::new(secret),
            session_token: None,
        }),
        ..location
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
fn who_asks_is_an_account_with_a_key_or_a_token_and_nothing_else() {
    assert_eq!(azure("", KEY).err(), Some(StoreError::BadAccount(String::new())));
    let address = "https://a.blob.core.windows.net";
    assert_eq!(azure(address, KEY).err(), Some(StoreError::BadAccount(address.into())));
    for secret in ["", "no base64!", "sv=2021-08-06&sp=r", "sv=x&sig=a b"] {
        assert_eq!(azure("a", secret).err(), Some(StoreError::BadAccountKey), "{secret}");
    }
    let token = azure("a", "?sv=x&sig=a%2Fb%3D\n").unwrap();
    assert_eq!(token.query(""), "sv=x&sig=a%2Fb%3D");
    assert_eq!(token.query("comp=list"), "comp=list&sv=x&sig=a%2Fb%3D");
    assert_eq!(azure("a", KEY).unwrap().query("comp=list"), "comp=list");
}

#[test]
fn an_account_is_the_hosts_first_name_or_the_first_part_of_the_path() {
    let place = |host: &str, is_in_path| azure("a", KEY).unwrap().place(host.into(), is_in_path, "c");
    let in_host = |host: &str| (host.to_owned(), "/c/".to_owned());
    assert_eq!(place("blob.core.windows.net", false), in_host("a.blob.core.windows.net"));
    for is_in_path in [true, false] {
        let host = "a.blob.core.chinacloudapi.cn";
        assert_eq!(place("blob.core.chinacloudapi.cn", is_in_path), in_host(host));
        assert_eq!(place(host, is_in_path), in_host(host));
    }
    assert_eq!(place("127.0.0.1:10000", true), ("127.0.0.1:10000".into(), "/a/c/".into()));
    let said = "failed to lookup address information: Name or service not known";
    let asked = azure("a", KEY).unwrap().explain(said.into());
    assert_eq!(asked, format!("{said} (is `a` the name of the account?)"));
    assert_eq!(azure("a", KEY).unwrap().explain("Connection refused".into()), "Connection refused");
}

#[test]
fn what_is_no_whole_list_of_blobs_is_never_taken_for_an_empty_one() {
    let list = |inner: &str| format!("<EnumerationResults>{inner}</EnumerationResults>");
    for document in [
        String::new(),
        "<html/>".into(),
        list(""),
        list("<Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker/>"),
        "<EnumerationResults><Blobs/><NextMarker/>".into(),
    ] {
        assert!(page(document.as_bytes()).is_err(), "{document}");
    }
    let blob = "<Blob><Name>p/a&amp;b</Name><Properties><Content-Length>12</Content-Length>\
                <Last-Modified>Fri, 01 May 2026 10:00:00 GMT</Last-Modified></Properties></Blob>";
    let prefix = "<BlobPrefix><Name>p/data/</Name></BlobPrefix>";
    let page =
        page(list(&format!("<Blobs>{blob}{prefix}</Blobs><NextMarker>m=</NextMarker>")).as_bytes()).unwrap();
    let listed = Some(Listed { name: "p/a&b".into(), size: 12 });
    assert_eq!(page.objects, [Object { listed, modified: "2026-05-01T10:00:00Z".parse().ok() }]);
    assert_eq!((page.prefixes, page.next), (vec!["p/data/".to_owned()], Some("m=".to_owned())));
}

#[test]
fn blobs_are_written_read_listed_locked_and_removed() {
    let (server, location) = server();
    let azure = S3::new(&location).unwrap();
    assert_eq!((azure.top().unwrap(), azure.list("data").unwrap()), (vec![], vec![]));
    for name in ["config", "data/ab/abcd", "data/cd/cdef", "muster/pins/x~y +ü&=%41"] {
        azure.write(name, &parts(name)).unwrap();
        assert_eq!(azure.read(name).unwrap(), name.as_bytes(), "{name}");
        assert_eq!(azure.size(name).unwrap(), Some(name.len() as u64), "{name}");
    }
    azure.write("empty", &[]).unwrap();
    assert_eq!(azure.read("empty").unwrap(), b"");
    azure.write("config", &parts("other")).unwrap();
    assert_eq!(azure.read("config").unwrap(), b"other");
    let mut top = azure.top().unwrap();
    top.sort();
    assert_eq!(top, ["config", "data", "empty", "muster"]);
    azure.write("database", &parts("x")).unwrap();
    let packs: Vec<String> = azure.list("data").unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(packs, ["data/ab/abcd", "data/cd/cdef"]);
    assert_eq!(azure.size("dat").unwrap(), None);

    let mut middle = [0; 4];
    azure.read_range("data/ab/abcd", 5, &mut middle).unwrap();
    assert_eq!(&middle, b"ab/a");
    assert!(matches!(azure.read_range("data/ab/abcd", 10, &mut middle), Err(Fault::Short)));
    assert!(matches!(azure.read_range("data/ab/abcd", 100, &mut middle), Err(Fault::Short)));
    assert_eq!(azure.read_up_to("data/ab/abcd", 10, 100).unwrap(), b"cd");
    assert!(matches!(azure.read("data/ab/none"), Err(Fault::Missing)));
    let age = azure.age("config").unwrap().unwrap();
    assert!((0..60).contains(&age.as_secs()), "{age}");
    let ages = azure.ages("data/ab").unwrap();
    assert!(
        ages.iter().all(|(_, age)| age.is_some_and(|age| age < SignedDuration::from_mins(1))),
        "{ages:?}"
    );
    azure.remove("data/ab/abcd").unwrap();
    azure.remove("data/ab/abcd").unwrap();
    assert!(matches!(azure.read("data/ab/abcd"), Err(Fault::Missing)));

    pages_are_followed_to_their_end(&azure);

    // What is cut on its way, or changed, is sent again.
    let proxy = Proxy::new(server.port(), std::time::Duration::ZERO);
    let far = S3::new(&S3Location { endpoint: Some(proxy.endpoint()), ..location.clone() }).unwrap();
    let content = Bytes::from(vec![5; 3_000_000]);
    proxy.cut(2);
    far.write("cut", std::slice::from_ref(&content)).unwrap();
    proxy.flip(1);
    far.write("changed", std::slice::from_ref(&content)).unwrap();
    assert_eq!(proxy.left(), 0);
    for name in ["cut", "changed"] {
        assert!(azure.read(name).unwrap() == content, "{name}");
    }

    locks_hold(&azure, &location);
}

fn pages_are_followed_to_their_end(azure: &S3) {
    let all = (0..7).map(|number| format!("snapshots/{number}"));
    let names: Vec<String> = all.inspect(|name| azure.write(name, &parts(name)).unwrap()).collect();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let query = list_query("a prefix/of ours/snapshots/", "", Some(3), next.as_deref());
        let answer = azure.ask(&super::super::Question { query, ..azure.question("list", "GET", "") });
        let one = page(&answer.unwrap_or_else(|_| panic!("no page")).body).unwrap();
        assert!(one.objects.len() <= 3);
        found.extend(azure.names(one.objects).map(|(listed, _)| listed.name));
        next = one.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, names);
}

fn locks_hold(azure: &S3, location: &S3Location) {
    // Two hosts do not have the place to themselves at once, and what a lock was taken away from stops.
    let open = || Root::open(&Location::S3(location.clone())).unwrap();
    let (one, other) = (open(), open());
    let shared = Lock::shared(&one).unwrap();
    assert_eq!(Lock::exclusive(&other).err().unwrap().kind(), Kind::Locked);
    drop(shared);
    let only = Lock::exclusive(&one).unwrap();
    assert_eq!(Lock::shared(&other).err().unwrap().kind(), Kind::Locked);
    for listed in azure.list("muster/locks").unwrap() {
        azure.remove(&listed.name).unwrap();
    }
    assert!(one.confirm_locks().is_err());
    drop(only);
}

#[test]
fn who_may_not_and_what_is_missing_is_named_with_what_to_do() {
    let (server, right) = server();
    S3::new(&right).unwrap().write("config", &parts("hello")).unwrap();
    let with = |secret: &str| location(&server.endpoint(), secret);
    let top = |location: &S3Location| S3::new(location).and_then(|azure| azure.top()).unwrap_err();
    let wrong = STANDARD.encode("another key");
    let error = top(&with(&wrong));
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.hint().unwrap().0.contains("one of its keys as they are now"), "{error}");
    let said = format!("{error} {}", error.hint().unwrap().0);
    assert!(!said.contains(&wrong) && !said.contains("SharedKey"), "{said}");
    assert_eq!(source(error), StoreError::Refused { code: "AuthorizationFailure".into() });

    let mut nobody = right.clone();
    nobody.credentials.as_mut().unwrap().access_key = "nobody".into();
    let error = top(&nobody);
    assert!(error.hint().unwrap().0.contains("check `access_key` (the account)"), "{error:?}");
    assert_eq!(source(error), StoreError::UnknownAccount("nobody".into()));
    nobody.credentials = None;
    assert_eq!(source(top(&nobody)), StoreError::NoAccount);

    let missing = S3Location { bucket: "not-there".into(), ..right.clone() };
    let error = top(&missing);
    assert!(error.hint().unwrap().0.contains("make the container `not-there`"));
    assert_eq!(source(error), StoreError::NoContainer("not-there".into()));
    let missing = S3::new(&missing).unwrap();
    let no_container = || StoreError::NoContainer("not-there".into());
    assert_eq!(source(missing.size("config").unwrap_err()), no_container());
    assert_eq!(source(missing.write("config", &[]).unwrap_err()), no_container());
    for fault in [missing.read("config").err(), missing.remove("config").err()] {
        let Some(Fault::Failed(error)) = fault else { panic!("{fault:?}") };
        assert_eq!(source(error), no_container());
    }

    // A token that may read: it reads, and everything else is refused in words for tokens.
    let token = server.token(CONTAINER, "rl");
    let reader = S3::new(&with(&token)).unwrap();
    assert_eq!(reader.top().unwrap(), ["config"]);
    assert_eq!(reader.read("config").unwrap(), b"hello");
    let error = reader.write("other", &parts("x")).unwrap_err();
    assert!(error.hint().unwrap().0.contains("`sp=rcwdl`"), "{error}");
    let said = format!("{error} {error:?} {}", error.hint().unwrap().0);
    assert!(!said.contains("sig="), "{said}");
    let error = source(error);
    assert!(error.is_refusal());
    assert_eq!(error, StoreError::Refused { code: "AuthorizationPermissionMismatch".into() });
    let writer = S3::new(&with(&server.token(CONTAINER, "rcwdl"))).unwrap();
    writer.write("other", &parts("x y")).unwrap();
    assert_eq!(writer.read_up_to("other", 1, 10).unwrap(), b" y");
    writer.remove("other").unwrap();

    // A refusal at a wrong time is the clock's fault, since then no signature holds.
    let mut skewed = S3::new(&with(&wrong)).unwrap();
    skewed.skew_seconds = 3600;
    let StoreError::ClockSkew { seconds } = source(skewed.top().unwrap_err()) else { panic!() };
    assert!((3590..=3610).contains(&seconds), "{seconds}");

    // What is not asked is never as declared.
    let declared = Bucket {
        versioning: Some(false),
        encryption: Some(BucketEncryption::Aes256),
        object_lock: Some(false),
        storage_class: Some("HOT".into()),
    };
    let points = bucket::look(&Location::S3(right), &declared).unwrap();
    assert_eq!(points.len(), 4);
    assert!(points.iter().all(|point| point.verdict == BucketVerdict::Unknown), "{points:?}");
}
