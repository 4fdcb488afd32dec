//! What does not fit a schema, in sentences for people. They never repeat a value of the request: it may be large, or
//! a secret on its way into a log.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::contract::escape;
use crate::json::shown;

/// How many members an error names.
const NAMED: usize = 8;

/// Tells the JSON pointer and the sentence of each place at which an error is to be mended.
pub(crate) fn of(error: &ValidationError<'_>, tell: &mut dyn FnMut(String, String)) {
    let at = error.instance_path().as_str();
    let member = |name: &str| format!("{at}/{}", escape(shown(name)));
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            tell(member(name), "is required".to_owned());
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(NAMED) {
                tell(member(name), "is not a known member".to_owned());
            }
        }
        Kind::PropertyNames { error } => {
            let mut reasons = Vec::new();
            of(error, &mut |_, reason| reasons.push(reason));
            tell(at.to_owned(), format!("has a member whose name {}", reasons.join(" and ")));
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match meant(context, at) {
            Some(branch) => branch.iter().for_each(|error| of(error, tell)),
            None => tell(at.to_owned(), "fits none of the forms it may have".to_owned()),
        },
        kind => tell(at.to_owned(), plain(kind)),
    }
}

/// The one alternative that the value was meant to be: the only one that takes values of its type. With `null` as the
/// other one, as for anything nullable, that is what the caller needs to hear.
fn meant<'c>(context: &'c [Vec<ValidationError<'static>>], at: &str) -> Option<&'c [ValidationError<'static>]> {
    let wrong_kind = |error: &ValidationError<'_>| {
        error.instance_path().as_str() == at
            && matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. })
    };
    let mut fitting = context.iter().filter(|branch| !branch.iter().any(wrong_kind));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn plain(kind: &Kind) -> String {
    match kind {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { options } => one_of(options),
        Kind::Constant { expected_value } => format!("must be {}", value(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {}", value(limit)),
        Kind::Maximum { limit } => format!("must be at most {}", value(limit)),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {}", value(limit)),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {}", value(limit)),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {}", count(*limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", count(*limit, "character")),
        Kind::MinItems { limit } => format!("must have at least {}", count(*limit, "item")),
        Kind::MaxItems { limit } => format!("must have at most {}", count(*limit, "item")),
        Kind::AdditionalItems { limit } => format!("must have at most {}", count(*limit as u64, "item")),
        Kind::UnevaluatedItems { .. } => "has items it may not have".to_owned(),
        Kind::MinProperties { limit } => format!("must have at least {}", count(*limit, "member")),
        Kind::MaxProperties { limit } => format!("must have at most {}", count(*limit, "member")),
        Kind::Pattern { pattern } => format!("must match the pattern `{}`", shown(pattern)),
        Kind::Format { format } => format!("must be of the format `{}`", shown(format)),
        Kind::UniqueItems => "must not have an item twice".to_owned(),
        Kind::Contains => "lacks an item that it must have".to_owned(),
        Kind::FalseSchema => "must not be given".to_owned(),
        Kind::Not { .. } => "has a form it must not have".to_owned(),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the forms of which it may have one".to_owned(),
        Kind::Custom { message, .. } => message.clone(),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => "is too long to be matched".to_owned(),
        other => format!("does not fit `{}`", other.keyword()),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => named(*one).to_owned(),
        TypeKind::Multiple(set) => set.iter().map(named).collect::<Vec<_>>().join(" or "),
    }
}

fn named(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "an integer",
        JsonType::Null => "`null`",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a text",
    }
}

fn one_of(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let named: Vec<String> = options.iter().take(NAMED).map(value).collect();
    let more = if options.len() > NAMED { ", …" } else { "" };
    match named.as_slice() {
        [only] => format!("must be {only}"),
        _ => format!("must be one of {}{more}", named.join(", ")),
    }
}

/// A value of the contract, which is no secret.
fn value(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("`{}`", shown(text)),
        other => format!("`{}`", shown(&other.to_string())),
    }
}

fn count(limit: u64, noun: &str) -> String {
    let s = if limit == 1 { "" } else { "s" };
    format!("{limit} {noun}{s}")
}
