//! A page being written: fixed markup goes in as it is, everything else escaped.
//!
//! Markup is `&'static str`, so that no value of a document can become markup by mistake. Values go through [`Html::text`]
//! only, which escapes for text and for attributes in double quotes alike.

use std::fmt::{self, Display, Write};

/// A page being written.
#[derive(Debug, Default)]
pub(crate) struct Html {
    text: String,
}

impl Html {
    /// Adds markup.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Adds a value, escaped.
    pub(crate) fn text(&mut self, value: impl Display) -> &mut Self {
        // Writing into a string does not fail, and neither do the values.
        write!(Escaped(&mut self.text), "{value}").expect("a string takes every text");
        self
    }

    /// Adds an element with a text in it: `markup` begins it, `end` ends it.
    pub(crate) fn element(
        &mut self,
        begin: &'static str,
        value: impl Display,
        end: &'static str,
    ) -> &mut Self {
        self.raw(begin).text(value).raw(end)
    }

    /// Returns the page.
    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for one in text.chars() {
            match one {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // A direction that is turned round makes a name look like another one.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                '\n' | '\t' => self.0.push(one),
                one if one.is_control() => self.0.push('\u{fffd}'),
                one => self.0.push(one),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_markup() {
        let mut html = Html::default();
        html.raw("<a href=\"/runs/")
            .text("\"><script>alert('1')</script>&\u{202e}\u{1b}[31m")
            .raw("\">x</a>");
        assert_eq!(
            html.into_string(),
            "<a href=\"/runs/&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\u{fffd}\u{fffd}[31m\">x</a>"
        );
    }
}
