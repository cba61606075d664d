//! The order in which services start: what must run before a service comes before it, else the order of their names.
//!
//! Services come in; the same ones leave, in order. They stop in the reverse one. It never leaves one out: a circle, which
//! the configuration refuses, keeps the order of the names.

use muster_types::config::Service;

/// Orders services by `after`.
pub(crate) fn in_order<'a>(mut rest: Vec<(&'a String, &'a Service)>) -> Vec<(&'a String, &'a Service)> {
    let mut ordered = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let is_free = |(_, service): &(&String, &Service)| {
            !service.after.iter().any(|before| rest.iter().any(|(name, _)| *name == before))
        };
        let next = rest.iter().position(is_free).unwrap_or_default();
        ordered.push(rest.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let services: Vec<(String, Service)> = pairs
            .iter()
            .map(|(name, after)| {
                let after = after.iter().map(|&one| one.to_owned()).collect();
                ((*name).to_owned(), Service { after, ..Service::default() })
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
