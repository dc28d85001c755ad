//! YAML files as trees that know their lines: manifests, workflow files, and where in compose.yaml a thing stands.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// A file of more events than this is no workflow and no stack.
const EVENT_LIMIT: usize = 200_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The line of the node, or of the key in front of it.
    pub(crate) line: u32,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// `plain` is a scalar without quotes, which may stand for a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; `<<` is still there.
    Mapping(Vec<(String, Node)>),
}

impl Node {
    /// Reads the first document of a file.
    ///
    /// # Errors
    /// What is wrong and on which line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), events: 0 };
        loop {
            match reader.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, span) => {
                    return Ok(Self { line: line(span), content: Content::Mapping(Vec::new()) });
                }
                (event, span) => return reader.node(event, span),
            }
        }
    }

    /// Reads every document of a file; one that is empty is none.
    ///
    /// # Errors
    /// What is wrong and on which line.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), events: 0 };
        let mut documents = Vec::new();
        loop {
            match reader.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::StreamEnd, _) => break,
                (event, span) => documents.push(reader.node(event, span)?),
            }
        }
        // What stands for an empty document is an empty plain scalar.
        documents.retain(
            |node| !matches!(&node.content, Content::Scalar { text, plain: true } if text.is_empty() || text == "~"),
        );
        Ok(documents)
    }

    /// The value of a key, also of one that a merge (`<<`) brings in.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Mapping(entries) = &self.content else { return None };
        let own = entries.iter().find(|(name, _)| name == key).map(|(_, node)| node);
        own.or_else(|| self.merged().into_iter().find_map(|node| node.get(key)))
    }

    fn merged(&self) -> Vec<&Self> {
        let Content::Mapping(entries) = &self.content else { return Vec::new() };
        let merges = entries.iter().filter(|(name, _)| name == "<<");
        merges
            .flat_map(|(_, node)| match &node.content {
                Content::List(nodes) => nodes.iter().collect(),
                _ => vec![node],
            })
            .collect()
    }

    /// The line of the deepest part of a path that the file has.
    pub(crate) fn line_of(&self, path: &[&str]) -> Option<u32> {
        self.deepest(path).1
    }

    /// How many steps of a path the file has, and the line of the last of them. In a list a step is an item by its `name`, or
    /// the name in a `NAME=value`.
    pub(crate) fn deepest(&self, path: &[&str]) -> (usize, Option<u32>) {
        let mut node = self;
        let mut line = None;
        for (depth, step) in path.iter().enumerate() {
            let next = match &node.content {
                Content::List(nodes) => nodes.iter().find(|node| match &node.content {
                    Content::Scalar { text, .. } => text.split('=').next() == Some(step),
                    _ => node.get("name").and_then(Self::text) == Some(step),
                }),
                _ => node.get(step),
            };
            let Some(next) = next else { return (depth, line) };
            line = Some(next.line);
            node = next;
        }
        (path.len(), line)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The tree as JSON, merges carried out and plain scalars taken for what they stand for.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => {
                let mut map = Map::new();
                for merged in self.merged() {
                    if let Value::Object(more) = merged.to_json() {
                        map.extend(more);
                    }
                }
                let own = entries.iter().filter(|(name, _)| name != "<<");
                map.extend(own.map(|(name, node)| (name.clone(), node.to_json())));
                Value::Object(map)
            }
            Content::Scalar { text, plain: false } => text.as_str().into(),
            Content::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" => Value::Null,
                "true" => true.into(),
                "false" => false.into(),
                text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
            },
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    events: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        self.events += 1;
        if self.events > EVENT_LIMIT {
            return Err(format!("has more than {EVENT_LIMIT} nodes"));
        }
        let event = self.parser.next_event().ok_or("ends too early")?;
        event.map_err(|error| format!("is no YAML: {} in line {}", error.info(), error.marker().line()))
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, String> {
        let line = line(span);
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                (Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break (Content::List(nodes), anchor),
                        (event, span) => nodes.push(self.node(event, span)?),
                    }
                }
            }
            Event::MappingStart(anchor, _) => (self.mapping()?, anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                return node.ok_or_else(|| format!("uses an anchor within itself in line {line}"));
            }
            _ => return Err(format!("has an unexpected end in line {line}")),
        };
        let node = Node { line, content };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self) -> Result<Content, String> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Mapping(entries));
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span)?;
            value.line = key.line;
            entries.push((key.text().unwrap_or_default().to_owned(), value));
        }
    }
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = "x-a: &a { FOO: \"1\", n: 5 }\nservices:\n  a:\n    <<: *a\n    environment:\n      - X=1\n      - Y\n  b: { t: true, e: , q: \"5\", r: 1.5 }\n";

    #[test]
    fn a_tree_knows_its_lines_and_merges() {
        let root = Node::parse(FILE).unwrap();
        assert_eq!(root.line_of(&["services", "a", "environment", "Y"]), Some(7));
        assert_eq!(root.line_of(&["services", "a", "FOO"]), Some(1));
        assert_eq!(root.line_of(&["services", "a", "nothing"]), Some(3));
        assert_eq!(root.line_of(&["nothing"]), None);
        assert_eq!(
            root.to_json()["services"],
            json!({ "a": { "FOO": "1", "n": 5, "environment": ["X=1", "Y"] }, "b": { "t": true, "e": null, "q": "5", "r": "1.5" } })
        );
    }

    #[test]
    fn every_document_is_read_and_an_empty_one_is_none() {
        let documents = Node::parse_all("---\na: 1\n---\n---\n# nothing\n---\nb: [{ name: x, c: 2 }]\n...\n").unwrap();
        let read: Vec<_> = documents.iter().map(Node::to_json).collect();
        assert_eq!(read, [json!({ "a": 1 }), json!({ "b": [{ "name": "x", "c": 2 }] })]);
        assert_eq!(documents[1].deepest(&["b", "x", "c"]), (3, Some(7)));
        assert_eq!(documents[1].deepest(&["b", "y"]), (1, Some(7)));
        assert!(Node::parse_all("").unwrap().is_empty());
        assert!(Node::parse_all("a: 1\n---\nb: [").is_err());
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        assert!(Node::parse("a: [1\nb: {").unwrap_err().contains("line"));
        assert!(Node::parse("a: &x [*x]").is_err());
        assert_eq!(Node::parse("").unwrap().content, Content::Mapping(vec![]));
    }
}
