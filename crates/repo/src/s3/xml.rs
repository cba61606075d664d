//! Reads what object storage answers in XML: lists of objects and errors.
//!
//! In: bytes of a server. Out: the few fields that matter. What a list lacks is an error and never an empty list: a
//! repository that looks empty would do harm.

use jiff::Timestamp;
use quick_xml::{Reader, events::Event};

use crate::place::Listed;

/// One page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Objects, with whole keys.
    pub(super) objects: Vec<Object>,
    /// What stands for all keys below it, with a slash at its end.
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// An object of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) listed: Option<Listed>,
    pub(super) modified: Option<Timestamp>,
}

/// Returns the text of the first element with this name.
pub(super) fn field(document: &[u8], name: &str) -> Option<String> {
    let mut found = None;
    // An answer of something else, such as a proxy, is no XML: then there is no such element.
    drop(walk(document, &mut |path, text| {
        if found.is_none() && path.last().is_some_and(|last| last == name) {
            found = Some(text.to_owned());
        }
    }));
    found
}

/// Returns the name of the outermost element of a whole document.
pub(super) fn root(document: &[u8]) -> Option<String> {
    let mut root = None;
    walk(document, &mut |path, _| root = path.first().cloned()).ok()?;
    root
}

/// Reads one page of a list.
pub(super) fn page(document: &[u8]) -> Result<Page, String> {
    let mut page = Page::default();
    let (mut root, mut is_truncated) = (None, false);
    let (mut key, mut size, mut modified) = (None, None, None);
    walk(document, &mut |path, text| {
        root = path.first().cloned();
        let path: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        match path[..] {
            ["Contents", "Key"] => key = Some(text.to_owned()),
            ["Contents", "Size"] => size = text.parse().ok(),
            ["Contents", "LastModified"] => modified = text.parse().ok(),
            ["Contents"] => {
                let listed = key.take().zip(size.take()).map(|(name, size)| Listed { name, size });
                page.objects.push(Object { listed, modified: modified.take() });
            }
            ["CommonPrefixes", "Prefix"] => page.prefixes.push(text.to_owned()),
            ["IsTruncated"] => is_truncated = text == "true",
            ["NextContinuationToken"] => page.next = Some(text.to_owned()),
            _ => {}
        }
    })?;
    if root.as_deref() != Some("ListBucketResult") {
        return Err("it is not a list of objects".into());
    }
    if page.objects.iter().any(|object| object.listed.is_none()) {
        return Err("an object of the list has no name or no size".into());
    }
    match (is_truncated, &page.next) {
        (true, None) => Err("the list goes on and does not say where".into()),
        (false, _) => Ok(Page { next: None, ..page }),
        (true, Some(_)) => Ok(page),
    }
}

/// Tells every element at its end, with its path and its text.
pub(super) fn walk(document: &[u8], tell: &mut dyn FnMut(&[String], &str)) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("it is not XML: {error}");
    let mut reader = Reader::from_reader(document);
    // An element without content says as much as one that is opened and closed.
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(|error| fail(&error))? {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|error| fail(&error))? {
                    Some(character) => text.push(character),
                    None => text.push_str(
                        quick_xml::escape::resolve_predefined_entity(&reference)
                            .ok_or_else(|| fail(&"an entity is not known"))?,
                    ),
                }
            }
            Event::CData(part) => text.push_str(&part),
            Event::End(_) => {
                tell(&path, &text);
                path.pop();
                text.clear();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err("it is cut off".into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_entities_and_where_the_next_begins() {
        let document = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p</Prefix>
            <Contents><Key>p/a&amp;&#x62;</Key><LastModified>2026-05-01T10:00:00.000Z</LastModified>
            <ETag>&quot;x&quot;</ETag><Size>12</Size><Owner><ID>i</ID></Owner></Contents>
            <CommonPrefixes><Prefix>p/data/</Prefix></CommonPrefixes>
            <IsTruncated>true</IsTruncated><NextContinuationToken>t=</NextContinuationToken></ListBucketResult>"#;
        let page = page(document).unwrap();
        let listed = Some(Listed { name: "p/a&b".into(), size: 12 });
        let modified = "2026-05-01T10:00:00Z".parse().ok();
        assert_eq!(page.objects, [Object { listed, modified }]);
        assert_eq!((page.prefixes, page.next), (vec!["p/data/".to_owned()], Some("t=".to_owned())));
    }

    #[test]
    fn what_is_no_whole_list_is_never_taken_for_an_empty_one() {
        for document in [
            "",
            "hello",
            "<html><body>no</body></html>",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated>",
        ] {
            assert!(page(document.as_bytes()).is_err(), "{document}");
        }
        assert_eq!(field(b"<Error><Code>SlowDown</Code></Error>", "Code").unwrap(), "SlowDown");
        assert_eq!(field(b"<html>", "Code"), None);
        assert_eq!(root(b"<Versioning xmlns='x'/>").as_deref(), Some("Versioning"));
        assert_eq!((root(b"<Versioning>"), root(b"")), (None, None));
    }
}
