//! Routes for a path and everything below it: a tree of segments, of which the deepest that fits is taken.

use std::collections::HashMap;

use portolan_exchange::Method;

use super::{Found, Leaf};

/// A tree of segments. A look-up costs the segments of the path, whatever the number of routes.
#[derive(Default)]
pub struct Below {
    literal: HashMap<Box<str>, Below>,
    parameter: Option<Box<Below>>,
    leaf: Option<Leaf>,
}

/// The name of a segment that is a parameter.
pub fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl Below {
    /// The leaf of this base, made if there is none.
    pub fn leaf_mut(&mut self, base: &str) -> &mut Leaf {
        let mut node = self;
        for segment in segments(base) {
            node = match parameter(segment) {
                Some(_) => node.parameter.get_or_insert_default(),
                None => node.literal.entry(segment.into()).or_default(),
            };
        }
        node.leaf.get_or_insert_default()
    }

    /// The deepest route that this path stands below; the methods that there are, when none of them takes this one.
    pub fn find(&self, path: &str, method: &Method) -> Option<Result<Found<'_>, String>> {
        if self.literal.is_empty() && self.parameter.is_none() && self.leaf.is_none() {
            return None;
        }
        self.deepest(path, &mut Vec::new(), method)
    }

    /// As [`Below::find`], of what is left of a path; `values` are those of the parameters on the way here.
    fn deepest<'r, 'p>(
        &'r self,
        path: &'p str,
        values: &mut Vec<&'p str>,
        method: &Method,
    ) -> Option<Result<Found<'r>, String>> {
        let mut not_allowed = None;
        let is_inner = !self.literal.is_empty() || self.parameter.is_some();
        if is_inner && let Some((first, rest)) = split_first(path) {
            let known = values.len();
            for (node, is_parameter) in [(self.literal.get(first), false), (self.parameter.as_deref(), true)] {
                let Some(node) = node else { continue };
                if is_parameter {
                    values.push(first);
                }
                match node.deepest(rest, values, method) {
                    Some(Ok(found)) => return Some(Ok(found)),
                    Some(Err(allowed)) => not_allowed = not_allowed.or(Some(allowed)),
                    None => {}
                }
                values.truncate(known);
            }
        }
        match self.leaf.as_ref().map(|leaf| leaf.found(method, values.iter().copied())) {
            Some(Ok(found)) => Some(Ok(found)),
            Some(Err(allowed)) => Some(Err(not_allowed.unwrap_or(allowed))),
            None => not_allowed.map(Err),
        }
    }
}

/// The first segment of a path, and what is left behind it.
fn split_first(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return None;
    }
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/').filter(|segment| !segment.is_empty())
}
