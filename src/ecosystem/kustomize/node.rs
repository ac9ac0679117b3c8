//! YAML as a tree of nodes with places, for the parts of kustomizations and resources that are read.
//!
//! Reads as much as possible of an invalid text. Does not know the meaning of nodes or types other than text:
//! kustomize takes names and paths literally.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser};
use serde::{Deserialize, Serialize};

/// A place in a file; line and column start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    /// The first character of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(marker: Marker) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(marker.line()),
            column: narrow(marker.col() + 1),
        }
    }
}

/// Where and why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    pub(crate) at: Place,
    pub(crate) message: String,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(crate) at: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(String),
    Sequence(Vec<Node>),
    /// In the order of the text.
    Mapping(Vec<(Node, Node)>),
}

/// The documents of a text, and why they are incomplete.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(crate) nodes: Vec<Node>,
    pub(crate) broken: Option<Broken>,
}

/// Limit for copies of anchored nodes, in nodes: enough for hand-written files, too few for a bomb.
const COPIES: usize = 100_000;

/// Reads a text; if it is invalid, the part before the error.
pub(super) fn parse(text: &str) -> Documents {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.event(event, Place::of(span.start)),
            Err(error) => {
                return builder.finish(Some(Broken {
                    at: Place::of(*error.marker()),
                    message: error.info(),
                }));
            }
        }
    }
    builder.finish(None)
}

impl Node {
    /// The value of a key of a mapping or of what is merged into it. Ignores case, like kustomize.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        let own = entries.iter().find(|(name, _)| name.is(key));
        own.map(|(_, value)| value)
            .or_else(|| merged(entries).find_map(|node| node.get(key)))
    }

    /// The keys of a mapping and of what is merged into it.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let Value::Mapping(entries) = &self.value else {
            return Vec::new();
        };
        let own = entries.iter().filter_map(|(name, _)| name.text());
        own.filter(|name| *name != "<<")
            .chain(merged(entries).flat_map(Node::keys))
            .collect()
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a sequence; empty for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    fn is(&self, key: &str) -> bool {
        self.text()
            .is_some_and(|text| text.eq_ignore_ascii_case(key))
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Node::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum(),
        }
    }
}

fn merged(entries: &[(Node, Node)]) -> impl Iterator<Item = &Node> {
    let merges = entries.iter().filter(|(name, _)| name.is("<<"));
    merges.flat_map(|(_, value)| match &value.value {
        Value::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(value),
    })
}

struct Open {
    at: Place,
    anchor: usize,
    mapping: bool,
    /// Items, or alternating keys and values.
    items: Vec<Node>,
}

impl Open {
    fn close(self) -> Node {
        let value = if self.mapping {
            let mut items = self.items.into_iter();
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            Value::Mapping(pairs.collect())
        } else {
            Value::Sequence(self.items)
        };
        Node { at: self.at, value }
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    copied: usize,
    documents: Documents,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Place) {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let value = Value::Scalar(text.into_owned());
                self.add(Node { at, value }, anchor);
            }
            Event::Alias(anchor) => {
                let node = self.copy(anchor, at);
                self.add(node, 0);
            }
            Event::SequenceStart(_, anchor, _) => self.begin(at, anchor, false),
            Event::MappingStart(_, anchor, _) => self.begin(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => {}
        }
    }

    fn begin(&mut self, at: Place, anchor: usize, mapping: bool) {
        self.open.push(Open {
            at,
            anchor,
            mapping,
            items: Vec::new(),
        });
    }

    fn end(&mut self) {
        if let Some(open) = self.open.pop() {
            let anchor = open.anchor;
            self.add(open.close(), anchor);
        }
    }

    fn add(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.documents.nodes.push(node),
        }
    }

    fn copy(&mut self, anchor: usize, at: Place) -> Node {
        let nothing = Value::Scalar(String::new());
        let Some(node) = self.anchors.get(&anchor) else {
            return Node { at, value: nothing };
        };
        self.copied += node.size();
        let value = if self.copied > COPIES {
            nothing
        } else {
            node.value.clone()
        };
        Node { at, value }
    }

    fn finish(mut self, broken: Option<Broken>) -> Documents {
        while !self.open.is_empty() {
            self.end();
        }
        self.documents.broken = broken;
        self.documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_with_their_places_through_anchors_and_merges() {
        let text = "x: &x\n  files: &f [a, b]\nY:\n  <<: [*x]\n  g: *f\n";
        let documents = parse(text);
        let y = documents.nodes[0].get("y").expect("any case will do");
        assert_eq!(y.keys(), ["g", "files"]);
        let files = y.get("files").expect("merged").items();
        assert_eq!(files[1].text(), Some("b"));
        assert_eq!(
            files[1].at,
            Place {
                line: 2,
                column: 17
            }
        );
        assert_eq!(y.get("g").map(|g| g.at), Some(Place { line: 5, column: 6 }));
    }

    #[test]
    fn keeps_what_stands_before_an_error() {
        let documents = parse("kind: Component\nresources:\n- a\n- b: c: d\n");
        let broken = documents.broken.expect("it is broken");
        assert_eq!(broken.at.line, 4);
        let resources = documents.nodes[0].get("resources").expect("was read");
        assert_eq!(resources.items()[0].text(), Some("a"));
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..30 {
            let last = n - 1;
            bomb += &format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{last}"); 9].join(", ")
            );
        }
        assert!(parse(&bomb).nodes[0].size() < 4 * COPIES);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[-?:,{}\\[\\]&*<#|>'\"!ab \\n]{0,60}") {
            for node in parse(&text).nodes {
                node.get("a");
                node.keys();
            }
        }
    }
}
