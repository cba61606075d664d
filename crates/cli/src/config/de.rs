//! Lets serde read the tree, and says for every refusal at which path it happened.
//!
//! A [`Node`] comes in; a typed document leaves, or a [`ReadError`]. Serde stops at the first error: `typed` takes the
//! refused part away and reads again, so that a person sees all of them.
//!
//! It never guesses: `15` is text where a text or a duration is wanted, and a number only where a number is.

use std::fmt;

use serde::{
    Deserializer, de,
    de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::tree::{Entry, Node, Value};

/// Why the tree does not fit the document's type.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) what: What,
    /// Where; `None` until a map or list has put its own path to it.
    pub(super) path: Option<Vec<String>>,
    /// Whether the key itself is meant and not its value.
    pub(super) is_key: bool,
}

#[derive(Debug)]
pub(super) enum What {
    UnknownKey(Vec<&'static str>),
    UnknownWord(Vec<&'static str>),
    Missing(&'static str),
    WrongType(String),
    Other(String),
}

impl ReadError {
    fn new(what: What) -> Self {
        Self { what, path: None, is_key: false }
    }

    fn at(mut self, path: &[String], is_key: bool) -> Self {
        if self.path.is_none() {
            self.path = Some(path.to_vec());
            self.is_key = is_key;
        }
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::WrongType(expected.to_string()))
    }
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::WrongType(expected.to_string()))
    }
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownWord(expected.to_vec()))
    }
    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(expected.to_vec()))
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }
}

/// One node with the path that leads to it.
pub(super) struct Reader<'a> {
    node: &'a Node,
    path: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self { node, path: Vec::new() }
    }

    fn word(&self) -> Option<&'a str> {
        self.node.text()
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar { text, is_plain } => visit_scalar(text, *is_plain, visitor),
            Value::List(items) => {
                visitor.visit_seq(Items { items: items.iter().enumerate(), path: self.path })
            }
            Value::Map(entries) => {
                visitor.visit_map(Entries { left: entries.iter(), value: None, path: self.path })
            }
        };
        result.map_err(|error| error.at(&path, false))
    }
}

fn visit_scalar<'de, V: Visitor<'de>>(text: &str, is_plain: bool, visitor: V) -> Result<V::Value, ReadError> {
    if !is_plain {
        return visitor.visit_str(text);
    }
    if let Ok(number) = text.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    if text.contains('.')
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && let Ok(number) = text.parse::<f64>()
    {
        return visitor.visit_f64(number);
    }
    match text {
        "true" | "True" | "TRUE" => visitor.visit_bool(true),
        "false" | "False" | "FALSE" => visitor.visit_bool(false),
        _ => visitor.visit_str(text),
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.word() {
            Some(text) => visitor.visit_str(text).map_err(|error: ReadError| error.at(&self.path, false)),
            None => self.visit(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let result = match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        };
        result.map_err(|error| error.at(&path, false))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        visitor.visit_newtype_struct(self).map_err(|error: ReadError| error.at(&path, false))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match self.word() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(ReadError::new(What::UnknownWord(variants.to_vec()))),
        };
        result.map_err(|error: ReadError| error.at(&self.path, false))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: Vec<String>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = below(&self.path, &index.to_string());
        let reader = Reader { node, path: path.clone() };
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path, false))
    }
}

struct Entries<'a> {
    left: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    path: Vec<String>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.left.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(&below(&self.path, &entry.key), true))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.value.take() else {
            return Err(ReadError::new(What::Other("a value was asked for before its key".into())));
        };
        let path = below(&self.path, &entry.key);
        let reader = Reader { node: &entry.node, path: path.clone() };
        seed.deserialize(reader).map_err(|error| error.at(&path, false))
    }
}

fn below(path: &[String], key: &str) -> Vec<String> {
    let mut path = path.to_vec();
    path.push(key.to_owned());
    path
}
