//! Prose without its markup: the words, what was bold at the beginning, the code and links in it.
//!
//! Pieces come in while a paragraph is read; a [`Text`] leaves. It never changes a word and never joins lines: each line
//! of the source is a line of [`Text::plain`].

use serde::Serialize;

/// Prose without markup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// The words. Line `n` of it stands `n` lines below the block's first line.
    pub plain: String,
    /// What is bold at the very beginning, without markup; often a label such as `Symptoms:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead: Option<String>,
    /// The pieces of inline code, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// The links, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What is shown.
    pub text: String,
    /// Where it leads.
    pub url: String,
}

impl Text {
    /// Makes a text of bare words.
    pub fn of(plain: impl Into<String>) -> Self {
        Self { plain: plain.into(), ..Self::default() }
    }

    /// Tells whether there is not a single word.
    pub fn is_empty(&self) -> bool {
        self.plain.trim().is_empty()
    }

    /// Tells whether everything is bold, as in a heading that somebody wrote without `#`.
    pub fn is_all_bold(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| {
            !lead.trim().is_empty()
                && lead.trim().trim_end_matches(':') == self.plain.trim().trim_end_matches(':')
        })
    }
}

/// Gathers the pieces of one paragraph, heading or cell.
#[derive(Debug, Default)]
pub(super) struct Gather {
    text: Text,
    bold: usize,
    is_lead_open: bool,
    is_begun: bool,
    open_link: Option<(usize, String)>,
}

impl Gather {
    pub(super) fn push(&mut self, piece: &str) {
        self.text.plain.push_str(piece);
        if self.bold == 0 && !piece.trim().is_empty() {
            self.is_lead_open = false;
            self.is_begun = true;
        }
        if self.is_lead_open && self.bold > 0 {
            self.text.lead.get_or_insert_default().push_str(piece);
        }
    }

    pub(super) fn code(&mut self, piece: &str) {
        self.text.code.push(piece.to_owned());
        self.push(piece);
    }

    pub(super) fn begin_bold(&mut self) {
        self.bold += 1;
        if !self.is_begun {
            self.is_begun = true;
            self.is_lead_open = true;
        }
    }

    pub(super) fn end_bold(&mut self) {
        self.bold = self.bold.saturating_sub(1);
        if self.bold == 0 {
            self.is_lead_open = false;
        }
    }

    pub(super) fn begin_link(&mut self, url: &str) {
        self.open_link = Some((self.text.plain.len(), url.to_owned()));
    }

    pub(super) fn end_link(&mut self) {
        if let Some((start, url)) = self.open_link.take() {
            let text = self.text.plain.get(start..).unwrap_or_default().to_owned();
            self.text.links.push(Link { text, url });
        }
    }

    pub(super) fn finish(self) -> Text {
        let mut text = self.text;
        let end = text.plain.trim_end().len();
        text.plain.truncate(end);
        text
    }
}
