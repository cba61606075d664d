//! The output of a program, kept within a bound: its beginning and its end.
//!
//! Bytes come in as they are read; a [`Captured`] leaves, with secrets replaced by `***` and the number of bytes
//! left out in the middle. The beginning tells what was tried, the end tells why it failed; the middle is the part
//! that can be missed.
//!
//! It never holds more than the bound, and never shows a part of a secret beside the cut.
//! Read next: [`super::Invocation`].

use std::collections::VecDeque;

use muster_types::Secret;

/// Collects output: up to half of the bound from the beginning, the rest from the end.
#[derive(Debug)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_max: usize,
    tail_max: usize,
    dropped: u64,
}

/// What a program wrote to one of its streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    head: Vec<u8>,
    tail: Vec<u8>,
    cut: u64,
}

impl Capture {
    pub(super) fn new(bytes_max: usize) -> Self {
        let head_max = bytes_max.div_ceil(2);
        Self { head: Vec::new(), tail: VecDeque::new(), head_max, tail_max: bytes_max - head_max, dropped: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_max - self.head.len()));
        self.head.extend_from_slice(first);
        let skipped = rest.len().saturating_sub(self.tail_max);
        self.tail.extend(&rest[skipped..]);
        let excess = self.tail.len().saturating_sub(self.tail_max);
        self.tail.drain(..excess);
        self.dropped += (skipped + excess) as u64;
    }

    pub(super) fn finish(&mut self, secrets: &[Secret]) -> Captured {
        let mut values: Vec<&[u8]> =
            secrets.iter().map(|s| s.expose().as_bytes()).filter(|s| !s.is_empty()).collect();
        // The longest first: a secret that contains another one must not leave its remainder behind.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut head = std::mem::take(&mut self.head);
        let tail: Vec<u8> = std::mem::take(&mut self.tail).into();
        if self.dropped == 0 {
            head.extend_from_slice(&tail);
            return Captured { head: mask(&head, &values), tail: Vec::new(), cut: 0 };
        }
        let (mut head, mut tail) = (mask(&head, &values), mask(&tail, &values));
        // A secret that the cut divides is not found by masking, so its possible bytes on both sides go too.
        let margin = values.first().map_or(0, |longest| longest.len() - 1);
        let head_margin = margin.min(head.len());
        let tail_margin = margin.min(tail.len());
        head.truncate(head.len() - head_margin);
        tail.drain(..tail_margin);
        Captured { head, tail, cut: self.dropped + (head_margin + tail_margin) as u64 }
    }
}

impl Captured {
    /// Returns how many bytes were left out in the middle; 0 when this is the whole output.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Returns the whole output as text, or nothing when some was cut or it is not UTF-8.
    pub fn complete_text(&self) -> Option<&str> {
        if self.cut > 0 { None } else { std::str::from_utf8(&self.head).ok() }
    }

    /// Returns the output for people: bytes that are not UTF-8 are replaced, and a cut says its size.
    pub fn text(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        if self.cut == 0 {
            return head.into_owned();
        }
        format!("{head}\n[{} bytes left out]\n{}", self.cut, String::from_utf8_lossy(&self.tail))
    }

    /// Returns the last lines that are not blank, joined by ` / `: enough for an error of one line.
    pub fn last_lines(&self, count: usize) -> String {
        const LINE_CHARS_MAX: usize = 300;
        let text = self.text();
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(count)
            .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
            .collect();
        lines.reverse();
        lines.join(" / ")
    }
}

fn mask(bytes: &[u8], values: &[&[u8]]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        if let Some(value) = values.iter().find(|value| rest.starts_with(value)) {
            masked.extend_from_slice(b"***");
            rest = &rest[value.len()..];
        } else {
            masked.push(byte);
            rest = &rest[1..];
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_and_the_cut_is_counted() {
        let mut capture = Capture::new(10);
        for chunk in [&b"abcdefg"[..], b"hijklmnopqrstuvw", b"xyz"] {
            capture.push(chunk);
        }
        let captured = capture.finish(&[]);
        assert_eq!(captured.text(), "abcde\n[16 bytes left out]\nvwxyz");
        assert_eq!(captured.complete_text(), None);
    }

    #[test]
    fn output_within_the_bound_is_whole() {
        let mut capture = Capture::new(6);
        capture.push(b"abc");
        capture.push(b"def");
        assert_eq!(capture.finish(&[]).complete_text(), Some("abcdef"));
    }

    #[test]
    fn no_part_of_a_secret_stands_beside_the_cut() {
        let secrets = [Secret::new("s3cr3t"), Secret::new("s3cr3t-long")];
        let mut whole = Capture::new(100);
        whole.push(b"a s3cr3t-long b s3cr3t c");
        assert_eq!(whole.finish(&secrets).text(), "a *** b *** c");
        for before in 0..60 {
            let mut cut = Capture::new(40);
            cut.push(format!("{}s3cr3t-long{}", ".".repeat(before), ".".repeat(60)).as_bytes());
            let text = cut.finish(&secrets).text();
            assert!(!text.contains("s3") && !text.contains("ong"), "{before}: {text}");
        }
    }
}
