//! YAML as a tree in which every key and value knows its line and column.
//!
//! A text comes in with the line on which it begins; a [`Node`] leaves, or the first fault. Scalars stay text: `15` is
//! the text `15`. Aliases are refused, so that nothing unfolds, and size and depth are bounded.
//!
//! It never knows which keys are allowed: that is for who reads the tree.

use serde_saphyr::granit_parser::{Event, Parser, Span, StrInput};

const NODES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 32;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Counted from 1, in the file.
    pub(crate) line: usize,
    /// Counted from 1, in characters.
    pub(crate) column: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) node: Node,
}

/// Why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl Node {
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}

/// Reads a text whose first line is line `first` of the file.
pub(crate) fn parse(text: &str, first: usize) -> Result<Node, Broken> {
    let mut reader = Reader { events: Parser::new_from_str(text), first, nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event if root.is_none() => root = Some(reader.node(event, span, 0)?),
            _ => return Err(reader.broken(span, "a second document begins here")),
        }
    }
    Ok(root.unwrap_or(Node { line: first, column: 1, value: Value::Null }))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    first: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        loop {
            match self.events.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => {
                    let marker = error.marker();
                    let line = self.first + marker.line().saturating_sub(1);
                    let message = format!("this is not YAML: {}", error.info());
                    return Err(Broken { line, column: marker.col() + 1, message });
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Broken> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(self.broken(span, "this is larger or deeper than anything that a person writes"));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let is_plain = style == serde_saphyr::granit_parser::ScalarStyle::Plain;
                let is_null = is_plain && matches!(&*text, "" | "~" | "null");
                if is_null { Value::Null } else { Value::Text(text.into()) }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(self.broken(span, "write the value out: aliases are not read here")),
        };
        let (line, column) = self.place(span);
        Ok(Node { line, column, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let node = self.node(event, value_span, depth + 1)?;
            let Some(text) = key.text() else {
                return Err(self.broken(span, "this key is not a name"));
            };
            if entries.iter().any(|entry| entry.key == text) {
                return Err(self.broken(span, &format!("`{text}` is given twice")));
            }
            entries.push(Entry { key: text.to_owned(), line: key.line, column: key.column, node });
        }
    }

    fn place(&self, span: Span) -> (usize, usize) {
        (self.first + span.start.line().saturating_sub(1), span.start.col() + 1)
    }

    fn broken(&self, span: Span, message: &str) -> Broken {
        let (line, column) = self.place(span);
        Broken { line, column, message: message.to_owned() }
    }
}
