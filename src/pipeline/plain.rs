//! Reads the plain part of YAML that most pipelines keep to, much faster than a parser of the whole language: maps, lists
//! and values, each on one line. It gives up at anything else, and never decides what is wrong.

use serde_json::{Map, Value};

use super::yaml;

/// How deep maps and lists may nest; beyond it the other parser says what to do.
const DEEPEST: usize = 64;

/// The longest key; the language has a limit at 1024.
const LONGEST_KEY: usize = 1000;

/// The value of a text; `None` if there is anything in it that needs the whole language, or that is wrong.
pub(super) fn read(text: &str) -> Option<Value> {
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b' '..=b'~');
    if !text.as_bytes().iter().all(is_plain) {
        return None;
    }
    let mut reader = Reader { text, at: 0, column: None };
    reader.go_to_next_line();
    let value = reader.block(0)?;
    reader.column.is_none().then_some(value)
}

/// Where values stand: on lines of their own, or between the brackets of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Block,
    Flow,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Of what stands at `at`, if that is the beginning of something in a block; `None` at the end of the text.
    column: Option<usize>,
}

impl<'a> Reader<'a> {
    /// The byte so many bytes ahead; a line break at the end of the text.
    fn ahead(&self, count: usize) -> u8 {
        self.text.as_bytes().get(self.at + count).copied().unwrap_or(b'\n')
    }

    fn skip_blanks(&mut self) {
        while self.ahead(0) == b' ' {
            self.at += 1;
        }
    }

    /// Goes to the next thing that is neither blank nor a comment, given that nothing else is left on this line.
    fn go_to_next_line(&mut self) {
        loop {
            let start = self.at;
            self.skip_blanks();
            if self.at >= self.text.len() {
                self.column = None;
                return;
            }
            match self.ahead(0) {
                b'\n' => self.at += 1,
                b'#' => self.skip_line(),
                _ => {
                    self.column = Some(self.at - start);
                    return;
                }
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |length| length + 1);
    }

    /// Goes from the end of a value to the next line.
    fn end_line(&mut self) -> Option<()> {
        self.skip_blanks();
        match self.ahead(0) {
            b'\n' => self.at += 1,
            b'#' if self.text.as_bytes()[self.at - 1] == b' ' => self.skip_line(),
            _ => return None,
        }
        self.go_to_next_line();
        Some(())
    }

    fn is_at_end_of_line(&self) -> bool {
        matches!(self.ahead(0), b'\n' | b'#')
    }

    fn is_at_dash(&self) -> bool {
        self.ahead(0) == b'-' && matches!(self.ahead(1), b' ' | b'\n')
    }

    /// A map or a list whose lines begin at this column.
    fn block(&mut self, depth: usize) -> Option<Value> {
        if self.is_at_dash() { self.block_list(depth) } else { self.block_map(depth) }
    }

    fn block_map(&mut self, depth: usize) -> Option<Value> {
        let column = self.column.filter(|_| depth < DEEPEST)?;
        let mut map = Map::new();
        while self.column == Some(column) && !self.is_at_dash() {
            let key = self.key(Style::Block)?;
            self.skip_blanks();
            let value = if self.is_at_end_of_line() {
                self.end_line()?;
                match self.column {
                    Some(below) if below > column => self.block(depth + 1)?,
                    // A list may begin where its key does.
                    Some(below) if below == column && self.is_at_dash() => self.block_list(depth + 1)?,
                    _ => Value::Null,
                }
            } else {
                let value = self.value(Style::Block, depth)?;
                self.end_line()?;
                value
            };
            insert(&mut map, key, value)?;
        }
        // What stands further to the right goes on with something above.
        self.column.is_none_or(|next| next <= column).then_some(Value::Object(map))
    }

    fn block_list(&mut self, depth: usize) -> Option<Value> {
        let column = self.column.filter(|_| depth < DEEPEST)?;
        let mut list = Vec::new();
        while self.column == Some(column) && self.is_at_dash() {
            let dash = self.at;
            self.at += 1;
            self.skip_blanks();
            if self.is_at_end_of_line() || self.is_at_dash() {
                return None;
            }
            let start = self.at;
            let value = self.value(Style::Block, depth)?;
            self.skip_blanks();
            if self.ahead(0) == b':' {
                // It was the first key of a map.
                self.at = start;
                self.column = Some(column + start - dash);
                list.push(self.block_map(depth + 1)?);
            } else {
                self.end_line()?;
                list.push(value);
            }
        }
        self.column.is_none_or(|next| next <= column).then_some(Value::Array(list))
    }

    /// A key with its colon.
    fn key(&mut self, style: Style) -> Option<&'a str> {
        let start = self.at;
        let key = match self.ahead(0) {
            b'"' | b'\'' => self.quoted()?,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => {
                let key = self.plain(style)?;
                is_text(key).then_some(key)?
            }
            _ => return None,
        };
        self.skip_blanks();
        let is_key = self.ahead(0) == b':' && matches!(self.ahead(1), b' ' | b'\n');
        let is_short = self.at - start <= LONGEST_KEY;
        self.at += 1;
        (is_key && is_short).then_some(key)
    }

    /// A value on one line.
    fn value(&mut self, style: Style, depth: usize) -> Option<Value> {
        match self.ahead(0) {
            b'{' => self.flow_map(depth + 1),
            b'[' => self.flow_list(depth + 1),
            b'"' | b'\'' => Some(Value::from(self.quoted()?)),
            _ => {
                let text = self.plain(style)?;
                if is_text(text) { Some(Value::from(text)) } else { number_or_word(text) }
            }
        }
    }

    fn flow_map(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        if self.opens_empty(b'}', depth)? {
            return Some(Value::Object(map));
        }
        loop {
            let key = self.key(Style::Flow)?;
            self.skip_blanks();
            let value = self.value(Style::Flow, depth)?;
            insert(&mut map, key, value)?;
            if self.closes(b'}')? {
                return Some(Value::Object(map));
            }
        }
    }

    fn flow_list(&mut self, depth: usize) -> Option<Value> {
        let mut list = Vec::new();
        if self.opens_empty(b']', depth)? {
            return Some(Value::Array(list));
        }
        loop {
            list.push(self.value(Style::Flow, depth)?);
            if self.closes(b']')? {
                return Some(Value::Array(list));
            }
        }
    }

    /// Goes behind an opening bracket, and behind the closing one if nothing stands between.
    fn opens_empty(&mut self, closing: u8, depth: usize) -> Option<bool> {
        self.at += 1;
        self.skip_blanks();
        let is_empty = self.ahead(0) == closing;
        self.at += usize::from(is_empty);
        (depth < DEEPEST).then_some(is_empty)
    }

    /// Goes behind a closing bracket, or behind a comma.
    fn closes(&mut self, closing: u8) -> Option<bool> {
        self.skip_blanks();
        let next = self.ahead(0);
        self.at += 1;
        if next == b',' {
            self.skip_blanks();
        }
        (next == closing || next == b',').then_some(next == closing)
    }

    /// A text in quotes, without escapes.
    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.ahead(0);
        let inside = &self.text[self.at + 1..];
        let end = inside.bytes().position(|byte| byte == quote || matches!(byte, b'\n' | b'\\'))?;
        let is_closed = inside.as_bytes()[end] == quote;
        self.at += end + 2;
        (is_closed && self.ahead(0) != quote).then_some(&inside[..end])
    }

    /// A text without quotes, up to what ends it.
    fn plain(&mut self, style: Style) -> Option<&'a str> {
        match self.ahead(0) {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'/' | b'.' | b'$' | b'(' | b'+' | b'~' => {}
            b'-' if !matches!(self.ahead(1), b' ' | b'\n') => {}
            _ => return None,
        }
        let start = self.at;
        loop {
            match (self.ahead(0), style) {
                (b'\n', _) | (b',' | b'}' | b']', Style::Flow) => break,
                (b':', _) if matches!(self.ahead(1), b' ' | b'\n') => break,
                (b':', Style::Flow) if matches!(self.ahead(1), b',' | b'?' | b'[' | b']' | b'{' | b'}') => {
                    return None;
                }
                (b'[' | b'{' | b'?', Style::Flow) => return None,
                (b'#', _) if self.text.as_bytes()[self.at - 1] == b' ' => break,
                _ => self.at += 1,
            }
        }
        let text = self.text[start..self.at].trim_end_matches(' ');
        self.at = start + text.len();
        // Two signs that may stand alone at the beginning of a line, for the ends of documents.
        (!text.starts_with("---") && !text.starts_with("...")).then_some(text)
    }
}

/// Whether an unquoted value is a text because of its first letter, or because it is no word for something else.
fn is_text(text: &str) -> bool {
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'-' | b'+' | b'.' | b'~' => false,
        b'n' | b'N' | b't' | b'T' | b'f' | b'F' => {
            !["null", "true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
        }
        _ => true,
    }
}

fn number_or_word(text: &str) -> Option<Value> {
    let is_whole = text.len() < 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole && (text == "0" || !text.starts_with('0')) {
        return text.parse::<u64>().ok().map(Value::from);
    }
    // A dash alone is a list where nothing stands around it.
    yaml::scalar(text).filter(|value| !value.is_array())
}

fn insert(map: &mut Map<String, Value>, key: &str, value: Value) -> Option<()> {
    map.insert(key.to_owned(), value).is_none().then_some(())
}
