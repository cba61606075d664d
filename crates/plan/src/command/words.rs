//! Takes a statement apart: simple commands with their words, what they read and what they write.
//!
//! Text comes in; [`Command`]s leave in order. Quotes are removed from words. Prefixes that only say where or as whom
//! something runs are taken off, so that what is left is the program that acts.

/// A simple command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// The body of a here document.
    pub(super) body: Option<String>,
    /// Whether it reads a pipe or a file as its input.
    pub(super) reads: bool,
    /// The files that it writes by redirection.
    pub(super) writes: Vec<String>,
}

/// Deeper strings in strings (`bash -c "ssh x 'su -c …'"`) are not looked into.
const DEPTH_MAX: usize = 4;

/// Returns the simple commands of a statement.
pub(super) fn simple_commands(statement: &str) -> Vec<Command> {
    commands(statement, 0)
}

fn commands(statement: &str, depth: usize) -> Vec<Command> {
    let (text, bodies) = cut_bodies(statement);
    let mut bodies = bodies.into_iter();
    let mut found = Vec::new();
    for mut command in tokens(&text) {
        if command.body.is_some() {
            command.body = bodies.next().or(command.body);
        }
        strip(&mut command);
        let inner = inner_script(&command.words);
        match inner {
            Some(script) if depth < DEPTH_MAX => found.extend(commands(&script, depth + 1)),
            _ if command.words.is_empty() && command.writes.is_empty() => {}
            _ => found.push(command),
        }
    }
    found
}

/// Takes the bodies of here documents out.
fn cut_bodies(statement: &str) -> (String, Vec<String>) {
    let (mut text, mut bodies) = (String::new(), Vec::new());
    let mut lines = statement.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let Some((_, rest)) = line.split_once("<<").filter(|(_, rest)| !rest.starts_with('<')) else {
            continue;
        };
        let mark: String = rest
            .trim_start_matches('-')
            .trim_start()
            .chars()
            .take_while(|c| !c.is_whitespace() && !matches!(c, ';' | '|' | '&' | '>' | ')'))
            .filter(|c| !matches!(c, '\'' | '"' | '\\'))
            .collect();
        if mark.is_empty() || mark.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != mark).collect();
        bodies.push(body.join("\n"));
    }
    (text, bodies)
}

/// Splits into commands at `|`, `&&`, `||`, `;`, line ends and parentheses outside of quotes.
fn tokens(text: &str) -> Vec<Command> {
    let mut found = vec![Command::default()];
    let mut word: Option<String> = None;
    let mut target = Target::Word;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            '\'' => word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => word.extend(chars.next()),
                        _ => word.push(c),
                    }
                }
            }
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '<' if chars.peek() == Some(&'<') => {
                while chars.next_if(|c| matches!(c, '<' | '-' | ' ' | '\'' | '"')).is_some() {}
                while chars.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
                chars.next_if(|c| matches!(c, '\'' | '"'));
                if let Some(command) = found.last_mut() {
                    command.body = Some(String::new());
                }
            }
            '<' | '>'
                if word.as_deref().is_none_or(|word| !word.starts_with('<'))
                    && !is_placeholder(c, &chars) =>
            {
                // `2>` is no word.
                if word
                    .as_deref()
                    .is_some_and(|word| word.len() == 1 && word.starts_with(|c: char| c.is_ascii_digit()))
                {
                    word = None;
                }
                end_word(&mut found, &mut word, &mut target);
                chars.next_if(|c| matches!(c, '>' | '|'));
                target = if c == '<' { Target::Input } else { Target::Output };
                if chars.next_if_eq(&'&').is_some() {
                    while chars.next_if(char::is_ascii_digit).is_some() {}
                    target = Target::Word;
                }
            }
            ' ' | '\t' => end_word(&mut found, &mut word, &mut target),
            '|' | ';' | '&' | '\n' | '(' | ')' | '`' => {
                end_word(&mut found, &mut word, &mut target);
                let is_pipe = c == '|' && chars.peek() != Some(&'|');
                chars.next_if(|next| *next == c && c != '\n');
                found.push(Command { reads: is_pipe, ..Command::default() });
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut found, &mut word, &mut target);
    found
}

/// `<pod-name>` is a word to fill in, not a file to read from.
fn is_placeholder(c: char, rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    if c == '>' {
        return false;
    }
    let mut rest = rest.clone();
    let mut length = 0;
    loop {
        match rest.next() {
            Some('>') => return length > 0,
            Some(c) if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') => length += 1,
            _ => return false,
        }
    }
}

enum Target {
    Word,
    Input,
    Output,
}

fn end_word(found: &mut [Command], word: &mut Option<String>, target: &mut Target) {
    let (Some(word), Some(command)) = (word.take(), found.last_mut()) else { return };
    match target {
        Target::Word => command.words.push(word),
        Target::Input => command.reads = true,
        Target::Output if word == "/dev/null" => {}
        Target::Output => command.writes.push(word),
    }
    *target = Target::Word;
}

/// Takes off what only says where, as whom or when.
fn strip(command: &mut Command) {
    loop {
        let words = &command.words;
        let Some(first) = words.first() else { return };
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let count = match first.as_str() {
            "sudo" | "nohup" | "time" | "env" | "command" | "exec" | "nice" => {
                1 + options(words, 1, &["-u", "-g", "-n"])
            }
            "then" | "do" | "else" | "if" | "elif" | "while" | "until" | "!" | "{" | "}" | "$" => 1,
            "timeout" => 2,
            "xargs" => 1 + options(words, 1, &["-n", "-I", "-P", "-L", "-d", "-a"]),
            "docker" | "podman" if word(1) == "exec" => {
                let at = 2 + options(words, 2, &["-u", "--user", "-e", "--env", "-w", "--workdir"]);
                at + 1
            }
            "docker" | "podman" if word(1) == "compose" => {
                let at = 2 + options(words, 2, &["-f", "--file", "-p", "--project-name", "--env-file"]);
                if !matches!(word(at), "exec") {
                    return;
                }
                at + 2
                    + options(words, at + 1, &["-u", "--user", "-e", "--env", "-w", "--workdir", "--index"])
            }
            "docker-compose" => {
                let at = 1 + options(words, 1, &["-f", "--file", "-p", "--project-name", "--env-file"]);
                if word(at) != "exec" {
                    return;
                }
                at + 2
                    + options(words, at + 1, &["-u", "--user", "-e", "--env", "-w", "--workdir", "--index"])
            }
            "kubectl" if words.iter().take(6).any(|word| word == "exec") => {
                match words.iter().position(|word| word == "--") {
                    Some(at) => at + 1,
                    None => return,
                }
            }
            "ssh" => {
                let at = 1 + options(words, 1, &["-i", "-p", "-o", "-l", "-J"]);
                if words.len() <= at + 1 {
                    return;
                }
                at + 1
            }
            name if is_assignment(name) => 1,
            _ => return,
        };
        command.words.drain(..count.clamp(1, command.words.len()));
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// How many words from `at` on are options; those of `with_value` take the next word too.
fn options(words: &[String], at: usize, with_value: &[&str]) -> usize {
    let mut count = 0;
    while let Some(word) = words.get(at + count) {
        if !word.starts_with('-') || word == "--" {
            break;
        }
        count += if with_value.contains(&word.as_str()) { 2 } else { 1 };
    }
    count
}

/// Returns the script of `bash -c "…"`, `su -c "…"`, and of `ssh host "…"` when it is one word with blanks.
fn inner_script(words: &[String]) -> Option<String> {
    let first = words.first()?;
    match first.as_str() {
        "bash" | "sh" | "su" | "zsh" | "/bin/sh" | "/bin/bash" => {
            let at = words.iter().position(|word| word == "-c" || word == "-lc")?;
            words.get(at + 1).cloned()
        }
        "watch" => Some(
            words.iter().skip(1).filter(|word| !word.starts_with('-')).cloned().collect::<Vec<_>>().join(" "),
        ),
        _ if words.len() == 1 && first.contains(' ') => Some(first.clone()),
        _ => None,
    }
}
