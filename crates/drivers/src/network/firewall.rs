//! Reads the rules of this host's firewall, as far as the rights go: `nft list ruleset`, else `iptables -S`.
//!
//! Text comes in; what drops or rejects leaves, one line each, with the chain it stands in. It never changes a rule, and it
//! judges none: whether a rule is right is a person's question.

use std::time::Duration;

use muster_types::event::Unwatched;

use super::Found;
use crate::command::{CommandError, Invocation};

/// More than this is a list and no answer.
const SHOWN_MAX: usize = 8;

/// Returns what was found, and all rules that let something not through.
pub(super) fn look(timeout: Duration) -> (Found, Vec<String>) {
    let mut reasons = Vec::new();
    for argv in [&["nft", "list", "ruleset"][..], &["iptables", "-S"]] {
        match Invocation::new(argv.iter().copied(), timeout).run(&Unwatched) {
            Ok(ended) if ended.is_success() => {
                let text = ended.stdout.text();
                let drops = drops(&text);
                return (told(argv, rules(&text), &drops), drops);
            }
            Ok(ended) => reasons.push(format!("{}: {}", argv.join(" "), ended.last_lines(1).trim())),
            Err(CommandError::NotFound { program }) => reasons.push(format!("{program} is not there")),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    let told = Found::unknown("not-readable", reasons.join("; "));
    (told.with_hint("run it as root to see the rules"), Vec::new())
}

fn told(argv: &[&str], rules: usize, drops: &[String]) -> Found {
    let of = argv.first().copied().unwrap_or_default();
    if drops.is_empty() {
        return Found::ok(format!("{rules} rules of {of}, none of them drops or rejects"));
    }
    let mut shown: Vec<String> = drops.iter().take(SHOWN_MAX).map(|rule| format!("`{rule}`")).collect();
    if drops.len() > SHOWN_MAX {
        shown.push(format!("and {} more", drops.len() - SHOWN_MAX));
    }
    Found::ok(format!("{rules} rules of {of}, not let through: {}", shown.join(", ")))
}

fn rules(text: &str) -> usize {
    text.lines().filter(|line| is_rule(line.trim())).count()
}

fn is_rule(line: &str) -> bool {
    let is_frame = line.is_empty()
        || line == "}"
        || line.starts_with('#')
        || ["table ", "chain ", "type ", "set ", "map ", "elements ", "flags ", "-P ", "-N "]
            .iter()
            .any(|word| line.starts_with(word));
    !is_frame
}

/// Every rule that drops or rejects, and every chain that does so by itself, with the chain before it.
fn drops(text: &str) -> Vec<String> {
    let mut chain = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("chain ") {
            chain = rest.trim_end_matches(['{', ' ']);
        }
        let words: Vec<&str> = line.split([' ', ';']).collect();
        let is_verdict = words.iter().any(|word| ["drop", "reject", "DROP", "REJECT"].contains(word));
        if is_verdict && !line.starts_with('#') {
            found.push(if chain.is_empty() { line.to_owned() } else { format!("{chain}: {line}") });
        }
    }
    found
}

/// Returns the first rule that may be why a port does not answer.
pub(super) fn of_port(drops: &[String], port: u16) -> Option<&String> {
    let port = port.to_string();
    let names_it = |rule: &&String| {
        let words: Vec<&str> = rule.split([' ', ',', '{', '}']).collect();
        let mut pairs =
            words.iter().enumerate().filter(|(_, word)| word.ends_with("dport") || word.ends_with("dports"));
        pairs.any(|(at, _)| words.iter().skip(at + 1).take(24).any(|word| *word == port))
    };
    let is_rest = |rule: &&String| rule.contains("policy drop") || rule.starts_with("-P ");
    drops.iter().find(names_it).or_else(|| drops.iter().find(is_rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_drop_are_found_in_the_words_of_both_programs() {
        let nft = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\
                   \t\ttcp dport 5432 drop\n\t\ttcp dport { 80, 443 } accept\n\t\tudp dport 53 reject with icmp port-unreachable\n\t}\n}\n";
        let found = drops(nft);
        assert_eq!(
            found,
            ["input: tcp dport 5432 drop", "input: udp dport 53 reject with icmp port-unreachable"]
        );
        assert_eq!(rules(nft), 3);
        assert_eq!(of_port(&found, 5432), Some(&found[0]));
        assert_eq!(of_port(&found, 5433), None);
        let iptables = "-P INPUT DROP\n-P OUTPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n\
                        -A INPUT -p tcp -m multiport --dports 80,8080 -j REJECT --reject-with tcp-reset\n";
        let found = drops(iptables);
        assert_eq!(found.len(), 2);
        assert_eq!(of_port(&found, 8080), Some(&found[1]));
        assert_eq!(of_port(&found, 9999), Some(&found[0]), "what no rule lets through is dropped");
    }
}
