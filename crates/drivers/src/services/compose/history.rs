//! Which images a service has had, and the way back to an earlier one.
//!
//! ```text
//! muster-kept/<project>/<service>:7          the seventh image that a change has found or left
//! muster-kept/<project>/<service>:failed-7   one that was rolled back from: never a candidate again
//! ```
//!
//! The record is in the engine itself, as names of images: so it lies where the images lie, survives the loss of Muster's
//! state, and keeps an image from `docker image prune`. It is written before a change, from the containers that are there.
//!
//! It never pulls and never builds: what is gone from the engine cannot be gone back to.

use muster_types::{Explain, Kind, event::Watcher, text};
use sha2::{Digest, Sha256};

use super::{ACTION_TIMEOUT, Compose, changes};
use crate::DriverError;

const VERB: &str = "roll back";
/// Images that are kept of a service; each costs room on the engine's disk.
const KEPT_MAX: usize = 5;
/// The label by which an image says which state of the database it expects: a whole number that only grows.
const SCHEMA: &str = "muster.schema";

/// An image that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    number: u64,
    /// `sha256:…`.
    image: String,
    /// It was rolled back from.
    has_failed: bool,
}

impl Compose {
    /// Keeps the present image; says nothing when that cannot be, because a start must not fail for it.
    pub(super) fn keep_if_possible(&self, watcher: &dyn Watcher) {
        if let Err(error) = self.keep(watcher) {
            log::warn!("service `{}`: the image cannot be kept for a rollback: {error}", self.name);
        }
    }

    /// Keeps the image that the newest container is made of, unless it was the last one to be kept.
    pub(super) fn keep(&self, watcher: &dyn Watcher) -> Result<(), DriverError> {
        let verb = "keep the image of";
        let containers = self.containers(verb, watcher)?;
        let Some(newest) = containers.first() else { return Ok(()) };
        let (project, _) = self.resolved(verb, watcher)?;
        let folder = folder(&project, &self.service.service);
        let kept = self.kept(&folder, verb, watcher)?;
        let candidates: Vec<&Kept> = kept.iter().filter(|one| !one.has_failed).collect();
        if candidates.last().is_some_and(|last| last.image == newest.image) {
            return Ok(());
        }
        let number = kept.last().map_or(1, |last| last.number + 1);
        self.docker(verb, &["image", "tag", &newest.image, &format!("{folder}:{number}")], watcher)?;
        self.let_go(&folder, &candidates, watcher);
        Ok(())
    }

    /// Goes back to the image before this one, or to the kept one whose digest begins with `to`.
    pub(super) fn roll_back(&self, to: Option<&str>, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let (project, service) = self.resolved(VERB, watcher)?;
        let before = self.containers(VERB, watcher)?;
        let folder = folder(&project, &self.service.service);
        let name = service.image.unwrap_or_else(|| format!("{project}-{}", self.service.service));
        if name.contains('@') {
            let message = format!(
                "cannot roll back service `{}`: the compose file names its image by digest",
                self.name
            );
            return Err(DriverError::new(Kind::Config, message)
                .with_hint("write the earlier digest into the compose file, then `muster service restart`"));
        }
        // Also of a release that Muster did not see: whoever looks for its fault later needs it.
        self.keep(watcher)?;
        let kept = self.kept(&folder, VERB, watcher)?;
        let present = match before.first() {
            Some(container) => Some(container.image.clone()),
            None => self.image_of(&name, watcher)?,
        };
        let target = chosen(&kept, present.as_deref(), to).map_err(|why| {
            let message = format!("cannot roll back service `{}`: {why}", self.name);
            let hint = format!(
                "look which images the engine still has: `docker image ls {folder}`, `docker image ls`"
            );
            DriverError::new(Kind::NotFound, message).with_hint(hint)
        })?;
        let warning = self.mismatch(present.as_deref(), &target.image, watcher)?;
        // In this order: from here on a rollback that is cut short finds the same target again.
        self.docker(VERB, &["image", "tag", &target.image, &name], watcher)?;
        for failed in
            kept.iter().filter(|one| Some(&one.image) == present.as_ref() && one.number > target.number)
        {
            self.set_aside(&folder, failed, &kept, watcher)?;
        }
        let argv =
            self.argv(&["up", "--detach", "--no-deps", "--no-build", "--pull", "never", "--force-recreate"]);
        self.must(VERB, &argv, ACTION_TIMEOUT, watcher)?;
        let after = self.containers(VERB, watcher)?;
        if let Some(other) = after.iter().find(|container| container.image != target.image) {
            let message = format!(
                "service `{}` was not rolled back: container {} has image {}, and not {}",
                self.name,
                other.name(),
                short(&other.image),
                short(&target.image)
            );
            return Err(DriverError::new(Kind::Unavailable, message));
        }
        let news = changes::news(&self.name, &before, &after)?;
        let from = present.map_or_else(|| "nothing".to_owned(), |image| short(&image).to_owned());
        let warning = warning.map(|warning| format!("; warning: {warning}")).unwrap_or_default();
        Ok(format!(
            "image {from} -> {}, which `{name}` names until the next build or pull; {news}{warning}",
            short(&target.image)
        ))
    }

    /// Names an image as one that has failed, and lets go of the oldest of those.
    fn set_aside(
        &self,
        folder: &str,
        failed: &Kept,
        kept: &[Kept],
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        if failed.has_failed {
            return Ok(());
        }
        let (from, to) =
            (format!("{folder}:{}", failed.number), format!("{folder}:failed-{}", failed.number));
        self.docker(VERB, &["image", "tag", &from, &to], watcher)?;
        self.docker(VERB, &["image", "rm", &from], watcher)?;
        let earlier: Vec<&Kept> = kept.iter().filter(|one| one.has_failed).collect();
        self.let_go(folder, &earlier, watcher);
        Ok(())
    }

    /// Removes the names of all but the newest images. Only the name goes where something else still holds the image;
    /// it is refused while a container does.
    fn let_go(&self, folder: &str, kept: &[&Kept], watcher: &dyn Watcher) {
        for old in kept.iter().take((kept.len() + 1).saturating_sub(KEPT_MAX)) {
            let tag = format!("{folder}:{}{}", if old.has_failed { "failed-" } else { "" }, old.number);
            if let Err(error) = self.docker(VERB, &["image", "rm", &tag], watcher) {
                log::debug!("service `{}`: an old image stays: {error}", self.name);
            }
        }
    }

    /// Says when the earlier image expects another state of the database than the present one has made.
    fn mismatch(
        &self,
        present: Option<&str>,
        target: &str,
        watcher: &dyn Watcher,
    ) -> Result<Option<String>, DriverError> {
        let format = format!("{{{{index .Config.Labels \"{SCHEMA}\"}}}}");
        let schema = |image: &str| -> Result<Option<u64>, DriverError> {
            let text = self.docker(VERB, &["image", "inspect", "--format", &format, image], watcher)?;
            Ok(text.trim().parse().ok())
        };
        let Some(present) = present else { return Ok(None) };
        Ok(match (schema(present)?, schema(target)?) {
            (Some(now), Some(then)) if now > then => Some(format!(
                "the image that is left expects schema {now} of the database, the earlier one {then}: if it has migrated, \
                 restore the database too, or migrate it back"
            )),
            _ => None,
        })
    }

    /// Returns what was kept, the oldest first.
    fn kept(&self, folder: &str, verb: &str, watcher: &dyn Watcher) -> Result<Vec<Kept>, DriverError> {
        let words = ["image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", folder];
        Ok(parse(&self.docker(verb, &words, watcher)?))
    }

    /// Returns the image of a name, if there is one.
    pub(super) fn image_of(&self, name: &str, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        match self.docker("look at the image of", &["image", "inspect", "--format", "{{.Id}}", name], watcher)
        {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.to_string().to_lowercase().contains("no such image") => Ok(None),
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => Err(error),
        }
    }
}

/// Returns the name under which images of a service are kept.
fn folder(project: &str, service: &str) -> String {
    let plain = |text: &str| {
        let text: String =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        text.trim_matches('-').to_owned()
    };
    let (one, other) = (plain(project), plain(service));
    if one == project && other == service {
        return format!("muster-kept/{one}/{other}");
    }
    // Names that differ in what an image's name cannot have must not share their images.
    let hash = text::hex(Sha256::digest(format!("{project}/{service}").as_bytes()));
    format!("muster-kept/{one}/{other}-{}", hash.get(..8).unwrap_or(&hash))
}

/// Reads `TAG ID` lines: those of numbers, and of numbers behind `failed-`; in their order.
fn parse(text: &str) -> Vec<Kept> {
    let mut kept: Vec<Kept> = text
        .lines()
        .filter_map(|line| {
            let (tag, image) = line.trim().split_once(' ')?;
            let number = tag.strip_prefix("failed-").unwrap_or(tag).parse().ok()?;
            Some(Kept { number, image: image.to_owned(), has_failed: tag.starts_with("failed-") })
        })
        .collect();
    kept.sort_by_key(|one| one.number);
    kept
}

/// Chooses the image to go back to.
fn chosen<'a>(kept: &'a [Kept], present: Option<&str>, to: Option<&str>) -> Result<&'a Kept, String> {
    if let Some(to) = to {
        let digest = to.trim_start_matches("sha256:");
        let fits = |one: &&Kept| one.image.trim_start_matches("sha256:").starts_with(digest);
        let found: Vec<&Kept> = kept.iter().filter(fits).collect();
        let is_one = found.iter().all(|one| found.first().is_some_and(|first| first.image == one.image));
        return match found.last() {
            Some(one) if is_one && !digest.is_empty() => Ok(one),
            Some(_) => Err(format!("more than one image that was kept begins with `{to}`")),
            None => Err(format!("no image that was kept begins with `{to}`")),
        };
    }
    let newest_of_present =
        kept.iter().rev().find(|one| !one.has_failed && Some(one.image.as_str()) == present);
    let is_before = |one: &&Kept| {
        !one.has_failed
            && Some(one.image.as_str()) != present
            && newest_of_present.is_none_or(|now| one.number < now.number)
    };
    let found = kept.iter().rev().find(is_before);
    found.ok_or_else(|| {
        "no earlier image was kept; Muster keeps one with each start, restart and rebuild of its own".into()
    })
}

/// Returns an image's id as people read it.
pub(super) fn short(image: &str) -> &str {
    let id = image.trim_start_matches("sha256:");
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_before_this_one_is_chosen_and_one_that_failed_never() {
        let kept = parse("3 sha256:cc\n1 sha256:aa\nfailed-4 sha256:dd\n2 sha256:bb\n");
        let number = |present: Option<&str>, to| chosen(&kept, present, to).map(|one| one.number);
        assert_eq!(number(Some("sha256:cc"), None), Ok(2));
        assert_eq!(number(Some("sha256:bb"), None), Ok(1), "not forward to the third");
        assert_eq!(number(Some("sha256:ee"), None), Ok(3), "a deployment that Muster did not see");
        assert_eq!(number(None, None), Ok(3), "no container is left");
        assert!(number(Some("sha256:aa"), None).unwrap_err().starts_with("no earlier image was kept"));
        assert_eq!(number(Some("sha256:cc"), Some("sha256:a")), Ok(1));
        assert_eq!(number(Some("sha256:cc"), Some("dd")), Ok(4), "but by its name");
        assert!(number(None, Some("ff")).is_err() && number(None, Some("")).is_err());
    }

    #[test]
    fn services_that_differ_only_in_signs_do_not_share_a_name() {
        assert_eq!(folder("shop", "api"), "muster-kept/shop/api");
        assert_ne!(folder("shop", "a_b"), folder("shop", "a.b"));
        assert!(folder("shop", "Api_").starts_with("muster-kept/shop/api-"));
    }
}
