//! A Markdown document as a tree that knows its lines: sections, blocks, and what each fence holds.
//!
//! The text of any document comes in ([`read`]); a [`Document`] leaves. Each block carries the lines on which it stands,
//! so that whatever is said of it later can be checked against the file. Windows line ends and a byte order mark are
//! taken out, and other ways to write headings, lists and tables are said as Markdown (`dialects`, `html`); the number of
//! lines does not change by that.
//!
//! It never judges what the words mean and never drops a block: what is unknown is a paragraph or a fence of kind
//! `unknown`. There is no recursion over the input, so depth costs nothing.
//!
//! Read next: `read` for how the tree is made, [`classify`] for what a fence holds.

pub mod classify;
mod dialects;
mod fence;
mod html;
mod inline;
mod read;
pub mod statement;

use serde::Serialize;

pub use classify::{ConfigKind, FenceKind, Part};
pub use fence::{Attribute, Fence};
pub use inline::{Link, Text};
pub use read::{BYTES_MAX, DocumentError, LINES_MAX, read};

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The lines of the file, without their ends; line 1 is the first.
    #[serde(skip)]
    pub source: Vec<String>,
    /// What stands between `---` lines at the top, with the line of its first content line.
    pub front_matter: Option<FrontMatter>,
    /// In the order of the file. The first one has level 0 and holds what stands before the first heading; it may be empty.
    pub sections: Vec<Section>,
}

/// YAML at the top of a document, not yet read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontMatter {
    /// The text between the marks.
    pub content: String,
    /// The line of its first content line.
    pub line: usize,
}

/// A range of lines, both ends inclusive, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Lines {
    /// The first line.
    pub first: usize,
    /// The last line; never before the first.
    pub last: usize,
}

/// A heading with what stands under it, up to the next heading of any level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The heading's text without markup; empty for what stands before the first heading.
    pub heading: String,
    /// 1 to 6; 0 for what stands before the first heading.
    pub level: u8,
    /// The line of the heading; 1 for level 0.
    pub line: usize,
    /// The last line before the next heading of any level.
    pub last_line: usize,
    /// The headings above it from the outermost, and its own as the last; empty for level 0.
    pub path: Vec<String>,
    /// The index in [`Document::sections`] of the heading above it. Always smaller than its own index.
    pub parent: Option<usize>,
    /// In the order of the file.
    pub blocks: Vec<Block>,
}

/// One piece of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Where it stands. A list item reaches to the end of what it contains; the contained blocks follow it.
    pub lines: Lines,
    /// How many list items it stands in: 0 outside of lists, 1 for an item of an outer list.
    ///
    /// An item counts itself: an item of an outer list has 1, and so has the fence inside it.
    pub depth: usize,
    /// The index in [`Section::blocks`] of the list item that it stands in directly. Always smaller than its own index.
    pub item: Option<usize>,
    /// Whether it stands in a block quote.
    pub is_quoted: bool,
    /// What it is.
    pub kind: BlockKind,
}

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BlockKind {
    /// Prose.
    Paragraph(Text),
    /// A list item with the first prose in it.
    Item(Item),
    /// A table.
    Table(Table),
    /// A fenced or indented code block.
    Fence(Fence),
    /// An HTML comment; the text between the marks.
    Comment(String),
    /// Other HTML, as it stands.
    Html(String),
    /// A line across the page.
    Rule,
}

/// A list item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its first paragraph; empty when it begins with something else.
    pub text: Text,
    /// Its number in an ordered list.
    pub number: Option<u64>,
    /// Whether its box is ticked; `None` when it has no box.
    pub checkbox: Option<bool>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The cells of the header.
    pub header: Vec<Text>,
    /// The rows below it.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The line on which it stands.
    pub line: usize,
    /// One for each column of the header; missing ones are empty.
    pub cells: Vec<Text>,
}

impl Document {
    /// Returns a line of the file without its end; empty when there is none.
    pub fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|index| self.source.get(index)).map_or("", String::as_str)
    }

    /// Returns all blocks in the order of the file, each with the section that it stands in.
    pub fn blocks(&self) -> impl Iterator<Item = (&Section, &Block)> {
        self.sections.iter().flat_map(|section| section.blocks.iter().map(move |block| (section, block)))
    }

    /// Returns all fences in the order of the file.
    pub fn fences(&self) -> impl Iterator<Item = (&Section, &Block, &Fence)> {
        self.blocks().filter_map(|(section, block)| match &block.kind {
            BlockKind::Fence(fence) => Some((section, block, fence)),
            _ => None,
        })
    }

    /// Returns the indices of a section and of everything under it, in the order of the file.
    pub fn subtree(&self, index: usize) -> std::ops::Range<usize> {
        let Some(section) = self.sections.get(index) else { return index..index };
        let end = self
            .sections
            .iter()
            .enumerate()
            .skip(index + 1)
            .find(|(_, other)| other.level <= section.level)
            .map_or(self.sections.len(), |(end, _)| end);
        index..end
    }

    /// Returns the title: of the front matter's `title:`, else the first heading.
    pub fn title(&self) -> Option<&str> {
        let named = self.front_matter.as_ref().and_then(|front| {
            let line = front.content.lines().find_map(|line| line.strip_prefix("title:"))?;
            Some(line.trim().trim_matches(['"', '\'']))
        });
        named.or_else(|| self.sections.iter().find(|one| one.level > 0).map(|one| one.heading.as_str()))
    }
}

impl Lines {
    /// Makes a range; `last` is raised to `first` where it is smaller.
    pub fn new(first: usize, last: usize) -> Self {
        Self { first, last: last.max(first) }
    }

    /// Tells whether a line is in the range.
    pub fn holds(self, line: usize) -> bool {
        (self.first..=self.last).contains(&line)
    }
}

impl Block {
    /// Returns the prose of a paragraph or item.
    pub fn text(&self) -> Option<&Text> {
        match &self.kind {
            BlockKind::Paragraph(text) => Some(text),
            BlockKind::Item(item) => Some(&item.text),
            _ => None,
        }
    }
}
