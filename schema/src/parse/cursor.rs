//! A walk over one parsed document: the tape says what a value is, the structural characters say
//! where it stands in the text. Must not know what the members mean.
//!
//! Every value has exactly one structural mark at its first byte; a container has one more at its
//! closing bracket; colons and commas have one each. (A string's closing quote has none.)

use simd_json::{Buffers, Node, StaticNode, Tape};

/// A value of the document, already passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    /// What it is; a container's members are not looked at any more.
    pub(super) node: Node<'a>,
    /// Its text, exactly as sent.
    pub(super) raw: &'a str,
    /// How deep arrays and objects are nested in it: 0 for a scalar, 1 for `[]`.
    pub(super) depth: usize,
}

impl Value<'_> {
    pub(super) const fn is_null(&self) -> bool {
        matches!(self.node, Node::Static(StaticNode::Null))
    }
}

/// Where the walk stands.
#[derive(Debug)]
pub(super) struct Cursor<'t, 'a> {
    text: &'a str,
    nodes: &'t [Node<'a>],
    marks: &'t [u32],
    node: usize,
    mark: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    /// A walk from the root of `text`, of which `tape` and `buffers` were just filled.
    pub(super) fn new(text: &'a str, tape: &'t Tape<'a>, buffers: &'t Buffers) -> Self {
        Self { text, nodes: &tape.0, marks: buffers.structural_indexes(), node: 0, mark: 0 }
    }

    /// The next value's kind.
    pub(super) fn peek(&self) -> Node<'a> {
        self.nodes.get(self.node).copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    /// Where the next structural character stands.
    pub(super) fn offset(&self) -> usize {
        self.marks.get(self.mark).map_or(self.text.len(), |mark| *mark as usize)
    }

    /// The text from `start` to the end of what was passed last.
    pub(super) fn text_from(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset()).unwrap_or_default().trim_ascii_end()
    }

    /// Passes the next value.
    pub(super) fn value(&mut self) -> Value<'a> {
        let start = self.offset();
        let node = self.peek();
        let depth = match node {
            Node::Object { count, .. } | Node::Array { count, .. } => {
                self.node += count + 1;
                self.pass_container()
            }
            Node::String(_) | Node::Static(_) => {
                self.node += 1;
                self.mark += 1;
                0
            }
        };
        Value { node, raw: self.text_from(start), depth }
    }

    /// Passes an object, calling `member` for each with its key and where that begins; `member`
    /// must pass the value. False, and nothing passed, if the next value is not an object.
    pub(super) fn members(&mut self, mut member: impl FnMut(&mut Self, &'a str, usize)) -> bool {
        let Node::Object { len, .. } = self.peek() else {
            return false;
        };
        self.enter(len);
        for _ in 0..len {
            let start = self.offset();
            let key = match self.peek() {
                Node::String(key) => key,
                _ => "",
            };
            self.node += 1;
            self.mark += 2;
            member(self, key, start);
            self.mark += 1;
        }
        true
    }

    /// Passes an array, calling `element` for each, which must pass the value. False, and nothing
    /// passed, if the next value is not an array.
    pub(super) fn elements(&mut self, mut element: impl FnMut(&mut Self, usize)) -> bool {
        let Node::Array { len, .. } = self.peek() else {
            return false;
        };
        self.enter(len);
        for index in 0..len {
            element(self, index);
            self.mark += 1;
        }
        true
    }

    /// Passes the opening bracket, and the closing one if nothing stands between them.
    const fn enter(&mut self, len: usize) {
        self.node += 1;
        self.mark += if len == 0 { 2 } else { 1 };
    }

    /// Passes all marks of a container; how deep it is nested.
    fn pass_container(&mut self) -> usize {
        let bytes = self.text.as_bytes();
        let (mut depth, mut deepest) = (0_usize, 0);
        while let Some(mark) = self.marks.get(self.mark) {
            self.mark += 1;
            match bytes.get(*mark as usize) {
                Some(b'{' | b'[') => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        deepest
    }
}
