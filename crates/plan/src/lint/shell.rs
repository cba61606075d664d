//! Shell text as commands that rules can ask: program, arguments, options, pipelines, redirections, assignments.
//!
//! In: a piece of shell text and where it stands in its file. Out: a [`Script`] with every [`Call`] in the order of the
//! text, those in functions, loops, substitutions and behind `docker exec`, `kubectl exec`, `ssh`, `sudo`, `xargs` and
//! `bash -c` among them; lines and columns are those of the file.
//!
//! Nothing is ever run or expanded, and text that is no shell is not an error: what can be read is read, and the lines
//! that cannot are in [`Script::unparsed`]. Parsing is done by `brush-parser` (docs/decisions/0012-shell-parser.md).
//!
//! Read next: [`walk`] for the tree of the parser, [`wrappers`] for what is unwrapped, [`recover`] for broken text.

mod recover;
mod walk;
mod words;
mod wrappers;

pub(crate) use recover::cron_line;

/// Where a piece of text begins in its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Line of its first line, from 1.
    pub line: usize,
    /// Characters that were cut from the left of each of its lines.
    pub indent: usize,
}

/// One word of a command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Word {
    /// As it stands in the text.
    pub raw: String,
    /// Without quotes; expansions stand in it as they are written, placeholders such as `<pod>` too.
    pub text: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column of its first character, from 1.
    pub column: usize,
    /// Whether a part of it is quoted.
    pub is_quoted: bool,
    /// Whether the shell expands it as a pattern of file names.
    pub is_glob: bool,
    /// Whether a part of it comes from a variable or a substitution.
    pub is_dynamic: bool,
    /// The commands of its substitutions: the first and the number behind the last in [`Script::calls`].
    pub substitutions: Vec<(usize, usize)>,
}

/// What a redirection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// `<`
    Read,
    /// `>`, `>|` and `&>`: what stood there is gone before the command begins.
    Truncate,
    /// `>>`
    Append,
    /// `<<` and `<<<`; the text is the target.
    Text,
}

/// A redirection to or from a file, or a here-document.
#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    pub kind: RedirectKind,
    /// The descriptor, if it is named.
    pub descriptor: Option<i32>,
    pub target: Word,
}

/// Through what a command reaches the place where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrapper {
    /// `docker exec NAME`, `podman exec NAME`, `docker compose exec SERVICE`.
    Container(String),
    /// `kubectl exec POD`.
    Pod(String),
    /// `ssh HOST`.
    Host(String),
    /// `sudo -u USER`, `su`, `gosu`, …; `root` where no user is named.
    User(String),
    /// `timeout`: it ends by itself.
    Deadline,
    /// `xargs`: words are added to it.
    Xargs,
    /// Anything else that only starts a program: `env`, `nice`, `time`.
    Other,
}

/// What stands before a command in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// It begins a list.
    First,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// The surroundings of a command.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that the text shows or does not"
)]
pub(crate) struct Context {
    /// It decides an `if`, `while` or `until`.
    pub is_condition: bool,
    /// It is repeated.
    pub is_in_loop: bool,
    /// It stands in `$(…)`, `` `…` `` or `<(…)`.
    pub is_substituted: bool,
    /// It stands behind `!`.
    pub is_negated: bool,
    /// Somebody asks for its exit status: it is followed by `&&` or `||`.
    pub is_followed: bool,
    /// What follows it on `||` cannot fail: `|| true`.
    pub is_excused: bool,
    /// The function in which it stands.
    pub function: Option<String>,
    /// It was taken from a comment such as `# Or: …`.
    pub is_alternative: bool,
}

/// One command.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The program and its arguments; wrappers are taken off. Never empty.
    pub words: Vec<Word>,
    pub wrappers: Vec<Wrapper>,
    /// Assignments before it.
    pub variables: Vec<(String, Word)>,
    pub redirects: Vec<Redirect>,
    /// Number of its pipeline in the script.
    pub pipeline: usize,
    /// Its place in the pipeline, from 0.
    pub stage: usize,
    /// How many stages the pipeline has.
    pub stages: usize,
    pub joint: Joint,
    pub context: Context,
    /// Last line that it reaches.
    pub line_end: usize,
}

/// A variable that gets a value.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub name: String,
    /// Empty for `read`, `for` and `export NAME`.
    pub value: Word,
}

/// A variable whose value is needed.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub name: String,
    pub line: usize,
    pub column: usize,
    /// `${NAME:-…}`, `${NAME:?…}`: it may be unset.
    pub is_guarded: bool,
}

/// A line of a crontab.
#[derive(Debug, Clone)]
pub(crate) struct CronLine {
    pub schedule: String,
    pub command: String,
    pub line: usize,
    pub column: usize,
}

/// All that a piece of shell text says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub calls: Vec<Call>,
    pub assignments: Vec<Assignment>,
    pub uses: Vec<Use>,
    pub crons: Vec<CronLine>,
    /// Lines that are no shell.
    pub unparsed: Vec<usize>,
    /// Names of functions that it defines.
    pub functions: Vec<String>,
    /// It ends at the first failure (`set -e`).
    pub has_errexit: bool,
    /// A pipeline fails when any part of it fails (`set -o pipefail`).
    pub has_pipefail: bool,
}

/// Reads shell text.
pub(crate) fn read(text: &str, origin: Origin) -> Script {
    recover::read(text, origin)
}

impl Call {
    /// The program's name without its folder.
    pub(crate) fn program(&self) -> &str {
        let name = self.words.first().map_or("", |word| word.text.as_str());
        name.rsplit('/').next().unwrap_or(name)
    }

    /// The words behind the program.
    pub(crate) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// First line in the file.
    pub(crate) fn line(&self) -> usize {
        self.words.first().map_or(0, |word| word.line)
    }

    /// Whether an option stands there: a long one also as `--name=value`, a short letter also in a bundle (`-rf`).
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.arguments().iter().take_while(|word| word.text != "--").any(|word| {
            names.iter().any(|name| {
                let text = word.text.as_str();
                text == *name
                    || text.strip_prefix(name).is_some_and(|rest| name.len() > 2 && rest.starts_with('='))
                    || is_bundled(text, name)
            })
        })
    }

    /// Whether a word stands there, option or not.
    pub(crate) fn has_word(&self, text: &str) -> bool {
        self.arguments().iter().any(|word| word.text == text)
    }

    /// The value of an option: `--name value`, `--name=value`, `-nvalue` or `-n value`.
    pub(crate) fn option(&self, names: &[&str]) -> Option<&str> {
        let words = self.arguments();
        for (index, word) in words.iter().enumerate() {
            for name in names {
                let text = word.text.as_str();
                if text == *name {
                    return words.get(index + 1).map(|next| next.text.as_str());
                }
                let rest = text.strip_prefix(name).filter(|rest| !rest.is_empty());
                match rest {
                    Some(rest) if name.starts_with("--") => {
                        if let Some(value) = rest.strip_prefix('=') {
                            return Some(value);
                        }
                    }
                    Some(rest) if name.len() == 2 => return Some(rest.strip_prefix('=').unwrap_or(rest)),
                    _ => {}
                }
            }
        }
        None
    }

    /// All values of an option that may be repeated.
    pub(crate) fn options(&self, names: &[&str]) -> Vec<&str> {
        let words = self.arguments();
        let mut values = Vec::new();
        for (index, word) in words.iter().enumerate() {
            for name in names {
                if word.text == *name {
                    values.extend(words.get(index + 1).map(|next| next.text.as_str()));
                } else if let Some(rest) = word.text.strip_prefix(name).filter(|_| name.starts_with("--")) {
                    values.extend(rest.strip_prefix('='));
                }
            }
        }
        values
    }

    /// The arguments that are no options; `valued` are the options that take the next word.
    pub(crate) fn plain(&self, valued: &[&str]) -> Vec<&Word> {
        let mut found = Vec::new();
        let mut words = self.arguments().iter();
        while let Some(word) = words.next() {
            let text = word.text.as_str();
            if text == "--" {
                found.extend(words);
                break;
            }
            if valued.contains(&text) {
                words.next();
            } else if !text.starts_with('-') || text == "-" {
                found.push(word);
            }
        }
        found
    }

    /// Whether its output goes to another command.
    pub(crate) fn is_piped(&self) -> bool {
        self.stage + 1 < self.stages
    }

    /// Whether an argument or a text that it reads contains a word, whatever its case.
    pub(crate) fn says(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.words.iter().any(|word| word.text.to_ascii_lowercase().contains(&text))
            || self.redirects.iter().any(|one| {
                one.kind == RedirectKind::Text && one.target.text.to_ascii_lowercase().contains(&text)
            })
    }

    /// The names of the user, container, pod or host through which it runs.
    pub(crate) fn container(&self) -> Option<&str> {
        self.wrappers.iter().find_map(|wrapper| match wrapper {
            Wrapper::Container(name) | Wrapper::Pod(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Script {
    /// The calls of one pipeline, in order.
    pub(crate) fn pipeline(&self, number: usize) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.pipeline == number)
    }

    /// The calls that read what this one writes.
    pub(crate) fn readers<'a>(&'a self, call: &'a Call) -> impl Iterator<Item = &'a Call> {
        self.pipeline(call.pipeline).filter(|other| other.stage > call.stage)
    }

    /// The calls whose output this one reads.
    pub(crate) fn writers<'a>(&'a self, call: &'a Call) -> impl Iterator<Item = &'a Call> {
        self.pipeline(call.pipeline).filter(|other| other.stage < call.stage)
    }

    /// The commands in the substitutions of a word.
    pub(crate) fn inside<'a>(&'a self, word: &'a Word) -> impl Iterator<Item = &'a Call> {
        word.substitutions.iter().flat_map(|(from, to)| self.calls.get(*from..*to).unwrap_or_default())
    }
}

/// Whether a short option stands among others in one word, `-rf`.
fn is_bundled(text: &str, name: &str) -> bool {
    let (Some(letters), Some(letter)) = (text.strip_prefix('-'), name.strip_prefix('-')) else {
        return false;
    };
    letter.len() == 1
        && !letters.starts_with('-')
        && letters.len() <= 6
        && letters.chars().all(|one| one.is_ascii_alphabetic())
        && letters.contains(letter)
}
