//! The path of an operation: literal segments and parameters.

use std::borrow::Cow;

/// A path template such as `/orders/{id}`, parsed. It begins with a slash; a slash at its end counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, as it stands in a request line.
    Literal(String),
    /// A parameter, with what stands before and behind it in the same segment, as in `/reports/{name}.csv`. It takes at
    /// least one character.
    Parameter {
        /// Literal text before it; mostly empty.
        prefix: String,
        /// Its name, without braces.
        name: String,
        /// Literal text behind it; mostly empty.
        suffix: String,
        /// Further parameters before the suffix, each with the text that stands before it and is never empty, as in
        /// `/compare/{base}...{head}`; mostly none. A router takes them all for one: see [`PathTemplate::value`].
        more: Vec<(String, String)>,
    },
}

impl PathTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Why it cannot be routed, in a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err("must begin with a slash".to_owned()) };
        if text.contains(['?', '#']) {
            return Err("must be a path alone, without a query or fragment".to_owned());
        }
        let segments = rest.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let template = Self { text: text.to_owned(), segments };
        let names: Vec<&str> = template.names().collect();
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(format!("has the parameter `{name}` twice")),
            None => Ok(template),
        }
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its segments; the root `/` has one, which is empty, and a slash at the end adds an empty one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(Segment::names)
    }

    /// The template in the syntax of `matchit` 0.9. Several parameters of one segment are one there, named by all of
    /// them: `/compare/{base...head}`.
    pub fn pattern(&self) -> String {
        self.pattern_named(|joined| joined)
    }

    /// The value of a parameter, given what the parameters of the [pattern](Self::pattern) matched. The first place at
    /// which the text between two parameters stands parts them. `None` where there is no such parameter, or the text
    /// that parts it from another is not there.
    pub fn value<'v>(&self, name: &str, matched: impl Fn(&str) -> Option<&'v str>) -> Option<&'v str> {
        let segment = self.segments.iter().find(|segment| segment.names().any(|known| known == name))?;
        let Segment::Parameter { name: first, more, .. } = segment else { return None };
        let mut rest = matched(&segment.joined())?;
        let mut at = first;
        for (separator, next) in more {
            let (value, behind) = rest.split_once(separator.as_str())?;
            if at == name {
                return Some(value);
            }
            (rest, at) = (behind, next);
        }
        Some(rest)
    }

    /// The template with every parameter named alike: two that are equal so match the same paths.
    pub(super) fn nameless(&self) -> String {
        self.pattern_named(|_| "_")
    }

    fn pattern_named(&self, naming: impl Fn(&str) -> &str) -> String {
        let mut pattern = String::with_capacity(self.text.len());
        for segment in &self.segments {
            pattern.push('/');
            match segment {
                Segment::Literal(text) => pattern.push_str(text),
                Segment::Parameter { prefix, suffix, .. } => {
                    pattern.extend([prefix.as_str(), "{", naming(&segment.joined()), "}", suffix.as_str()]);
                }
            }
        }
        pattern
    }
}

impl Segment {
    /// The names of its parameters, in order.
    fn names(&self) -> impl Iterator<Item = &str> {
        let (first, more) = match self {
            Self::Literal(_) => (None, [].as_slice()),
            Self::Parameter { name, more, .. } => (Some(name.as_str()), more.as_slice()),
        };
        first.into_iter().chain(more.iter().map(|(_, name)| name.as_str()))
    }

    /// Its parameters as the one that a router takes them for.
    fn joined(&self) -> Cow<'_, str> {
        match self {
            Self::Literal(_) => Cow::Borrowed(""),
            Self::Parameter { name, more, .. } if more.is_empty() => Cow::Borrowed(name),
            Self::Parameter { name, more, .. } => {
                let parts = more.iter().flat_map(|(separator, name)| [separator.as_str(), name.as_str()]);
                Cow::Owned([name.as_str()].into_iter().chain(parts).collect())
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('{');
        let prefix = parts.next().unwrap_or_default();
        let mut parameters = Vec::new();
        for part in parts {
            let Some((name, behind)) = part.split_once('}') else {
                return Err(format!("has a `{{` without `}}` in `{text}`"));
            };
            if name.is_empty() || name.contains(['*', '+', '=']) {
                return Err(format!("has `{{{name}}}`, which is not the name of a parameter"));
            }
            parameters.push((name.to_owned(), behind.to_owned()));
        }
        if prefix.contains('}') || parameters.iter().any(|(_, behind)| behind.contains('}')) {
            return Err(format!("has a `}}` without `{{` in `{text}`"));
        }
        let Some((last, suffix)) = parameters.pop() else { return Ok(Self::Literal(text.to_owned())) };
        if parameters.iter().any(|(_, behind)| behind.is_empty()) {
            return Err(format!("has two parameters in `{text}` with nothing between them to tell them apart"));
        }
        // Each is followed by the text that parts it from the next.
        let mut more = Vec::new();
        let mut name = last;
        for (before, separator) in parameters.into_iter().rev() {
            more.insert(0, (separator, std::mem::replace(&mut name, before)));
        }
        Ok(Self::Parameter { prefix: prefix.to_owned(), name, suffix, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_segments_and_a_pattern() {
        let template = PathTemplate::parse("/reports/{year}/r-{name}.csv/").unwrap();
        let parameter = |prefix: &str, name: &str, suffix: &str| Segment::Parameter {
            prefix: prefix.to_owned(),
            name: name.to_owned(),
            suffix: suffix.to_owned(),
            more: Vec::new(),
        };
        assert_eq!(
            template.segments(),
            [
                Segment::Literal("reports".to_owned()),
                parameter("", "year", ""),
                parameter("r-", "name", ".csv"),
                Segment::Literal(String::new()),
            ]
        );
        assert_eq!(template.pattern(), "/reports/{year}/r-{name}.csv/");
        assert_eq!(template.nameless(), "/reports/{_}/r-{_}.csv/");
        assert_eq!(PathTemplate::parse("/").unwrap().pattern(), "/");
    }

    #[test]
    fn several_parameters_of_a_segment_are_parted_by_what_stands_between_them() {
        let template = PathTemplate::parse("/x{a}-{b}...{c}.gz/{d}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(template.pattern(), "/x{a-b...c}.gz/{d}");
        let values = |matched: &'static str| {
            let given = move |name: &str| {
                [("a-b...c", matched), ("d", "4")].iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
            };
            ["a", "b", "c", "d", "e"].map(|name| template.value(name, given))
        };
        assert_eq!(values("1-2...3-...4"), [Some("1"), Some("2"), Some("3-...4"), Some("4"), None]);
        assert_eq!(values("1-2"), [Some("1"), None, None, Some("4"), None]);
    }

    #[test]
    fn a_template_that_cannot_be_routed_is_refused_with_the_reason() {
        let refused = |text| PathTemplate::parse(text).unwrap_err();
        assert_eq!(refused("orders"), "must begin with a slash");
        assert_eq!(refused("/orders?full={full}"), "must be a path alone, without a query or fragment");
        assert_eq!(refused("/{a}{b}"), "has two parameters in `{a}{b}` with nothing between them to tell them apart");
        assert_eq!(refused("/{a}/{a}"), "has the parameter `a` twice");
        assert_eq!(refused("/{a"), "has a `{` without `}` in `{a`");
        assert_eq!(refused("/a}"), "has a `}` without `{` in `a}`");
        assert_eq!(refused("/{proxy+}"), "has `{proxy+}`, which is not the name of a parameter");
        assert_eq!(refused("/{}"), "has `{}`, which is not the name of a parameter");
    }
}
