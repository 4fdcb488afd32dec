//! The path of an operation: literal segments and parameters.

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
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter { name, .. } => Some(name.as_str()),
        })
    }

    /// The template in the syntax of `matchit` 0.9.
    pub fn pattern(&self) -> String {
        self.pattern_named(|name| name)
    }

    /// The template with every parameter named alike: two that are equal so match the same paths.
    pub(super) fn nameless(&self) -> String {
        self.pattern_named(|_| "_")
    }

    fn pattern_named<'a>(&'a self, naming: impl Fn(&'a str) -> &'a str) -> String {
        let mut pattern = String::with_capacity(self.text.len());
        for segment in &self.segments {
            pattern.push('/');
            match segment {
                Segment::Literal(text) => pattern.push_str(text),
                Segment::Parameter { prefix, name, suffix } => {
                    pattern.extend([prefix.as_str(), "{", naming(name), "}", suffix.as_str()]);
                }
            }
        }
        pattern
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((prefix, rest)) = text.split_once('{') else {
            return match text.contains('}') {
                true => Err(format!("has a `}}` without `{{` in `{text}`")),
                false => Ok(Self::Literal(text.to_owned())),
            };
        };
        let Some((name, suffix)) = rest.split_once('}') else {
            return Err(format!("has a `{{` without `}}` in `{text}`"));
        };
        if suffix.contains('{') {
            return Err(format!("has two parameters in the one segment `{text}`; one can be told apart"));
        }
        if prefix.contains('}') || suffix.contains('}') {
            return Err(format!("has a `}}` without `{{` in `{text}`"));
        }
        if name.is_empty() || name.contains(['{', '*', '+', '=']) {
            return Err(format!("has `{{{name}}}`, which is not the name of a parameter"));
        }
        Ok(Self::Parameter { prefix: prefix.to_owned(), name: name.to_owned(), suffix: suffix.to_owned() })
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
    fn a_template_that_cannot_be_routed_is_refused_with_the_reason() {
        let refused = |text| PathTemplate::parse(text).unwrap_err();
        assert_eq!(refused("orders"), "must begin with a slash");
        assert_eq!(refused("/orders?full={full}"), "must be a path alone, without a query or fragment");
        assert_eq!(refused("/{a}-{b}"), "has two parameters in the one segment `{a}-{b}`; one can be told apart");
        assert_eq!(refused("/{a}/{a}"), "has the parameter `a` twice");
        assert_eq!(refused("/{a"), "has a `{` without `}` in `{a`");
        assert_eq!(refused("/a}"), "has a `}` without `{` in `a}`");
        assert_eq!(refused("/{proxy+}"), "has `{proxy+}`, which is not the name of a parameter");
        assert_eq!(refused("/{}"), "has `{}`, which is not the name of a parameter");
    }
}
