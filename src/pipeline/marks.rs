//! Finds out where everything in a YAML text stands: the second, cold pass, made only when there is something
//! to tell. It does not interpret scalars and never copies what an alias repeats.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry as MapEntry};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as ParserSpan, Tag};

/// Deeper texts are refused by the first pass as well; the limit keeps the tree safe to drop and walk.
const DEEPEST: usize = 200;

/// The positions of everything in one text.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The document, unless the text broke off before it was complete.
    pub root: Option<Arc<Node>>,
    /// Keys given more than once in one map; the tree holds the first of each.
    pub duplicates: Vec<Duplicate>,
    /// Where and why the text is no YAML.
    pub fault: Option<(Span, String)>,
    /// Where a second document starts.
    pub second_document: Option<Span>,
}

/// One value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub span: Span,
    /// A tag that is not YAML's own.
    pub tag: Option<String>,
    pub content: Content,
    /// How many levels lie below; aliases count as what they repeat.
    height: usize,
}

/// What a [`Node`] holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A scalar written without quotes, uninterpreted.
    Plain(String),
    /// A scalar that is text whatever it looks like.
    Text(String),
    List(Vec<Arc<Node>>),
    Map(BTreeMap<String, Entry>),
    /// An alias to something that contains it, or to nothing.
    Nowhere,
}

/// One entry of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: Arc<Node>,
    pub value: Arc<Node>,
}

/// A part of one line; lines and columns count from 1, columns and lengths in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub line: usize,
    pub column: usize,
    pub length: usize,
}

/// A key that its map holds already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    /// The keys that lead to it, itself the last; list positions are left out.
    pub path: Vec<String>,
    /// The repetition.
    pub again: Span,
    /// The line of the first.
    pub first_line: usize,
}

impl Marks {
    /// Marks a text; what follows a fault stays unmarked.
    pub(super) fn new(text: &str) -> Marks {
        let mut builder = Builder::default();
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((Event::DocumentStart(_), span)) if builder.marks.root.is_some() => {
                    builder.marks.second_document = Some(Span::new(span));
                    break;
                }
                Ok((event, span)) => builder.take(event, Span::new(span)),
                Err(error) => builder.marks.fault = Some(fault(&error)),
            }
            if builder.marks.fault.is_some() {
                break;
            }
        }
        builder.marks
    }
}

impl Node {
    /// The key's span (none for list items) and the value at a path below this node.
    pub(super) fn at(&self, path: &[&str]) -> Option<(Option<Span>, &Node)> {
        let mut found = (None, self);
        for &step in path {
            found = match &found.1.content {
                Content::Map(entries) => {
                    entries.get(step).map(|entry| (Some(entry.key.span), &*entry.value))?
                }
                Content::List(items) => (None, &**items.get(step.parse::<usize>().ok()?)?),
                _ => return None,
            };
        }
        Some(found)
    }

    /// The text by which the node is known as a key; keys that are no scalars only need to be told from others.
    fn as_key(&self) -> &str {
        match &self.content {
            Content::Plain(text) | Content::Text(text) => text,
            Content::List(_) | Content::Map(_) | Content::Nowhere => "?",
        }
    }
}

impl Span {
    fn new(span: ParserSpan) -> Span {
        let length = if span.start.line() == span.end.line() { span.len() } else { usize::MAX };
        Span { line: span.start.line(), column: span.start.col() + 1, length }
    }
}

fn fault(error: &ScanError) -> (Span, String) {
    let span = Span { line: error.marker().line().max(1), column: error.marker().col() + 1, length: 1 };
    (span, error.info().to_owned())
}

/// Puts the parser's flat events together into a tree, without recursion.
#[derive(Default)]
struct Builder {
    marks: Marks,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
}

/// A list or map whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: the key whose value comes next.
    key: Option<Arc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event, span: Span) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain =
                    style == ScalarStyle::Plain && tag.as_ref().is_none_or(|tag| tag.suffix != "str");
                let content = if is_plain { Content::Plain } else { Content::Text };
                self.place(
                    Node { span, tag: odd(tag), content: content(text.into_owned()), height: 0 },
                    anchor,
                );
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.attach(span, Arc::clone(node)),
                None => self.place(Node { span, tag: None, content: Content::Nowhere, height: 0 }, 0),
            },
            Event::SequenceStart(anchor, tag) => self.start(span, anchor, tag, Content::List(vec![])),
            Event::MappingStart(anchor, tag) => self.start(span, anchor, tag, Content::Map(BTreeMap::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.place(open.node, open.anchor);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, span: Span, anchor: usize, tag: Option<Cow<Tag>>, content: Content) {
        if self.open.len() == DEEPEST {
            self.too_deep(span);
        }
        self.open.push(Open { node: Node { span, tag: odd(tag), content, height: 0 }, anchor, key: None });
    }

    fn place(&mut self, node: Node, anchor: usize) {
        let (span, node) = (node.span, Arc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.attach(span, node);
    }

    /// Puts a complete node where it belongs: the root, the next item, the next key or that key's value.
    fn attach(&mut self, span: Span, node: Arc<Node>) {
        if self.open.len() + node.height > DEEPEST {
            return self.too_deep(span);
        }
        let Some(open) = self.open.last_mut() else {
            self.marks.root = Some(node);
            return;
        };
        open.node.height = open.node.height.max(node.height + 1);
        match &mut open.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => match entries.entry(key.as_key().to_owned()) {
                    MapEntry::Vacant(vacant) => drop(vacant.insert(Entry { key, value: node })),
                    MapEntry::Occupied(first) => {
                        let first_line = first.get().key.span.line;
                        let outer = self.open.iter().filter_map(|open| open.key.as_ref());
                        let path = outer.chain([&key]).map(|key| key.as_key().to_owned()).collect();
                        self.marks.duplicates.push(Duplicate { path, again: key.span, first_line });
                    }
                },
            },
            Content::Plain(_) | Content::Text(_) | Content::Nowhere => {}
        }
    }

    fn too_deep(&mut self, span: Span) {
        self.marks.fault = Some((span, format!("nested more than {DEEPEST} deep")));
    }
}

/// A tag that YAML itself gives no meaning.
fn odd(tag: Option<Cow<Tag>>) -> Option<String> {
    tag.filter(|tag| !tag.is_yaml_core_schema()).map(|tag| tag.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, path: &[&str]) -> Option<(usize, usize)> {
        let marks = Marks::new(text);
        let (key, node) = marks.root.as_ref()?.at(path)?;
        let span = key.unwrap_or(node.span);
        Some((span.line, span.column))
    }

    #[test]
    fn keys_and_items_are_found_in_block_and_flow_style() {
        let text = "stages:\n  a: { with: { epochs: 5 } }\n  b:\n    - x\n    - { y: 1 }\n";
        assert_eq!(place(text, &["stages", "a", "with", "epochs"]), Some((2, 16)));
        assert_eq!(place(text, &["stages", "b", "1", "y"]), Some((5, 9)));
        assert_eq!(place(text, &["stages", "b", "2"]), None);
    }

    #[test]
    fn an_alias_stands_where_its_anchor_does() {
        assert_eq!(place("a: &x\n  k: 1\nb: *x\n", &["b", "k"]), Some((2, 3)));
    }

    #[test]
    fn every_duplicate_is_found_and_the_first_one_kept() {
        let marks = Marks::new("a: 1\nb: { c: 1, c: 2 }\na: 2\na: 3\n");
        let found: Vec<_> = marks.duplicates.iter().map(|d| (d.path.join("."), d.again.line)).collect();
        assert_eq!(found, [("b.c".to_owned(), 2), ("a".into(), 3), ("a".into(), 4)]);
    }

    #[test]
    fn absurd_depth_and_alias_bombs_are_survived() {
        assert!(Marks::new(&"[".repeat(100_000)).fault.is_some());
        assert!(Marks::new(&"- ".repeat(100_000)).fault.is_some());
        let bomb = (1..60).fold(String::from("a0: &a0 [x, x]\n"), |text, n| {
            text + &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)
        });
        assert_eq!(place(&bomb, &["a59", "1", "1"]), Some((58, 6)));
        let chain =
            (1..50_000).fold(String::from("- &a0 x\n"), |text, n| text + &format!("- &a{n} [*a{}]\n", n - 1));
        assert!(Marks::new(&chain).fault.is_some());
        assert!(Marks::new("a: &a [*a]").root.is_some());
    }
}
