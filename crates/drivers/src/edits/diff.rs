//! Shows what edits change, as a unified diff that may be printed and kept.
//!
//! In: changes. Out: changed lines alone, because the neighbours of a setting are often secrets; in what is shown,
//! passwords of URLs and values of names like `token` are `***`. Secrets that Muster knows are masked besides, by whoever
//! prints or keeps it. Nothing here reads a file.

use similar::TextDiff;

use super::Change;

/// A setting whose name holds one of these has a value that nobody needs to see.
const SECRET_NAMES: [&str; 8] =
    ["password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "credential"];

pub(super) fn of(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let name = change.path.display().to_string();
        let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        text.push_str(&format!("--- {name} (backup)\n+++ {name} (this host)\n"));
        let diff = TextDiff::from_lines(&change.before, &change.after);
        for line in diff.unified_diff().context_radius(0).to_string().lines() {
            text.push_str(&covered(line));
            text.push('\n');
        }
    }
    text
}

/// Takes out of a line what looks like a secret.
fn covered(line: &str) -> String {
    let line = without_logins(line);
    let at = line.find([':', '=']).filter(|at| {
        let name = line.get(..*at).unwrap_or_default().to_lowercase().replace(['-', '.'], "_");
        SECRET_NAMES.iter().any(|secret| name.contains(secret))
    });
    match at {
        Some(at) if !line.starts_with("@@") => format!("{} ***", line.get(..=at).unwrap_or_default()),
        _ => line,
    }
}

/// Replaces the password of every `scheme://user:password@host`.
fn without_logins(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once("://") {
        text.push_str(before);
        text.push_str("://");
        let end = after.find(['/', ' ', '"', '\'']).unwrap_or(after.len());
        let (login, behind) = after.split_at(end);
        match login.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => text.push_str(&format!("{user}:***@{host}")),
            None => text.push_str(login),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_changed_lines_alone_and_no_secret_in_them() {
        let before = "key = PRIVATE\nurl = postgres://app:geheim@10.0.0.1/db\nlisten = 10.0.0.1\ndb_password: geheim2 10.0.0.1\nend\n";
        let after = before.replace("10.0.0.1", "10.0.0.9");
        let change = Change {
            entry: "0/app.conf".into(),
            path: "/etc/app/app.conf".into(),
            before: before.into(),
            after,
            places: 3,
        };
        let diff = of(&[change]);
        assert_eq!(
            diff,
            "--- /etc/app/app.conf (backup)\n+++ /etc/app/app.conf (this host)\n@@ -2,3 +2,3 @@\n\
             -url = postgres://app:***@10.0.0.1/db\n-listen = 10.0.0.1\n-db_password: ***\n\
             +url = postgres://app:***@10.0.0.9/db\n+listen = 10.0.0.9\n+db_password: ***\n"
        );
    }
}
