//! What a repository asks of object storage: names become keys, pages become lists, answers become contents.
//!
//! In: names relative to the repository. Out: what [`Place`] promises.
//!
//! Only keys below the prefix are ever seen or touched, and a list that cannot be read to its end is an error.
//! Read next: `s3.rs` asks, `s3/xml.rs` reads lists.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{
    Content, PARALLEL, Question, Refusal, S3, StoreError, azure, sign,
    xml::{self, Object},
};
use crate::{
    error::RepoError,
    lock,
    place::{Distant, Fault, Listed, Place},
};

/// Pages of a list; a server that goes on beyond a billion objects goes in circles.
const PAGES_MAX: usize = 1_000_000;
/// A lock that cannot be removed dies by itself; nobody waits long for that.
const PATIENCE_REMOVE: Duration = Duration::from_secs(5);

impl S3 {
    /// Lists all objects below a prefix of the repository, with the server's time.
    pub(super) fn objects(
        &self,
        prefix: &str,
        delimiter: &str,
        limit: Option<usize>,
    ) -> Result<(xml::Page, Option<Timestamp>), RepoError> {
        let prefix = self.key(prefix);
        let mut all = xml::Page::default();
        let mut date = None;
        for _ in 0..PAGES_MAX {
            let list_query = if self.azure.is_some() { azure::list_query } else { list_query };
            let query = list_query(&prefix, delimiter, limit, all.next.as_deref());
            let question = Question { query, ..self.question("list", "GET", "") };
            let fail = |code: String| RepoError::Store {
                operation: "list",
                object: self.location.to_string(),
                source: StoreError::Unexpected { status: 200, code },
            };
            let answer = self.ask(&question).map_err(|refusal| match refusal {
                Refusal::Failed(error) => error,
                // Not every server says what is missing, but here it can only be what the list is of.
                Refusal::Missing => RepoError::Store {
                    operation: "list",
                    object: self.location.to_string(),
                    source: self.no_bucket(),
                },
                Refusal::Short => fail("and cut the list".into()),
            })?;
            let read = if self.azure.is_some() { azure::page } else { xml::page };
            let page = read(&answer.body).map_err(|message| fail(format!("and {message}")))?;
            if page.next.is_some() && page.next == all.next {
                return Err(fail("and the list goes in circles".into()));
            }
            date = answer.date.or(date);
            all.objects.extend(page.objects);
            all.prefixes.extend(page.prefixes);
            all.next = page.next;
            // A page may be empty though the list goes on.
            if all.next.is_none() || (limit.is_some() && !all.objects.is_empty()) {
                return Ok((all, date));
            }
        }
        Err(RepoError::Store {
            operation: "list",
            object: self.location.to_string(),
            source: StoreError::Unexpected { status: 200, code: "and the list never ends".into() },
        })
    }

    fn remove_within(&self, name: &str, patience: Duration) -> Result<(), Fault> {
        let question = Question { patience, ..self.question("remove", "DELETE", name) };
        match self.ask(&question) {
            // A server of S3 says of what is gone already that it is gone now; Azure says that it is not there, also when
            // only the answer to the first try was lost.
            Err(Refusal::Missing) if self.azure.is_some() => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    /// Says that what everything lies in is missing, though the server did not say so.
    pub(super) fn no_bucket(&self) -> StoreError {
        match &self.azure {
            // Azure always names a missing container: what is left is the account.
            Some(azure) => StoreError::UnknownAccount(azure.account().to_owned()),
            None => StoreError::NoBucket(self.location.bucket.clone()),
        }
    }

    /// Turns what was listed into names of the repository. Marks of folders, which some servers keep, are left out.
    pub(super) fn names(&self, objects: Vec<Object>) -> impl Iterator<Item = (Listed, Option<Timestamp>)> {
        objects.into_iter().filter_map(|object| {
            let Listed { name, size } = object.listed?;
            let name = self.name_of(&name).filter(|name| !name.ends_with('/'))?.to_owned();
            Some((Listed { name, size }, object.modified))
        })
    }
}

/// Returns the query for one page of a list.
fn list_query(prefix: &str, delimiter: &str, limit: Option<usize>, next: Option<&str>) -> String {
    let mut query = Vec::new();
    query.extend(next.map(|token| format!("continuation-token={}", sign::encode(token, false))));
    if !delimiter.is_empty() {
        query.push(format!("delimiter={}", sign::encode(delimiter, false)));
    }
    query.push("list-type=2".to_owned());
    query.extend(limit.map(|limit| format!("max-keys={limit}")));
    query.push(format!("prefix={}", sign::encode(prefix, false)));
    query.join("&")
}

impl Place for S3 {
    fn title(&self) -> String {
        self.location.to_string()
    }

    fn top(&self) -> Result<Vec<String>, RepoError> {
        let (page, _) = self.objects("", "/", None)?;
        let folders: Vec<String> = page
            .prefixes
            .iter()
            .filter_map(|key| Some(self.name_of(key)?.trim_end_matches('/').to_owned()))
            .collect();
        Ok(self.names(page.objects).map(|(listed, _)| listed.name).chain(folders).collect())
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, RepoError> {
        let (page, _) = self.objects(&format!("{folder}/"), "", None)?;
        Ok(self.names(page.objects).map(|(listed, _)| listed).collect())
    }

    fn size(&self, name: &str) -> Result<Option<u64>, RepoError> {
        // A list tells a missing bucket from a missing object, which asking for the object's head does not.
        let (page, _) = self.objects(name, "", Some(1))?;
        let found = self.names(page.objects).find(|(listed, _)| listed.name == name);
        Ok(found.map(|(listed, _)| listed.size))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        Ok(self.ask(&self.question("read", "GET", name))?.body)
    }

    fn read_up_to(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let range = Some((offset, offset + length.max(1) - 1));
        let answer = self.ask(&Question { range, ..self.question("read", "GET", name) })?;
        if answer.status == 206 {
            return Ok(answer.body);
        }
        // A server that does not know ranges answers with all of it.
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = answer.body.get(begin..).filter(|rest| !rest.is_empty()).ok_or(Fault::Short)?;
        Ok(rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))].to_vec())
    }

    fn write(&self, name: &str, content: &[Bytes]) -> Result<(), RepoError> {
        let question = Question {
            content: Content::Parts(content),
            storage_class: self.class_of(name, content),
            ..self.question("write", "PUT", name)
        };
        match self.ask(&question) {
            Ok(_) => Ok(()),
            Err(Refusal::Failed(error)) => Err(error),
            // What is written cannot be missing but for what it is written into.
            Err(Refusal::Missing | Refusal::Short) => Err(RepoError::Store {
                operation: "write",
                object: format!("{}/{name}", self.location),
                source: self.no_bucket(),
            }),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        self.remove_within(name, self.location.patience)
    }

    fn sync(&self, _folder: &str) -> Result<(), RepoError> {
        Ok(())
    }

    fn create(&self) -> Result<(), RepoError> {
        Ok(())
    }

    fn confirm_locks(&self) -> Result<(), RepoError> {
        lock::confirm(self)
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }
}

impl Distant for S3 {
    fn ages(&self, folder: &str) -> Result<Vec<(Listed, Option<SignedDuration>)>, RepoError> {
        let (page, date) = self.objects(&format!("{folder}/"), "", None)?;
        let age = |modified: Option<Timestamp>| Some(date?.duration_since(modified?));
        Ok(self.names(page.objects).map(|(listed, modified)| (listed, age(modified))).collect())
    }

    fn age(&self, name: &str) -> Result<Option<SignedDuration>, Fault> {
        let answer = self.ask(&self.question("look at", "HEAD", name))?;
        Ok(answer.date.zip(answer.modified).map(|(now, then)| now.duration_since(then)))
    }

    fn remove_hastily(&self, name: &str) -> Result<(), Fault> {
        self.remove_within(name, PATIENCE_REMOVE)
    }

    fn own_locks(&self) -> &Mutex<Vec<String>> {
        &self.own_locks
    }
}
