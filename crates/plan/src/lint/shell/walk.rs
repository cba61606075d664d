//! From the parser's tree to a flat list of commands with their surroundings.
//!
//! It is one thing, a walk over one tree. In: the tree of a whole text or of one substitution. Out: more calls in a [`Script`]. Nesting is followed
//! [`DEPTH`] levels deep; what lies deeper is left out.

use brush_parser::{
    Parser, ParserOptions,
    ast::{
        AndOr, AndOrList, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem,
        CompoundCommand, CompoundList, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect, Pipeline,
        Program, SimpleCommand, SubshellCommand,
    },
};

use super::{
    Assignment, Call, Context, Joint, Redirect, RedirectKind, Script, Use, Word, Wrapper, words, wrappers,
};

/// How deep substitutions, `bash -c` and the like are followed: a person cannot read deeper ones either.
const DEPTH: usize = 6;

/// Where a text begins in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) line: usize,
    /// Added to the columns of the first line.
    pub(super) lead: usize,
    /// Added to the columns of the others.
    pub(super) indent: usize,
}

/// The place of a command in pipelines and lists.
#[derive(Debug, Clone, Copy)]
struct Seat {
    pipeline: usize,
    stage: usize,
    stages: usize,
    joint: Joint,
}

/// Adds the commands of trees to a script.
pub(super) struct Walker {
    pub(super) script: Script,
    options: ParserOptions,
    frame: Frame,
    context: Context,
    wrappers: Vec<Wrapper>,
    pipelines: usize,
    depth: usize,
    /// Where a script of a single command sits, when it is the text of a command.
    seat: Option<Seat>,
}

impl Walker {
    pub(super) fn new(frame: Frame) -> Self {
        Self {
            script: Script::default(),
            options: ParserOptions::default(),
            frame,
            context: Context::default(),
            wrappers: Vec::new(),
            pipelines: 0,
            depth: 0,
            seat: None,
        }
    }

    /// Goes on with text that stands elsewhere in the same file.
    pub(super) fn set_frame(&mut self, frame: Frame) {
        self.frame = frame;
    }

    /// Adds the commands of a tree.
    pub(super) fn program(&mut self, program: &Program) {
        program.complete_commands.iter().for_each(|list| self.list(list));
    }

    /// Marks what follows as taken from a comment.
    pub(super) fn set_alternative(&mut self, is_alternative: bool) {
        self.context.is_alternative = is_alternative;
    }

    fn list(&mut self, list: &CompoundList) {
        for item in &list.0 {
            self.and_or(&item.0);
        }
    }

    fn and_or(&mut self, list: &AndOrList) {
        let mut items: Vec<(Joint, &Pipeline)> = vec![(Joint::First, &list.first)];
        items.extend(list.additional.iter().map(|item| match item {
            AndOr::And(pipeline) => (Joint::And, pipeline),
            AndOr::Or(pipeline) => (Joint::Or, pipeline),
        }));
        let before = self.context.clone();
        for (index, (joint, pipeline)) in items.iter().enumerate() {
            let next = items.get(index + 1);
            self.context.is_followed = before.is_followed || next.is_some();
            self.context.is_excused = before.is_excused
                || items.iter().skip(index + 1).any(|(joint, next)| *joint == Joint::Or && is_true(next));
            self.pipeline(pipeline, *joint);
        }
        self.context = before;
    }

    fn pipeline(&mut self, pipeline: &Pipeline, joint: Joint) {
        let before = self.context.is_negated;
        self.context.is_negated |= pipeline.bang;
        self.pipelines += 1;
        let stages = pipeline.seq.len();
        let (number, given) = (self.pipelines, self.seat.take());
        for (stage, command) in pipeline.seq.iter().enumerate() {
            let own = Seat { pipeline: number, stage, stages, joint };
            let seat = given.filter(|_| stages == 1).unwrap_or(own);
            self.command(command, seat);
        }
        self.context.is_negated = before;
    }

    fn command(&mut self, command: &Command, seat: Seat) {
        match command {
            Command::Simple(simple) => self.simple(simple, seat),
            Command::Compound(compound, redirects) => {
                self.compound(compound, seat);
                for one in redirects.iter().flat_map(|list| &list.0) {
                    self.redirect(one);
                }
            }
            Command::Function(function) => {
                let name = function.fname.value.clone();
                self.script.functions.push(name.clone());
                let before = self.context.function.replace(name);
                self.compound(&function.body.0, seat);
                self.context.function = before;
            }
            Command::ExtendedTest(test, _) => self.text_uses(&test.expr.to_string(), test.loc.start.line),
        }
    }

    fn compound(&mut self, compound: &CompoundCommand, seat: Seat) {
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(shell) => self.list(&shell.list),
            CompoundCommand::ForClause(clause) => {
                for value in clause.values.iter().flatten() {
                    self.word(value);
                }
                let name = clause.variable_name.clone();
                self.script.assignments.push(Assignment { name, value: Word::default() });
                self.within(|context| context.is_in_loop = true, |this| this.list(&clause.body.list));
            }
            CompoundCommand::ArithmeticForClause(clause) => {
                self.within(|context| context.is_in_loop = true, |this| this.list(&clause.body.list));
            }
            CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value);
                clause.cases.iter().filter_map(|case| case.cmd.as_ref()).for_each(|list| self.list(list));
            }
            CompoundCommand::IfClause(clause) => {
                self.within(|context| context.is_condition = true, |this| this.list(&clause.condition));
                self.list(&clause.then);
                for part in clause.elses.iter().flatten() {
                    if let Some(condition) = &part.condition {
                        self.within(|context| context.is_condition = true, |this| this.list(condition));
                    }
                    self.list(&part.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                let decide = |context: &mut Context| {
                    context.is_condition = true;
                    context.is_in_loop = true;
                };
                self.within(decide, |this| this.list(&clause.0));
                self.within(|context| context.is_in_loop = true, |this| this.list(&clause.1.list));
            }
            CompoundCommand::Coprocess(process) => self.command(&process.body, seat),
            CompoundCommand::Arithmetic(_) => {}
        }
    }

    fn within(&mut self, change: impl FnOnce(&mut Context), walk: impl FnOnce(&mut Self)) {
        let before = self.context.clone();
        change(&mut self.context);
        walk(self);
        self.context = before;
    }

    fn simple(&mut self, simple: &SimpleCommand, seat: Seat) {
        let (mut words, mut variables, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        for item in prefix {
            self.item(item, &mut words, &mut variables, &mut redirects);
        }
        if let Some(name) = &simple.word_or_name {
            words.push(self.word(name));
        }
        let own = variables.len();
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut words, &mut variables, &mut redirects);
        }
        let program = words.first().map(|word| word.text.clone()).unwrap_or_default();
        let is_declaration =
            matches!(program.as_str(), "export" | "local" | "declare" | "readonly" | "typeset");
        if words.is_empty() || is_declaration {
            for (name, value) in variables.drain(..) {
                self.script.assignments.push(Assignment { name, value });
            }
        } else {
            // `NAME=value` behind the program is an ordinary argument.
            variables.truncate(own);
        }
        if words.is_empty() {
            return;
        }
        self.declare(&program, &words);
        self.layers(words, variables, redirects, seat);
    }

    /// Notes what a builtin does to variables and options.
    fn declare(&mut self, program: &str, words: &[Word]) {
        let arguments = words.get(1..).unwrap_or_default();
        match program {
            "export" | "local" | "declare" | "readonly" | "typeset" | "read" | "mapfile" | "readarray"
            | "getopts" | "unset" => {
                for word in
                    arguments.iter().filter(|word| !word.text.starts_with('-') && !word.text.contains('='))
                {
                    self.script
                        .assignments
                        .push(Assignment { name: word.text.clone(), value: Word::default() });
                }
            }
            "set" => {
                let is_short = |word: &Word, letter| {
                    word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains(letter)
                };
                self.script.has_errexit |=
                    arguments.iter().any(|word| is_short(word, 'e') || word.text == "errexit");
                self.script.has_pipefail |= arguments.iter().any(|word| word.text == "pipefail");
            }
            _ => {}
        }
    }

    /// Takes wrappers off, one by one; a wrapper that is a command of its own is kept as a call.
    fn layers(
        &mut self,
        mut words: Vec<Word>,
        variables: Vec<(String, Word)>,
        redirects: Vec<Redirect>,
        seat: Seat,
    ) {
        let outer = self.wrappers.len();
        while let Some(layer) = wrappers::layer(&words) {
            if layer.is_visible {
                self.call(words.clone(), variables.clone(), redirects.clone(), seat);
            }
            self.wrappers.push(layer.wrapper);
            if layer.is_text {
                if let Some(word) = words.get(layer.at) {
                    let text = word.text.clone();
                    let lead = usize::from(word.is_quoted);
                    let frame =
                        Frame { line: word.line, lead: word.column - 1 + lead, indent: self.frame.indent };
                    let first = self.script.calls.len();
                    self.nested(&text, frame, Some(seat));
                    // What the wrapper reads, the first command of its text reads.
                    let reads = redirects
                        .iter()
                        .filter(|one| matches!(one.kind, RedirectKind::Read | RedirectKind::Text));
                    if let Some(call) = self.script.calls.get_mut(first) {
                        call.redirects.extend(reads.cloned());
                    }
                }
                self.wrappers.truncate(outer);
                return;
            }
            words = words.split_off(layer.at.min(words.len()));
        }
        self.here_script(&words, &redirects, seat);
        if !words.is_empty() {
            self.call(words, variables, redirects, seat);
        }
        self.wrappers.truncate(outer);
    }

    /// A here-document that a shell reads is a script.
    fn here_script(&mut self, words: &[Word], redirects: &[Redirect], seat: Seat) {
        let program = words.first().map_or("", |word| word.text.as_str());
        let is_shell = matches!(program, "bash" | "sh" | "zsh" | "dash" | "ash" | "ssh");
        let texts: Vec<_> =
            redirects.iter().filter(|one| is_shell && one.kind == RedirectKind::Text).collect();
        for text in texts {
            let before = self.wrappers.len();
            if program == "ssh" {
                self.wrappers
                    .push(Wrapper::Host(words.last().map_or_else(String::new, |word| word.text.clone())));
            }
            let frame = Frame { line: text.target.line, lead: self.frame.indent, indent: self.frame.indent };
            self.nested(&text.target.raw.clone(), frame, Some(seat));
            self.wrappers.truncate(before);
        }
    }

    fn call(
        &mut self,
        words: Vec<Word>,
        variables: Vec<(String, Word)>,
        redirects: Vec<Redirect>,
        seat: Seat,
    ) {
        let ends = words.iter().map(|word| word.line + word.raw.matches('\n').count());
        let bodies = redirects.iter().map(|one| one.target.line + one.target.raw.matches('\n').count());
        self.script.calls.push(Call {
            line_end: ends.chain(bodies).max().unwrap_or(0),
            words,
            wrappers: self.wrappers.clone(),
            variables,
            redirects,
            pipeline: seat.pipeline,
            stage: seat.stage,
            stages: seat.stages,
            joint: seat.joint,
            context: self.context.clone(),
        });
    }

    fn item(
        &mut self,
        item: &CommandPrefixOrSuffixItem,
        words: &mut Vec<Word>,
        variables: &mut Vec<(String, Word)>,
        redirects: &mut Vec<Redirect>,
    ) {
        match item {
            CommandPrefixOrSuffixItem::Word(word) => words.push(self.word(word)),
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => redirects.extend(self.redirect(redirect)),
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, shell) => self.process(shell),
            CommandPrefixOrSuffixItem::AssignmentWord(assignment, whole) => {
                let (AssignmentName::VariableName(name) | AssignmentName::ArrayElementName(name, _)) =
                    &assignment.name;
                let line = self.frame.line + assignment.loc.start.line - 1;
                let lead = name.chars().count() + 1 + usize::from(assignment.append);
                let value = match &assignment.value {
                    AssignmentValue::Scalar(word) => {
                        let column =
                            self.column(assignment.loc.start.line, assignment.loc.start.column) + lead;
                        self.word_at(word, line, column)
                    }
                    AssignmentValue::Array(values) => {
                        let mut all = Word { line, ..Word::default() };
                        for (_, word) in values {
                            let word = self.word(word);
                            all.text.push_str(&word.text);
                            all.is_dynamic |= word.is_dynamic;
                            all.substitutions.extend(word.substitutions);
                        }
                        all
                    }
                };
                let value = Word { line, ..value };
                if !words.is_empty() {
                    // Behind a program it may be an argument such as `dd of=…`.
                    let column = self.column(assignment.loc.start.line, assignment.loc.start.column);
                    let text = format!("{name}={}", value.text);
                    words.push(Word { raw: whole.value.clone(), text, column, ..value.clone() });
                }
                variables.push((name.clone(), value));
            }
        }
    }

    fn process(&mut self, shell: &SubshellCommand) {
        self.within(|context| context.is_substituted = true, |this| this.list(&shell.list));
    }

    fn redirect(&mut self, redirect: &IoRedirect) -> Option<Redirect> {
        match redirect {
            IoRedirect::File(descriptor, kind, target) => {
                let kind = match kind {
                    IoFileRedirectKind::Read | IoFileRedirectKind::ReadAndWrite => RedirectKind::Read,
                    IoFileRedirectKind::Write | IoFileRedirectKind::Clobber => RedirectKind::Truncate,
                    IoFileRedirectKind::Append => RedirectKind::Append,
                    IoFileRedirectKind::DuplicateInput | IoFileRedirectKind::DuplicateOutput => return None,
                };
                match target {
                    IoFileRedirectTarget::Filename(word) => {
                        Some(Redirect { kind, descriptor: *descriptor, target: self.word(word) })
                    }
                    IoFileRedirectTarget::ProcessSubstitution(_, shell) => {
                        self.process(shell);
                        None
                    }
                    IoFileRedirectTarget::Fd(_) | IoFileRedirectTarget::Duplicate(_) => None,
                }
            }
            IoRedirect::OutputAndError(word, append) => {
                let kind = if *append { RedirectKind::Append } else { RedirectKind::Truncate };
                Some(Redirect { kind, descriptor: None, target: self.word(word) })
            }
            IoRedirect::HereDocument(descriptor, document) => {
                let start = document.here_end.loc.as_ref().map_or(1, |span| span.start.line);
                let line = self.frame.line + start;
                let text = document.doc.value.clone();
                if document.requires_expansion {
                    self.text_uses(&text, start + 1);
                }
                let target = Word { raw: text.clone(), text, line, column: 1, ..Word::default() };
                Some(Redirect { kind: RedirectKind::Text, descriptor: *descriptor, target })
            }
            IoRedirect::HereString(descriptor, word) => {
                Some(Redirect { kind: RedirectKind::Text, descriptor: *descriptor, target: self.word(word) })
            }
        }
    }

    fn word(&mut self, word: &brush_parser::ast::Word) -> Word {
        let (line, column) = self.place(word);
        self.word_at(word, line, column)
    }

    /// Takes a word apart whose place is known; the parser does not tell that of an assigned value.
    fn word_at(&mut self, word: &brush_parser::ast::Word, line: usize, column: usize) -> Word {
        let parts = words::parts(&word.value, &self.options);
        for (name, at, is_guarded) in parts.variables {
            let before = word.value.get(..at).unwrap_or_default();
            let (line, column) = moved(line, column, before, self.frame.indent);
            self.script.uses.push(Use { name, line, column, is_guarded });
        }
        let mut substitutions = Vec::new();
        for (text, at) in parts.commands {
            let before = word.value.get(..at).unwrap_or_default();
            let (line, column) = moved(line, column, before, self.frame.indent);
            let from = self.script.calls.len();
            let frame = Frame { line, lead: column - 1, indent: self.frame.indent };
            let (wrappers, context) = (std::mem::take(&mut self.wrappers), self.context.clone());
            self.context.is_substituted = true;
            self.nested(&text, frame, None);
            self.wrappers = wrappers;
            self.context = context;
            substitutions.push((from, self.script.calls.len()));
        }
        Word {
            raw: word.value.clone(),
            text: recover(&parts.text),
            line,
            column,
            is_quoted: parts.is_quoted,
            is_glob: parts.is_glob,
            is_dynamic: parts.is_dynamic,
            substitutions,
        }
    }

    /// Reads text that is a script of its own. Text that is none is left out.
    fn nested(&mut self, text: &str, frame: Frame, seat: Option<Seat>) {
        if self.depth >= DEPTH {
            return;
        }
        let options = self.options.clone();
        let Ok(program) = Parser::new(text.as_bytes(), &options).parse_program() else { return };
        let before = (self.frame, self.seat);
        let is_single = program.complete_commands.len() == 1
            && program.complete_commands.iter().all(|list| list.0.len() == 1);
        (self.frame, self.seat) = (frame, seat.filter(|_| is_single));
        self.depth += 1;
        self.program(&program);
        self.depth -= 1;
        (self.frame, self.seat) = before;
    }

    /// Notes the variables in a text that is no word: a here-document, a test.
    fn text_uses(&mut self, text: &str, line: usize) {
        for (number, content) in text.lines().enumerate().filter(|(_, content)| content.contains('$')) {
            for (name, at, is_guarded) in words::parts(content, &self.options).variables {
                let line = self.frame.line + line - 1 + number;
                self.script.uses.push(Use { name, line, column: at + 1, is_guarded });
            }
        }
    }

    fn place(&self, word: &brush_parser::ast::Word) -> (usize, usize) {
        let Some(span) = &word.loc else { return (self.frame.line, 1 + self.frame.lead) };
        let mut at = (span.start.line, span.start.column);
        // Behind a line that goes on, the parser counts the end of that line to the word: its own end is certain.
        if span.end.line > span.start.line && !word.value.contains('\n') {
            at = (span.end.line, span.end.column.saturating_sub(word.value.chars().count()).max(1));
        }
        (self.frame.line + at.0 - 1, self.column(at.0, at.1))
    }

    fn column(&self, line: usize, column: usize) -> usize {
        column + if line == 1 { self.frame.lead } else { self.frame.indent }
    }
}

/// Puts the marks of placeholders back to what stood there.
fn recover(text: &str) -> String {
    if text.contains(['‹', '›']) { text.replace('‹', "<").replace('›', ">") } else { text.to_owned() }
}

/// Whether a pipeline does nothing and succeeds: `|| true`.
fn is_true(pipeline: &Pipeline) -> bool {
    matches!(pipeline.seq.as_slice(), [Command::Simple(simple)]
        if simple.word_or_name.as_ref().is_some_and(|word| matches!(word.value.as_str(), "true" | ":" | "echo")))
}

/// The place behind a piece of text.
fn moved(line: usize, column: usize, text: &str, indent: usize) -> (usize, usize) {
    match text.rsplit_once('\n') {
        Some((lines, last)) => (line + lines.matches('\n').count() + 1, last.chars().count() + 1 + indent),
        None => (line, column + text.chars().count()),
    }
}
