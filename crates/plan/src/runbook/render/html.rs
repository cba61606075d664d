//! Prose of a runbook as HTML: paragraphs, lists, tables, code; nothing that could do anything.
//!
//! Markdown comes in; well-formed HTML leaves. HTML in the Markdown is shown as the text that it is. Pictures become their
//! names, and only links that a person can type stay links.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Escapes a text for HTML, in quotes too.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not a character of any document.
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn prose(markdown: &str) -> String {
    let mut html = String::new();
    let mut is_head = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(tag) => {
                is_head |= matches!(tag, Tag::TableHead);
                html.push_str(&begin(&tag, is_head));
            }
            Event::End(tag) => {
                html.push_str(end(tag, is_head));
                is_head &= !matches!(tag, TagEnd::TableHead);
            }
            Event::Code(code) => html.push_str(&format!("<code>{}</code>", escaped(&code))),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => html.push_str(&escaped(&text)),
            Event::SoftBreak => html.push('\n'),
            Event::HardBreak => html.push_str("<br/>\n"),
            Event::Rule => html.push_str("<hr/>\n"),
            _ => {}
        }
    }
    html
}

fn begin(tag: &Tag<'_>, is_head: bool) -> String {
    match tag {
        Tag::Paragraph | Tag::HtmlBlock => "<p>".into(),
        Tag::Heading { .. } => "<p><strong>".into(),
        Tag::BlockQuote(_) => "<blockquote>".into(),
        Tag::CodeBlock(CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) => "<pre>".into(),
        Tag::List(Some(first)) => format!("<ol start=\"{first}\">\n"),
        Tag::List(None) => "<ul>\n".into(),
        Tag::Item => "<li>".into(),
        Tag::Table(_) => "<table>\n".into(),
        Tag::TableHead | Tag::TableRow => "<tr>".into(),
        Tag::TableCell => if is_head { "<th>" } else { "<td>" }.into(),
        Tag::Emphasis => "<em>".into(),
        Tag::Strong => "<strong>".into(),
        Tag::Strikethrough => "<s>".into(),
        Tag::Link { dest_url, .. } => {
            let is_plain =
                ["https://", "http://", "mailto:"].iter().any(|scheme| dest_url.starts_with(scheme));
            // On paper the address must be readable.
            let href = if is_plain { escaped(dest_url) } else { "#".into() };
            format!("<a href=\"{href}\" title=\"{}\">", escaped(dest_url))
        }
        Tag::Image { .. } => "<span>".into(),
        _ => String::new(),
    }
}

fn end(tag: TagEnd, is_head: bool) -> &'static str {
    match tag {
        TagEnd::Paragraph | TagEnd::HtmlBlock => "</p>\n",
        TagEnd::Heading(_) => "</strong></p>\n",
        TagEnd::BlockQuote(_) => "</blockquote>\n",
        TagEnd::CodeBlock => "</pre>\n",
        TagEnd::List(true) => "</ol>\n",
        TagEnd::List(false) => "</ul>\n",
        TagEnd::Item => "</li>\n",
        TagEnd::Table => "</table>\n",
        TagEnd::TableHead | TagEnd::TableRow => "</tr>\n",
        TagEnd::TableCell => {
            if is_head {
                "</th>"
            } else {
                "</td>"
            }
        }
        TagEnd::Emphasis => "</em>",
        TagEnd::Strong => "</strong>",
        TagEnd::Strikethrough => "</s>",
        TagEnd::Link => "</a>",
        TagEnd::Image => "</span>",
        _ => "",
    }
}
