//! Words: taking quotes off, and finding the variables and substitutions in them.
//!
//! In: a word as it stands. Out: its text without quotes, and what it expands. Nothing is expanded.

use brush_parser::{
    ParserOptions,
    word::{Parameter, ParameterExpr, WordPiece, WordPieceWithSource},
};

/// A word taken apart.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) text: String,
    pub(super) is_quoted: bool,
    pub(super) is_glob: bool,
    pub(super) is_dynamic: bool,
    /// Commands of substitutions and the byte of the word at which their text begins.
    pub(super) commands: Vec<(String, usize)>,
    /// Names of variables, the byte at which they stand, and whether they may be unset.
    pub(super) variables: Vec<(String, usize, bool)>,
}

/// Takes a word apart. A word that cannot be read is taken as it is.
pub(super) fn parts(raw: &str, options: &ParserOptions) -> Parts {
    let mut parts = Parts::default();
    // Most words are plain, and the parser of words is not cheap.
    if !raw.contains(['\'', '"', '\\', '$', '`', '~']) {
        raw.clone_into(&mut parts.text);
        parts.is_glob = raw.contains(['*', '?']) || (raw.contains('[') && raw.contains(']'));
        return parts;
    }
    match brush_parser::word::parse(raw, options) {
        Ok(pieces) => pieces.iter().for_each(|piece| parts.add(raw, piece, false)),
        Err(_) => raw.clone_into(&mut parts.text),
    }
    parts
}

impl Parts {
    fn add(&mut self, raw: &str, piece: &WordPieceWithSource, is_quoted: bool) {
        let source = raw.get(piece.start_index..piece.end_index).unwrap_or_default();
        match &piece.piece {
            WordPiece::Text(text) => {
                self.is_glob |= !is_quoted && text.contains(['*', '?']);
                self.text.push_str(text);
            }
            WordPiece::SingleQuotedText(text) | WordPiece::AnsiCQuotedText(text) => {
                self.is_quoted = true;
                self.text.push_str(text);
            }
            WordPiece::DoubleQuotedSequence(pieces) | WordPiece::GettextDoubleQuotedSequence(pieces) => {
                self.is_quoted = true;
                for piece in pieces {
                    self.add(raw, piece, true);
                }
            }
            WordPiece::EscapeSequence(text) => match text.strip_prefix('\\') {
                // A line that goes on: neither the backslash nor the end of the line is part of the word.
                Some("\n") => {}
                Some(rest) => self.text.push_str(rest),
                None => self.text.push_str(text),
            },
            WordPiece::TildeExpansion(_) => self.text.push_str(source),
            WordPiece::ParameterExpansion(expression) => {
                self.is_dynamic = true;
                self.text.push_str(source);
                self.variable(expression, piece.start_index);
            }
            WordPiece::CommandSubstitution(command) | WordPiece::BackquotedCommandSubstitution(command) => {
                self.is_dynamic = true;
                self.text.push_str(source);
                let lead = if source.starts_with("$(") { 2 } else { 1 };
                self.commands.push((command.clone(), piece.start_index + lead));
            }
            WordPiece::ArithmeticExpression(_) => {
                self.is_dynamic = true;
                self.text.push_str(source);
            }
        }
    }

    fn variable(&mut self, expression: &ParameterExpr, at: usize) {
        let (parameter, is_guarded) = match expression {
            ParameterExpr::Parameter { parameter, .. }
            | ParameterExpr::ParameterLength { parameter, .. }
            | ParameterExpr::RemoveSmallestSuffixPattern { parameter, .. }
            | ParameterExpr::RemoveLargestSuffixPattern { parameter, .. }
            | ParameterExpr::RemoveSmallestPrefixPattern { parameter, .. }
            | ParameterExpr::RemoveLargestPrefixPattern { parameter, .. }
            | ParameterExpr::Substring { parameter, .. } => (parameter, false),
            ParameterExpr::UseDefaultValues { parameter, .. }
            | ParameterExpr::AssignDefaultValues { parameter, .. }
            | ParameterExpr::IndicateErrorIfNullOrUnset { parameter, .. }
            | ParameterExpr::UseAlternativeValue { parameter, .. } => (parameter, true),
            _ => return,
        };
        if let Parameter::Named(name) = parameter {
            self.variables.push((name.clone(), at, is_guarded));
        }
    }
}
