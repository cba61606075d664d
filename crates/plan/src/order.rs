//! In which order services are started: each after those that it depends on.
//!
//! In: services with their definitions. Out: the same, in order; stopping goes the other way round. A circle, which the
//! configuration refuses, is left in the order of names. It never adds or drops a service.

use muster_types::config::Service;

/// Puts services in the order in which they are started.
pub(crate) fn in_order<'a>(mut left: Vec<(&'a String, &'a Service)>) -> Vec<(&'a String, &'a Service)> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_free = |(_, service): &(&String, &Service)| {
            !service.depends_on.iter().any(|needed| left.iter().any(|(name, _)| *name == needed))
        };
        let next = left.iter().position(is_free).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// Returns a service that depends on itself, directly or through others.
pub fn circle<'a>(services: impl Iterator<Item = (&'a String, &'a Service)>) -> Option<&'a String> {
    let mut left: Vec<_> = services.collect();
    loop {
        let is_free = |(_, service): &(&String, &Service)| {
            !service.depends_on.iter().any(|needed| left.iter().any(|(name, _)| *name == needed))
        };
        match left.iter().position(is_free) {
            Some(free) => drop(left.remove(free)),
            None => return left.first().map(|(name, _)| *name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let services: Vec<(String, Service)> = pairs
            .iter()
            .map(|(name, needed)| {
                let depends_on = needed.iter().map(|&one| one.to_owned()).collect();
                ((*name).to_owned(), Service { depends_on, ..Service::default() })
            })
            .collect();
        let found = in_order(services.iter().map(|(name, service)| (name, service)).collect());
        found.into_iter().map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn what_must_run_before_comes_before_else_the_names_decide() {
        assert_eq!(order(&[("api", &["db"]), ("db", &[]), ("web", &["api"])]), ["db", "api", "web"]);
        assert_eq!(order(&[("a", &[]), ("b", &["not-here"]), ("c", &[])]), ["a", "b", "c"]);
        assert_eq!(
            order(&[("a", &["c"]), ("b", &[]), ("c", &["a"])]),
            ["b", "a", "c"],
            "a circle loses nobody"
        );
    }
}
