//! Reads one YAML file into a tree.
//!
//! Bytes come in; a [`Node`] leaves, and findings for what is no YAML, is no text or stands there twice. A duplicate
//! key keeps its first value, so that the rest of the file can still be judged.
//!
//! It never resolves a tag or a merge key, and what aliases can unfold to is bounded.

use std::{collections::BTreeMap, path::PathBuf};

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{
    finding::Finding,
    tree::{At, Entry, Node, Sources, Value},
};

/// A configuration is written by hand; what is larger or deeper is something else, or an attack with aliases.
const BYTES_MAX: usize = 4 << 20;
const NODES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;

/// Reads a file. `None`: not even a tree could be made, and `findings` says why.
pub(super) fn parse(
    sources: &mut Sources,
    path: PathBuf,
    bytes: Vec<u8>,
    findings: &mut Vec<Finding>,
) -> Option<Node> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (text, wrong) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(good))
        }
    };
    let file = sources.add(path, text);
    let sources = &*sources;
    if let Some(offset) = wrong {
        let at = at_offset(sources.text(file), file, offset);
        let finding = Finding::error(format!("`{name}` is not UTF-8 text")).at(sources.place(at));
        findings.push(finding.hint("save the file as UTF-8"));
        return None;
    }
    if sources.text(file).len() > BYTES_MAX {
        let finding = Finding::error(format!("`{name}` is larger than 4 MiB"));
        findings.push(finding.hint("this is no configuration: look at what the path names"));
        return None;
    }
    let events = Parser::new_from_str(sources.text(file));
    let mut builder = Builder { sources, file, name, findings, anchors: BTreeMap::new(), nodes: 0, events };
    match builder.document() {
        Ok(node) => Some(node),
        Err(finding) => {
            findings.push(finding);
            None
        }
    }
}

struct Builder<'a> {
    sources: &'a Sources,
    file: usize,
    name: String,
    findings: &'a mut Vec<Finding>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    events: Parser<'a, StrInput<'a>>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Finding> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => {
                    let finding = Finding::error("a second document begins here");
                    return Err(self
                        .stands_at(finding, span)
                        .hint("keep one document per file: remove the `---`"));
                }
            }
        }
        match root {
            None | Some(Node { value: Value::Null, .. }) => {
                let start = At::new(self.file, 1, 1, 0..0);
                Err(Finding::error(format!("`{}` is empty", self.name))
                    .at(self.sources.place(start))
                    .hint("begin with `platform: NAME`, or remove it and let `muster init` write one"))
            }
            Some(node) if matches!(node.value, Value::Map(_)) => Ok(node),
            Some(node) => Err(Finding::error(format!("`{}` is not made of `key: value` lines", self.name))
                .at(self.sources.place(node.at))
                .hint("begin with `platform: NAME`")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Finding> {
        let at = self.at(span);
        self.count(1, span)?;
        if depth > DEPTH_MAX {
            let finding = Finding::error(format!("this is nested deeper than {DEPTH_MAX} levels"));
            return Err(self.stands_at(finding, span).hint("a configuration has five levels"));
        }
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_null = is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar { text: text.into(), is_plain } };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(id) => {
                let found = self.anchors.get(&id).cloned();
                let (node, size) = found.ok_or_else(|| {
                    self.stands_at(Finding::error("this alias contains itself"), span)
                        .hint("write the value out")
                })?;
                self.count(size, span)?;
                return Ok(node);
            }
            _ => {
                let finding = Finding::error("this is not YAML");
                return Err(self.stands_at(finding, span).hint("look at the line above it"));
            }
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Finding> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Finding> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            let Some(text) = key.text() else {
                let place = self.sources.place(key.at);
                let hint =
                    "write a name before the colon; put it in quotes if YAML reads it as something else";
                self.findings.push(Finding::error("this key is not a name").at(place).hint(hint));
                continue;
            };
            match entries.iter().find(|entry| entry.key == text) {
                None => entries.push(Entry { key: text.to_owned(), key_at: key.at, node }),
                Some(first) => {
                    let line = self.sources.place(first.key_at).line;
                    let finding = Finding::error(format!("`{text}` is given twice"))
                        .at(self.sources.place(key.at))
                        .because(format!("the first stands in line {line}"))
                        .hint("rename one of them, or remove it");
                    self.findings.push(finding);
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Finding> {
        loop {
            match self.events.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => return Err(self.not_yaml(&error)),
            }
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Finding> {
        self.nodes += nodes;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let finding = Finding::error(format!("this file unfolds to more than {NODES_MAX} values"));
        Err(self.stands_at(finding, span).hint("write out what the aliases repeat, and only what is needed"))
    }

    fn not_yaml(&self, error: &ScanError) -> Finding {
        let marker = error.marker();
        let text = self.sources.text(self.file);
        let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
        let indent: &str = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = indent.find('\t') {
            let start = text.lines().take(marker.line() - 1).map(|line| line.len() + 1).sum::<usize>() + tab;
            let at = At::new(self.file, marker.line(), tab + 1, start..start + 1);
            return Finding::error("this line is indented with a tab")
                .at(self.sources.place(at))
                .hint("indent with spaces: YAML does not allow tabs there");
        }
        let start = marker.byte_offset().unwrap_or(0);
        let at = At::new(self.file, marker.line(), marker.col() + 1, start..start);
        Finding::error(format!("`{}` is not YAML", self.name))
            .at(self.sources.place(at))
            .because(error.info())
            .hint("look at the indentation, the quotes and the brackets here and in the line above")
    }

    fn at(&self, span: Span) -> At {
        let (start, end) = (span.start.byte_offset().unwrap_or(0), span.end.byte_offset().unwrap_or(0));
        At::new(self.file, span.start.line(), span.start.col() + 1, start..end.max(start))
    }

    fn stands_at(&self, finding: Finding, span: Span) -> Finding {
        finding.at(self.sources.place(self.at(span)))
    }
}

fn at_offset(text: &str, file: usize, offset: usize) -> At {
    // The replacement character stands at the very offset of the first wrong byte.
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    At::new(file, line, column, offset..offset + '\u{fffd}'.len_utf8())
}
