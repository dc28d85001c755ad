//! YAML files as trees that know their lines: manifests, workflow files, and where in compose.yaml a thing stands.
//!
//! The events come from a port of libyaml. So do those of go-yaml, with which Compose and kubectl read; `tests/differential.rs`
//! holds that the same texts are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// A file of more bytes than this is no workflow and no stack.
const TEXT_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Nodes, those that aliases repeat included: a few bytes of aliases can stand for more than any memory holds.
const NODE_LIMIT: usize = 500_000;
/// Lists and mappings within each other. A workload of Kubernetes has about twelve.
const DEPTH_LIMIT: usize = 100;
/// A scalar with another tag is a text, whatever it looks like.
const PLAIN_TAGS: [&str; 5] = [
    "tag:yaml.org,2002:null",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:merge",
];

/// A scalar with this tag is written in base64.
const BINARY_TAG: &str = "tag:yaml.org,2002:binary";

/// libyaml-safer 0.3.0 panics where a tag ends at a comma, as in `[!x, y]`. With a blank in between it does not, and what that does to
/// scalars is undone.
const TAG_END: (&str, &str) = (",", " ,");

/// The text with `to` in place of `from` behind everything that looks like a tag.
fn behind_tags(text: &str, (from, to): (&str, &str)) -> String {
    let (mut changed, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('!') {
        let tag = &rest[at..];
        // With another `!` in it, it may be the middle of a word.
        let whole = tag.strip_prefix("!<").and_then(|inner| Some(inner.split_once('>')?.0));
        let end = match whole.filter(|inner| !inner.contains('!')) {
            Some(inner) => "!<>".len() + inner.len(),
            None => tag.find(|c: char| c.is_whitespace() || ",[]{}".contains(c)).unwrap_or(tag.len()),
        };
        changed.push_str(&rest[..at + end]);
        rest = &rest[at + end..];
        if let Some(after) = rest.strip_prefix(from) {
            changed.push_str(to);
            rest = after;
        }
    }
    changed + rest
}

/// The text of a YAML file, also of one in UTF-16, which begins with a byte order mark.
pub(crate) fn decoded(bytes: &[u8]) -> String {
    let units = |of: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(move |two| of([two[0], two[1]]));
    let read = |units: &mut dyn Iterator<Item = u16>| {
        char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, ..] => read(&mut units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => read(&mut units(u16::from_be_bytes)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

const UNKNOWN_ESCAPE: &str = "\\/";

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
        let mut reader = Reader::new(text)?;
        loop {
            let event = reader.next()?;
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
                EventData::StreamEnd | EventData::DocumentEnd { .. } => {
                    return Ok(Self { line: line(event.start_mark), content: Content::Mapping(Vec::new()) });
                }
                _ => return reader.node(event, 0),
            }
        }
    }

    /// Reads every document of a file; one that is empty is none.
    ///
    /// # Errors
    /// What is wrong and on which line.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut reader = Reader::new(text)?;
        let mut documents = Vec::new();
        loop {
            let event = reader.next()?;
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
                EventData::DocumentStart { .. } => reader.anchors.clear(),
                EventData::StreamEnd => break,
                _ => documents.push(reader.node(event, 0)?),
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

    fn can_be_merged(&self) -> bool {
        let is_mapping = |node: &Self| matches!(node.content, Content::Mapping(_));
        is_mapping(self) || matches!(&self.content, Content::List(nodes) if nodes.iter().all(is_mapping))
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
    #[cfg(test)]
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
                // The first of several merges wins, and what is written outright wins over them all.
                for merged in self.merged().into_iter().rev() {
                    if let Value::Object(more) = merged.to_json() {
                        map.extend(more);
                    }
                }
                let own = entries.iter().filter(|(name, _)| name != "<<");
                map.extend(own.map(|(name, node)| (name.clone(), node.to_json())));
                Value::Object(map)
            }
            Content::Scalar { text, plain: false } => text.as_str().into(),
            Content::Scalar { text, plain: true } => plain_value(text),
        }
    }
}

/// What a scalar without quotes stands for, as kubectl reads it; `yes` and `on` are words.
fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => whole_number(text).or_else(|| fraction(text)).unwrap_or_else(|| text.into()),
    }
}

fn whole_number(text: &str) -> Option<Value> {
    let (is_negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', _, ..] if digits.bytes().all(|digit| (b'0'..b'8').contains(&digit)) => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    let is_signed_twice = digits.starts_with(['+', '-']);
    let number = u64::from_str_radix(digits, radix).ok().filter(|_| !is_signed_twice)?;
    match is_negative {
        false => Some(number.into()),
        true => 0_i64.checked_sub_unsigned(number).map(Value::from),
    }
}

fn fraction(text: &str) -> Option<Value> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_');
    let begins = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins || !text.chars().all(is_number) || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = text.replace('_', "").parse::<f64>().ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}

struct Reader {
    parser: Parser<Cursor<Vec<u8>>>,
    /// The letters of the text, where it has an escape that go-yaml does not know.
    with_unknown_escape: Option<Vec<char>>,
    /// Each with the number of nodes that it stands for.
    anchors: BTreeMap<String, (Node, usize)>,
    nodes: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT_BYTES {
            return Err(format!("has more than {TEXT_LIMIT_BYTES} bytes"));
        }
        let mut parser = Parser::new();
        let text = behind_tags(text, TAG_END);
        let with_unknown_escape = text.contains(UNKNOWN_ESCAPE).then(|| text.chars().collect());
        // The parser panics where a block of text ends without the end of a line; kubectl, too, adds one there.
        let end = if text.ends_with('\n') { "" } else { "\n" };
        parser.set_input(Cursor::new(format!("{text}{end}").into_bytes()));
        Ok(Self { parser, with_unknown_escape, anchors: BTreeMap::new(), nodes: 0 })
    }

    fn next(&mut self) -> Result<Event, String> {
        let mut event = self.parser.parse().map_err(|error| {
            let told = error.to_string();
            format!("is not valid YAML: {}", told.split_once("error: ").map_or(told.as_str(), |(_, what)| what))
        })?;
        if let EventData::Scalar { value, style, .. } = &mut event.data {
            if value.contains('!') {
                *value = behind_tags(value, (TAG_END.1, TAG_END.0));
            }
            if *style == ScalarStyle::DoubleQuoted && self.has_unknown_escape(event.start_mark, event.end_mark) {
                return Err(format!(
                    "is not valid YAML: found unknown escape character `/` in line {}",
                    line(event.start_mark)
                ));
            }
        }
        Ok(event)
    }

    /// libyaml takes `\/` in double quotes, as YAML 1.2 does; kubectl and Compose do not.
    fn has_unknown_escape(&self, start: Mark, end: Mark) -> bool {
        let place = |mark: Mark| usize::try_from(mark.index).unwrap_or(usize::MAX);
        let letters = self.with_unknown_escape.as_ref().and_then(|text| text.get(place(start)..place(end)));
        let mut letters = letters.into_iter().flatten();
        while let Some(letter) = letters.next() {
            if *letter == '\\' && letters.next() == Some(&'/') {
                return true;
            }
        }
        false
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > NODE_LIMIT { Err(format!("has more than {NODE_LIMIT} nodes")) } else { Ok(()) }
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<Node, String> {
        let line = line(event.start_mark);
        if depth > DEPTH_LIMIT {
            return Err(format!("has more than {DEPTH_LIMIT} levels in line {line}"));
        }
        let before = self.nodes;
        self.count(1)?;
        let (content, anchor) = match event.data {
            EventData::Scalar { value, anchor, tag: Some(tag), .. } if tag == BINARY_TAG => {
                let folded: String = value.split_whitespace().collect();
                let bytes = STANDARD.decode(folded);
                let bytes = bytes.map_err(|_| format!("has a binary value in line {line} that is not base64"))?;
                (Content::Scalar { text: String::from_utf8_lossy(&bytes).into_owned(), plain: false }, anchor)
            }
            EventData::Scalar { value, style, anchor, tag, .. } => {
                let is_text = tag.is_some_and(|tag| !PLAIN_TAGS.contains(&tag.as_str()));
                let plain = style == ScalarStyle::Plain && !is_text;
                (Content::Scalar { text: value, plain }, anchor)
            }
            EventData::SequenceStart { anchor, .. } => (self.list(depth)?, anchor),
            EventData::MappingStart { anchor, .. } => (self.mapping(depth)?, anchor),
            EventData::Alias { anchor } => {
                let Some((node, nodes)) = self.anchors.get(&anchor) else {
                    return Err(format!("uses the anchor {anchor} in line {line}, which is not set above it"));
                };
                // Counted before it is copied.
                let (nodes, limit) = (*nodes, NODE_LIMIT.saturating_sub(self.nodes));
                let node = (nodes <= limit).then(|| node.clone());
                self.count(nodes)?;
                return node.ok_or_else(|| format!("has more than {NODE_LIMIT} nodes"));
            }
            _ => return Err(format!("has an unexpected end in line {line}")),
        };
        let node = Node { line, content };
        if let Some(anchor) = anchor {
            let nodes = self.nodes - before;
            self.count(nodes)?;
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Content, String> {
        let mut nodes = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(Content::List(nodes));
            }
            nodes.push(self.node(event, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content, String> {
        let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                return Ok(Content::Mapping(entries));
            }
            let key = self.node(event, depth + 1)?;
            let Some(name) = key.text() else {
                return Err(format!("has a key that is a list or a mapping in line {}", key.line));
            };
            let plain = matches!(&key.content, Content::Scalar { plain: true, .. }).then(|| plain_value(name));
            // Neither Compose nor kubectl takes nothing for a name.
            if plain.as_ref().is_some_and(Value::is_null) {
                return Err(format!("has a key without a name in line {}", key.line));
            }
            if name == "<<" && plain.is_none() {
                return Err(format!("has the key `<<` in quotes, which merges nothing, in line {}", key.line));
            }
            // kubectl takes a number for its digits; Compose and kustomize refuse it.
            let number =
                plain.filter(Value::is_number).map(|number| match number.as_f64().filter(|_| number.is_f64()) {
                    Some(fraction) => fraction.to_string(),
                    None => number.to_string(),
                });
            let name = number.as_deref().unwrap_or(name);
            if !names.insert(name.to_owned()) {
                return Err(format!("has the key {name} twice in one mapping, again in line {}", key.line));
            }
            let event = self.next()?;
            let is_alias = matches!(event.data, EventData::Alias { .. });
            let mut value = self.node(event, depth + 1)?;
            // Several mappings may be listed where they are merged, but not elsewhere.
            let is_list_elsewhere = is_alias && matches!(value.content, Content::List(_));
            if name == "<<" && (is_list_elsewhere || !value.can_be_merged()) {
                return Err(format!("merges something other than a mapping in line {}", key.line));
            }
            value.line = key.line;
            entries.push((name.to_owned(), value));
        }
    }
}

fn line(mark: Mark) -> u32 {
    u32::try_from(mark.line + 1).unwrap_or(u32::MAX)
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
            json!({ "a": { "FOO": "1", "n": 5, "environment": ["X=1", "Y"] }, "b": { "t": true, "e": null, "q": "5", "r": 1.5 } })
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
    fn a_slash_behind_a_backslash_is_an_escape_in_double_quotes_only() {
        let read = Node::parse("a: \"x\\\\/y\"\nb: 'x\\/y'\nc: x\\/y\n").unwrap().to_json();
        assert_eq!(read, json!({ "a": "x\\/y", "b": "x\\/y", "c": "x\\/y" }));
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        assert!(Node::parse("a: [1\nb: {").unwrap_err().contains("line"));
        assert!(Node::parse("a: &x [*x]").is_err());
        assert_eq!(Node::parse("").unwrap().content, Content::Mapping(vec![]));
        for (text, why) in [
            ("a: 1\nb: 2\na: 3\n", "the key a twice in one mapping, again in line 3"),
            ("? [a]\n: 1\n", "a key that is a list or a mapping in line 1"),
            ("a: *b\n", "the anchor b in line 1"),
            ("a: 1\n~: x\n", "a key without a name in line 2"),
            ("a: 1\n<<: x\n", "other than a mapping in line 2"),
            ("a: &a {}\nb:\n  \"<<\": *a\n", "`<<` in quotes, which merges nothing, in line 3"),
            ("a: &a {}\nb: { !!str <<: *a }\n", "`<<` in quotes, which merges nothing, in line 2"),
            ("a: &a [{ b: 1 }]\nc:\n  <<: *a\n", "other than a mapping in line 3"),
            ("017: x\n15: y\n", "the key 15 twice"),
            ("a: é\nb: [!x, \"é\\/\"]\n", "unknown escape character `/` in line 2"),
        ] {
            assert!(Node::parse(text).unwrap_err().contains(why), "{text:?}: {:?}", Node::parse(text));
        }
    }

    /// Case Q06. What kubectl 1.36 makes of each.
    #[test]
    fn a_file_in_utf_16_and_a_binary_value_are_read() {
        let text = "a: é\n";
        let bytes = |order: fn(u16) -> [u8; 2]| {
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(order).collect::<Vec<_>>()
        };
        for bytes in
            [bytes(u16::to_le_bytes), bytes(u16::to_be_bytes), [b"\xef\xbb\xbf", text.as_bytes()].concat(), text.into()]
        {
            assert_eq!(Node::parse(&decoded(&bytes)).unwrap().to_json(), json!({ "a": "é" }), "{bytes:?}");
        }
        assert_eq!(Node::parse("a: !!binary aGk=\n").unwrap().to_json()["a"], "hi");
        assert!(Node::parse("a: !!binary a b!\n").unwrap_err().contains("not base64"));
    }

    /// As kubectl reads each of these.
    #[test]
    fn a_block_that_keeps_its_end_has_the_lines_that_the_file_has() {
        for (text, kept) in [("x", "x\n"), ("x\n", "x\n"), ("x\n\n", "x\n\n"), ("x\n ", "x\n\n"), ("x\r\n", "x\n")] {
            let read = Node::parse(&format!("d: |+\n  {text}")).unwrap().to_json();
            assert_eq!(read["d"], kept, "{text:?}");
        }
    }

    #[test]
    fn a_tag_may_end_at_a_comma() {
        let read = |text: &str| Node::parse(text).unwrap().to_json()["a"].clone();
        assert_eq!(read("a: [!x, !<tag:b>, !!str, 5]\n"), json!(["", "", "", 5]));
        assert_eq!(read("a: { b: !x, c: 1 }\n"), json!({ "b": "", "c": 1 }));
        assert_eq!(read("a: [x !y, \"p !q,r\", 's!,t']\n"), json!(["x !y", "p !q,r", "s!,t"]));
        assert_eq!(read("a: p !q,r\n"), "p !q,r");
        // What looks like the beginning of a tag within a word hides none behind it.
        assert_eq!(read("a: [x!<y,!,z>]\n"), json!(["x!<y", "", "z>"]));
        assert_eq!(read("a: [!<tag:yaml.org,2002:str> 5, !<b>, 5]\n"), json!(["5", "", 5]));
        assert_eq!(read("a: |\n  p !q,r!\n"), "p !q,r!\n");
    }

    /// Case Q06.
    #[test]
    fn a_flow_collection_may_end_at_the_indentation_of_its_parent() {
        for text in ["t: [\n\"x\"\n]\n", "a:\n  t: [\n    x\n  ]\n", "t: {\na: 1\n}\n", "t: \"a\nb\"\n"] {
            assert!(Node::parse(text).is_ok(), "{text:?}: {:?}", Node::parse(text));
        }
    }

    /// Case Q10: 8 KB of lists in lists, a bomb of aliases, one of merges.
    #[test]
    fn depth_and_repetition_have_limits() {
        for text in ["[".repeat(8000), "- ".repeat(4000), "{a: ".repeat(3000), "? ".repeat(4000)] {
            let _ = Node::parse_all(&text);
        }
        assert!(Node::parse(&format!("{}{}", "[".repeat(8000), "]".repeat(8000))).unwrap_err().contains("levels"));
        assert!(Node::parse(&format!("{}x{}", "[".repeat(90), "]".repeat(90))).is_ok());
        let bomb = |first: &str, next: &dyn Fn(usize) -> String| {
            let lines: String = (1..40).map(|at| format!("a{at}: &a{at} {}\n", next(at - 1))).collect();
            Node::parse(&format!("a0: &a0 {first}\n{lines}"))
        };
        let lists =
            bomb("[x]", &|at| format!("[*a{at}, *a{at}, *a{at}, *a{at}, *a{at}, *a{at}, *a{at}, *a{at}, *a{at}]"));
        assert!(lists.unwrap_err().contains("nodes"));
        let merges = bomb("{ k: 1 }", &|at| format!("{{ <<: [*a{at}, *a{at}, *a{at}], k{at}: *a{at} }}"));
        assert!(merges.is_err());
    }

    #[test]
    fn a_plain_scalar_stands_for_what_kubectl_takes_it_for() {
        for (text, value) in [
            ("yes", json!("yes")),
            ("True", json!(true)),
            ("NULL", json!(null)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("017", json!(15)),
            ("08", json!(8.0)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("1.50", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("1e", json!("1e")),
            ("-0b1", json!(-1)),
            ("12:30:45", json!("12:30:45")),
            ("0o8", json!("0o8")),
            (".", json!(".")),
            ("--1", json!("--1")),
            ("1.2.3", json!("1.2.3")),
            ("!!str 5", json!("5")),
            ("!own 5", json!("5")),
            ("!!int 5", json!(5)),
            ("'5'", json!("5")),
        ] {
            let read = Node::parse(&format!("a: {text}\n")).unwrap().to_json()["a"].clone();
            assert!(read == value || read.as_f64().is_some() && read.as_f64() == value.as_f64(), "{text}: {read}");
        }
    }
}
