//! A code block: its info string taken apart, its content, and where the content begins.
//!
//! The info string comes in; language and `{name=…}` attributes leave. It never decides whether an attribute is known:
//! that is the runbook's business, which has the line and column from here.

use serde::Serialize;

use super::classify::{self, FenceKind, Part};

/// A fenced or indented code block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fence {
    /// What stands behind the opening mark, as written; empty for an indented block.
    pub info: String,
    /// The first word of it in lower case, without attributes; empty when there is none.
    pub language: String,
    /// What stands between braces in the info string, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Why the attributes could not be read; the ones before the fault are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes_fault: Option<String>,
    /// The content without the indentation of the list that it stands in. Ends with a line end unless it is empty.
    pub content: String,
    /// The line of the first content line. The n-th line of the content stands on `content_line + n`, counted from 0.
    pub content_line: usize,
    /// Whether the closing mark is there. An unclosed fence swallows the rest of the document.
    pub is_closed: bool,
    /// Whether it is a block that is only indented.
    pub is_indented: bool,
    /// What it holds, by its language and its content.
    pub kind: FenceKind,
    /// What its lines hold; more than one part when `kind` is `several`.
    pub parts: Vec<Part>,
}

/// `name=value` in the braces of an info string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// The value without quotes; empty for a name alone.
    pub value: String,
    /// Where the name begins in the info string, counted in characters from 0.
    pub offset: usize,
}

impl Fence {
    /// Makes a fence and classifies it.
    pub(super) fn new(info: &str, content: String, content_line: usize, is_closed: bool) -> Self {
        let info = info.trim();
        let (before, braces) =
            info.split_once('{').map_or((info, None), |(a, b)| (a, Some((a.chars().count() + 1, b))));
        let language = before.split([' ', '\t', ',']).next().unwrap_or_default().to_lowercase();
        let (attributes, attributes_fault) =
            braces.map_or((Vec::new(), None), |(at, text)| attributes(text, at));
        let (kind, parts) = classify::classify(&language, &content, content_line);
        Self {
            info: info.to_owned(),
            language,
            attributes,
            attributes_fault,
            content,
            content_line,
            is_closed,
            is_indented: false,
            kind,
            parts,
        }
    }

    /// Returns the value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|one| one.name == name).map(|one| one.value.as_str())
    }

    /// Returns each content line with its line number in the file.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content.lines().enumerate().map(|(index, line)| (self.content_line + index, line))
    }
}

/// Reads `a=b, c="d e", f` up to the closing brace. Values may be quoted; commas and spaces separate.
fn attributes(text: &str, start: usize) -> (Vec<Attribute>, Option<String>) {
    let mut found = Vec::new();
    let mut rest = text.chars().enumerate().peekable();
    loop {
        while rest.next_if(|(_, c)| c.is_whitespace() || *c == ',').is_some() {}
        let Some(&(at, first)) = rest.peek() else {
            return (found, Some("the closing `}` is missing".into()));
        };
        if first == '}' {
            return (found, None);
        }
        let mut name = String::new();
        while let Some((_, c)) = rest.next_if(|(_, c)| !c.is_whitespace() && !matches!(c, ',' | '=' | '}')) {
            name.push(c);
        }
        let mut value = String::new();
        if rest.next_if(|(_, c)| *c == '=').is_some() {
            if let Some((_, quote)) = rest.next_if(|(_, c)| matches!(c, '"' | '\'')) {
                let mut is_ended = false;
                for (_, c) in rest.by_ref() {
                    if c == quote {
                        is_ended = true;
                        break;
                    }
                    value.push(c);
                }
                if !is_ended {
                    return (found, Some(format!("the value of `{name}` has no closing quote")));
                }
            } else {
                while let Some((_, c)) = rest.next_if(|(_, c)| !c.is_whitespace() && !matches!(c, ',' | '}'))
                {
                    value.push(c);
                }
            }
        }
        if name.is_empty() {
            return (found, Some(format!("a name is missing before `={value}`")));
        }
        found.push(Attribute { name, value, offset: start + at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_with_quotes_and_without() {
        let fence = Fence::new(
            r#"bash {name=reindex, class=idempotent timeout="10 m", quiet}"#,
            String::new(),
            2,
            true,
        );
        let pairs: Vec<_> = fence.attributes.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
        assert_eq!(pairs, [("name", "reindex"), ("class", "idempotent"), ("timeout", "10 m"), ("quiet", "")]);
        assert_eq!(fence.language, "bash");
        assert_eq!(fence.attributes[0].offset, 6, "the name stands behind `bash {{`");
        assert_eq!(fence.attributes_fault, None);
    }

    #[test]
    fn broken_attributes_say_what_is_missing() {
        assert_eq!(
            Fence::new("bash {name=x", String::new(), 1, true).attributes_fault.as_deref(),
            Some("the closing `}` is missing")
        );
        assert!(Fence::new("bash {a=\"x}", String::new(), 1, true).attributes_fault.is_some());
        assert!(Fence::new("bash {=x}", String::new(), 1, true).attributes_fault.is_some());
    }
}
