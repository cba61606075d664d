//! Commands that only start another one: what they are, and where the other one begins.
//!
//! In: the words of a command. Out: a [`Layer`]: how many words belong to the wrapper, or which word holds the other
//! command as text. Options are skipped by the lists below; a wrapper whose options are not known is taken as it is.

use super::{Word, Wrapper};

/// A wrapper around another command.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) wrapper: Wrapper,
    /// Where the other command begins.
    pub(super) at: usize,
    /// The word at `at` is a whole script and not the first of the words.
    pub(super) is_text: bool,
    /// The wrapper is a command that rules want to see too.
    pub(super) is_visible: bool,
}

const NAMESPACE: [&str; 4] = ["-n", "--namespace", "--context", "--kubeconfig"];
const COMPOSE: [&str; 12] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--profile",
    "--env-file",
    "--project-directory",
    "--ansi",
    "--progress",
    "--parallel",
    "-c",
    "--context",
];
const EXEC: [&str; 12] = [
    "-e",
    "--env",
    "-u",
    "--user",
    "-w",
    "--workdir",
    "--env-file",
    "--index",
    "--detach-keys",
    "--name",
    "-v",
    "--volume",
];

/// Finds the outermost wrapper.
pub(super) fn layer(words: &[Word]) -> Option<Layer> {
    let name = words.first()?.text.as_str();
    let program = name.rsplit('/').next().unwrap_or(name);
    match program {
        "sudo" | "doas" => {
            let users = ["-u", "--user", "-iu", "-Hu", "-Eu", "-nu", "-EHu", "-HEu"];
            let user = value(words, &users).unwrap_or("root").to_owned();
            let valued = ["-g", "--group", "-h", "-p", "-C", "-D"];
            let at = skip(words, 1, &[users.as_slice(), valued.as_slice()].concat())?;
            hidden(words, Wrapper::User(user), variables(words, at)?)
        }
        "env" => {
            let at = skip(words, 1, &["-u", "--unset", "-C", "--chdir"])?;
            hidden(words, Wrapper::Other, variables(words, at)?)
        }
        "nohup" | "command" | "exec" | "stdbuf" | "setsid" | "chronic" | "builtin" | "eatmydata" => {
            hidden(words, Wrapper::Other, skip(words, 1, &["-i", "-o", "-e"])?)
        }
        "time" | "ionice" | "nice" | "chrt" => {
            hidden(words, Wrapper::Other, skip(words, 1, &["-n", "-c", "-f", "-o"])?)
        }
        "timeout" => hidden(words, Wrapper::Deadline, skip(words, 1, &["-s", "-k"])? + 1),
        "xargs" => {
            let valued = ["-n", "-I", "-P", "-d", "-L", "-a", "-s", "-E", "--max-args", "--max-procs"];
            hidden(words, Wrapper::Xargs, skip(words, 1, &valued)?)
        }
        "watch" => {
            let at = skip(words, 1, &["-n", "--interval"])?;
            let is_text = words.get(at)?.text.contains(' ');
            Some(Layer { wrapper: Wrapper::Other, at, is_text, is_visible: false })
        }
        "flock" => {
            let at = skip(words, 1, &["-w", "--timeout", "-E"])? + 1;
            let is_text = words.get(at).is_some_and(|word| word.text == "-c");
            Some(Layer { wrapper: Wrapper::Other, at: at + usize::from(is_text), is_text, is_visible: false })
        }
        "gosu" | "su-exec" => hidden(words, Wrapper::User(words.get(1)?.text.clone()), 2),
        "su" | "runuser" => as_user(words),
        "setpriv" => {
            let at = words.iter().skip(1).position(|word| !word.text.starts_with('-'))? + 1;
            hidden(words, Wrapper::Other, at)
        }
        "bash" | "sh" | "zsh" | "dash" | "ash" => {
            let at = words.iter().position(|word| is_command_option(&word.text))? + 1;
            words.get(at)?;
            Some(Layer { wrapper: Wrapper::Other, at, is_text: true, is_visible: false })
        }
        "ssh" => over_ssh(words),
        "kubectl" | "oc" | "k3s" | "microk8s" => in_pod(words, program),
        "docker" | "podman" | "nerdctl" => {
            let at = skip(words, 1, &["-H", "--host", "-c", "--context", "--config", "-l", "--log-level"])?;
            match words.get(at)?.text.as_str() {
                "compose" => in_service(words, at + 1),
                "container" if words.get(at + 1)?.text == "exec" => in_container(words, at + 2),
                "exec" => in_container(words, at + 1),
                _ => None,
            }
        }
        "docker-compose" | "podman-compose" => in_service(words, 1),
        _ => None,
    }
}

fn hidden(words: &[Word], wrapper: Wrapper, at: usize) -> Option<Layer> {
    words.get(at)?;
    Some(Layer { wrapper, at, is_text: false, is_visible: false })
}

fn is_command_option(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|letters| letters.ends_with('c') && letters.chars().all(|one| one.is_ascii_alphabetic()))
}

fn as_user(words: &[Word]) -> Option<Layer> {
    let command = words.iter().position(|word| word.text == "-c" || word.text == "--command");
    let separator = words.iter().position(|word| word.text == "--");
    let user = value(words, &["-u"]).map(str::to_owned).or_else(|| {
        let named = words.iter().skip(1).find(|word| !word.text.starts_with('-'));
        named.map(|word| word.text.clone())
    });
    let wrapper = Wrapper::User(user.unwrap_or_else(|| "root".into()));
    match (command, separator) {
        (Some(at), _) => {
            words.get(at + 1)?;
            Some(Layer { wrapper, at: at + 1, is_text: true, is_visible: false })
        }
        (None, Some(at)) => hidden(words, wrapper, at + 1),
        (None, None) => None,
    }
}

fn over_ssh(words: &[Word]) -> Option<Layer> {
    let valued = ["-i", "-p", "-o", "-l", "-L", "-R", "-D", "-F", "-J", "-b", "-c", "-E", "-m", "-S", "-W"];
    let host = skip(words, 1, &valued)?;
    let wrapper = Wrapper::Host(words.get(host)?.text.clone());
    let at = host + 1;
    let is_text = words.len() == at + 1 && words.get(at)?.text.contains([' ', '\n']);
    words.get(at)?;
    Some(Layer { wrapper, at, is_text, is_visible: true })
}

fn in_pod(words: &[Word], program: &str) -> Option<Layer> {
    let start = if matches!(program, "k3s" | "microk8s") && words.get(1)?.text == "kubectl" { 2 } else { 1 };
    let verb = skip(words, start, &NAMESPACE)?;
    if words.get(verb)?.text != "exec" {
        return None;
    }
    let valued = ["-n", "--namespace", "--context", "--kubeconfig", "-c", "--container", "-f", "--filename"];
    let pod = skip(words, verb + 1, &valued)?;
    let at = words.iter().position(|word| word.text == "--")? + 1;
    words.get(at)?;
    let name = words.get(pod).map_or_else(String::new, |word| word.text.clone());
    Some(Layer { wrapper: Wrapper::Pod(name), at, is_text: false, is_visible: true })
}

fn in_service(words: &[Word], from: usize) -> Option<Layer> {
    let verb = skip(words, from, &COMPOSE)?;
    if !matches!(words.get(verb)?.text.as_str(), "exec" | "run") {
        return None;
    }
    in_container(words, verb + 1)
}

fn in_container(words: &[Word], from: usize) -> Option<Layer> {
    let name = skip(words, from, &EXEC)?;
    words.get(name + 1)?;
    let wrapper = Wrapper::Container(words.get(name)?.text.clone());
    Some(Layer { wrapper, at: name + 1, is_text: false, is_visible: true })
}

/// Skips options from a place on; `valued` take the next word.
fn skip(words: &[Word], from: usize, valued: &[&str]) -> Option<usize> {
    let mut at = from;
    while let Some(word) = words.get(at) {
        let text = word.text.as_str();
        if text == "--" {
            return Some(at + 1);
        }
        if !text.starts_with('-') || text == "-" {
            return Some(at);
        }
        at += if valued.contains(&text) { 2 } else { 1 };
    }
    None
}

/// Skips `NAME=value` words.
fn variables(words: &[Word], from: usize) -> Option<usize> {
    let rest = words.get(from..)?;
    let count = rest.iter().take_while(|word| is_assignment(&word.text)).count();
    Some(from + count)
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
    })
}

fn value<'a>(words: &'a [Word], names: &[&str]) -> Option<&'a str> {
    let at = words.iter().position(|word| names.contains(&word.text.as_str()))?;
    words.get(at + 1).map(|word| word.text.as_str())
}
