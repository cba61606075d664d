//! Makes a [`Document`] from text: one pass over the events of a `CommonMark` parser.
//!
//! Text comes in; the tree leaves. Headings inside lists and quotes are prose: they do not open a section. It holds only
//! a stack of open list items, so that deep nesting cannot exhaust anything, and it refuses what no person wrote.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{
    Block, BlockKind, Document, Fence, FrontMatter, Item, Lines, Row, Section, Table, Text, dialects,
    html::{self, Piece},
    inline::Gather,
};

/// A document is written by hand; what is larger is something else.
pub const BYTES_MAX: usize = 4 << 20;
/// The same for lines; it also bounds headings, blocks and rows, whatever is compared with whatever.
pub const LINES_MAX: usize = 10_000;

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Too large.
    #[error("the document has {bytes} bytes, more than 4 MiB")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Too many lines.
    #[error("the document has {lines} lines, more than 10000")]
    TooLong {
        /// How many.
        lines: usize,
    },
    /// Not text in UTF-8, or text with control characters that no document has.
    #[error("line {line}, column {column}: this is not text")]
    NotText {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted in characters from 1.
        column: usize,
    },
}

/// Reads a document.
///
/// # Errors
/// [`DocumentError::TooLarge`] above [`BYTES_MAX`]; [`DocumentError::TooLong`] above [`LINES_MAX`]; [`DocumentError::NotText`] for bytes that are not UTF-8 and for NUL.
pub fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
    if bytes.len() > BYTES_MAX {
        return Err(DocumentError::TooLarge { bytes: bytes.len() });
    }
    let zero = bytes.iter().position(|byte| *byte == 0);
    let text = match (std::str::from_utf8(bytes), zero) {
        (Ok(text), None) => text,
        (Ok(_), Some(zero)) => return Err(not_text(bytes, zero)),
        (Err(error), zero) => {
            let at = error.valid_up_to();
            return Err(not_text(bytes, zero.map_or(at, |zero| zero.min(at))));
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.lines().count();
    if lines > LINES_MAX {
        return Err(DocumentError::TooLong { lines });
    }
    let said = dialects::to_markdown(&text);
    let mut reader = Reader::new(&said, &text);
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(&said, options).into_offset_iter() {
        reader.event(event, range);
    }
    Ok(reader.finish())
}

fn not_text(bytes: &[u8], at: usize) -> DocumentError {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    DocumentError::NotText {
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
    }
}

struct Reader<'a> {
    text: &'a str,
    /// The byte offset at which each line begins.
    starts: Vec<usize>,
    document: Document,
    /// The section that is being filled; it is not yet among the document's.
    current: Section,
    /// Open headings as indices of sections, outermost first.
    open: Vec<usize>,
    /// Open list items as indices of blocks of the current section.
    items: Vec<usize>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    gather: Option<Gather>,
    /// Where words stand that have no paragraph around them: those of a tight list item.
    loose: Option<Range<usize>>,
    table: Option<Table>,
    row: Option<Row>,
    is_header: bool,
    code: Option<(String, String)>,
    html: Option<String>,
    /// The level of the last heading that stood in HTML.
    summary: Option<u8>,
    is_front: bool,
}

impl<'a> Reader<'a> {
    /// Takes the text to read, and the file as it stands: both have the same lines.
    fn new(text: &'a str, source: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let document = Document {
            source: source.lines().map(str::to_owned).collect(),
            front_matter: None,
            sections: Vec::new(),
        };
        let current = Section {
            heading: String::new(),
            level: 0,
            line: 1,
            last_line: 1,
            path: Vec::new(),
            parent: None,
            blocks: Vec::new(),
        };
        Self {
            text,
            starts,
            document,
            current,
            open: Vec::new(),
            items: Vec::new(),
            lists: Vec::new(),
            quotes: 0,
            gather: None,
            loose: None,
            table: None,
            row: None,
            is_header: false,
            code: None,
            html: None,
            summary: None,
            is_front: false,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.begin(tag, range),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) => self.words(&text, range),
            Event::Code(text) => self.gathering(range).code(&text),
            Event::SoftBreak | Event::HardBreak => self.gathering(range).push("\n"),
            Event::InlineHtml(html) => {
                // `<pod-name>` in prose is a placeholder, not markup: it stays in the words.
                let is_break = matches!(html.as_ref(), "<br>" | "<br/>" | "<br />");
                self.gathering(range).push(if is_break { " " } else { &html });
            }
            Event::Html(html) => match &mut self.html {
                Some(open) => open.push_str(&html),
                None => self.add_html(&html, range),
            },
            Event::TaskListMarker(is_done) => {
                let at = self.items.last().copied();
                if let Some(BlockKind::Item(item)) = at.and_then(|at| self.kind(at)) {
                    item.checkbox = Some(is_done);
                }
            }
            Event::Rule => self.add(BlockKind::Rule, range),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.gathering(range).push(&text);
            }
        }
    }

    fn words(&mut self, text: &str, range: Range<usize>) {
        if self.is_front {
            let line = self.line(range.start);
            let front =
                self.document.front_matter.get_or_insert(FrontMatter { content: String::new(), line });
            front.content.push_str(text);
        } else if let Some((_, content)) = &mut self.code {
            content.push_str(text);
        } else {
            self.gathering(range).push(text);
        }
    }

    fn begin(&mut self, tag: Tag<'_>, range: Range<usize>) {
        if !matches!(
            tag,
            Tag::Strong | Tag::Emphasis | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. }
        ) {
            self.flush();
        }
        match tag {
            Tag::Heading { .. } | Tag::Paragraph | Tag::TableCell => self.gather = Some(Gather::default()),
            Tag::BlockQuote(_) => self.quotes += 1,
            Tag::CodeBlock(kind) => {
                let info = match kind {
                    CodeBlockKind::Fenced(info) => info.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((info, String::new()));
            }
            Tag::HtmlBlock => self.html = Some(String::new()),
            Tag::List(first) => self.lists.push(first),
            Tag::Item => {
                let number = self.lists.last().copied().flatten();
                if let Some(Some(next)) = self.lists.last_mut() {
                    *next = next.saturating_add(1);
                }
                self.add(BlockKind::Item(Item { text: Text::default(), number, checkbox: None }), range);
                if let Some(block) = self.current.blocks.last_mut() {
                    block.depth += 1;
                }
                self.items.push(self.current.blocks.len().saturating_sub(1));
            }
            Tag::Table(_) => self.table = Some(Table { header: Vec::new(), rows: Vec::new() }),
            Tag::TableHead => self.is_header = true,
            Tag::TableRow => self.row = Some(Row { line: self.line(range.start), cells: Vec::new() }),
            Tag::Strong => self.gathering(range).begin_bold(),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.gathering(range).begin_link(&dest_url);
            }
            Tag::MetadataBlock(_) => self.is_front = true,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Heading(level) => self.end_heading(level as u8, range),
            TagEnd::Paragraph => self.end_paragraph(range),
            TagEnd::BlockQuote(_) => self.quotes = self.quotes.saturating_sub(1),
            TagEnd::CodeBlock => self.end_code(range),
            TagEnd::HtmlBlock => {
                if let Some(html) = self.html.take() {
                    self.add_html(&html, range);
                }
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Item => {
                self.flush();
                self.items.pop();
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.add(BlockKind::Table(table), range);
                }
            }
            TagEnd::TableHead => self.is_header = false,
            TagEnd::TableRow => {
                // A row without a word is the filler of a drawn table.
                if let (Some(row), Some(table)) = (self.row.take(), &mut self.table)
                    && row.cells.iter().any(|cell| !cell.is_empty())
                {
                    table.rows.push(row);
                }
            }
            TagEnd::TableCell => {
                let text = self.gather.take().unwrap_or_default().finish();
                match (&mut self.row, &mut self.table) {
                    (_, Some(table)) if self.is_header => table.header.push(text),
                    (Some(row), _) => row.cells.push(text),
                    _ => {}
                }
            }
            TagEnd::Strong => self.gathering(range).end_bold(),
            TagEnd::Link | TagEnd::Image => self.gathering(range).end_link(),
            TagEnd::MetadataBlock(_) => self.is_front = false,
            _ => {}
        }
    }

    fn end_heading(&mut self, level: u8, range: Range<usize>) {
        let text = self.gather.take().unwrap_or_default().finish();
        if !self.items.is_empty() || self.quotes > 0 {
            self.add(BlockKind::Paragraph(text), range);
            return;
        }
        let line = self.line(range.start);
        self.open_section(text.plain.replace('\n', " "), level, line);
    }

    fn open_section(&mut self, heading: String, level: u8, line: usize) {
        // What follows a table of contents does not stand in it, however large its heading is.
        let is_contents = ["table of contents", "contents", "inhalt", "inhaltsverzeichnis"]
            .contains(&heading.trim().to_lowercase().as_str());
        let level = if is_contents && !self.open.is_empty() { level.max(2) } else { level };
        self.current.last_line = line.saturating_sub(1).max(1);
        let next = Section {
            heading: heading.clone(),
            level,
            line,
            last_line: line,
            path: Vec::new(),
            parent: None,
            blocks: Vec::new(),
        };
        self.document.sections.push(std::mem::replace(&mut self.current, next));
        let sections = &self.document.sections;
        self.open.retain(|at| sections.get(*at).is_some_and(|above| above.level < level));
        let above = self.open.last().copied();
        self.current.parent = above;
        self.current.path =
            above.and_then(|at| sections.get(at)).map(|above| above.path.clone()).unwrap_or_default();
        self.current.path.push(heading);
        self.open.push(sections.len());
    }

    fn end_paragraph(&mut self, range: Range<usize>) {
        let text = self.gather.take().unwrap_or_default().finish();
        self.add_words(text, range);
    }

    /// The first words of an item are the item's; later ones are paragraphs in it.
    fn add_words(&mut self, text: Text, range: Range<usize>) {
        let at = self.items.last().copied();
        let is_first = at.is_some_and(|at| at + 1 == self.current.blocks.len());
        match at.and_then(|at| self.kind(at)) {
            Some(BlockKind::Item(item)) if is_first && item.text.is_empty() => item.text = text,
            _ if text.is_empty() => {}
            _ => self.add(BlockKind::Paragraph(text), range),
        }
    }

    fn end_code(&mut self, range: Range<usize>) {
        let Some((info, content)) = self.code.take() else { return };
        let lines = self.lines(&range);
        let opening = self.said(lines.first).trim_start_matches([' ', '\t', '>']);
        // A list item may begin with a fence: the mark stands behind the item's own.
        let mark = opening.find("```").or_else(|| opening.find("~~~"));
        let is_indented = mark.is_none()
            || self
                .text
                .get(range.start..)
                .is_some_and(|at| !at.trim_start().starts_with("```") && !at.trim_start().starts_with("~~~"));
        let mut fence = if is_indented {
            Fence::new("", content, lines.first, true)
        } else {
            let closing = self.said(lines.last).trim_start_matches([' ', '\t', '>']).trim_end();
            let is_closed = lines.last > lines.first
                && closing.len() >= 3
                && (closing.chars().all(|c| c == '`') || closing.chars().all(|c| c == '~'))
                && content.lines().count() < lines.last - lines.first;
            Fence::new(&info, content, lines.first + 1, is_closed)
        };
        fence.is_indented = is_indented;
        self.add(BlockKind::Fence(fence), range);
    }

    fn add_html(&mut self, html: &str, range: Range<usize>) {
        let trimmed = html.trim();
        let comment = trimmed.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
        let kind = match comment {
            Some(comment) => BlockKind::Comment(comment.trim().to_owned()),
            None => return self.add_pieces(html, range),
        };
        self.add(kind, range);
    }

    /// Headings and tables that are written as HTML are headings and tables.
    fn add_pieces(&mut self, html: &str, range: Range<usize>) {
        let lines = self.lines(&range);
        let pieces = html::pieces(html, lines.first);
        if pieces.is_empty() {
            return self.add(BlockKind::Html(html.to_owned()), range);
        }
        for piece in pieces {
            match piece {
                Piece::Heading(level, title, line) if self.items.is_empty() && self.quotes == 0 => {
                    // A summary stands one below what it stands in, but beside the one before it.
                    let level = level.unwrap_or_else(|| match self.summary {
                        Some(open) if open == self.current.level => open,
                        _ => (self.current.level + 1).min(6),
                    });
                    self.summary = Some(level);
                    self.open_section(title, level, line);
                }
                Piece::Heading(_, title, _) => self.add(BlockKind::Paragraph(Text::of(title)), range.clone()),
                Piece::Table(table, lines) => {
                    let item = self.items.last().copied();
                    let (depth, is_quoted) = (self.items.len(), self.quotes > 0);
                    let kind = BlockKind::Table(table);
                    self.current.blocks.push(Block { lines, depth, item, is_quoted, kind });
                }
            }
        }
    }

    fn gathering(&mut self, range: Range<usize>) -> &mut Gather {
        match (&mut self.loose, self.gather.is_some()) {
            (Some(loose), true) => loose.end = loose.end.max(range.end),
            (None, true) => {}
            (_, false) => self.loose = Some(range),
        }
        self.gather.get_or_insert_default()
    }

    /// Takes in words that no paragraph has ended.
    fn flush(&mut self) {
        if let (Some(range), Some(_)) = (self.loose.take(), &self.gather) {
            let text = self.gather.take().unwrap_or_default().finish();
            self.add_words(text, range);
        }
    }

    fn add(&mut self, kind: BlockKind, range: Range<usize>) {
        let block = Block {
            lines: self.lines(&range),
            depth: self.items.len(),
            item: self.items.last().copied(),
            is_quoted: self.quotes > 0,
            kind,
        };
        self.current.blocks.push(block);
    }

    fn kind(&mut self, at: usize) -> Option<&mut BlockKind> {
        self.current.blocks.get_mut(at).map(|block| &mut block.kind)
    }

    /// The line on which a byte stands, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// A line of what is read.
    fn said(&self, number: usize) -> &'a str {
        let start = number.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(usize::MAX);
        self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }

    fn lines(&self, range: &Range<usize>) -> Lines {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let before = text.len() - text.trim_start_matches('\n').len();
        let first = self.line(range.start + before);
        Lines::new(first, self.line((range.start + text.trim_end().len()).saturating_sub(1)))
    }

    fn finish(mut self) -> Document {
        let last = self.document.source.len().max(1);
        self.current.last_line = last;
        self.document.sections.push(self.current);
        self.document
    }
}

#[cfg(test)]
mod tests;
