//! Which values an operation takes and gives.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Value;

/// What a value may be. Cheap to clone; equal types that were cloned from one another compare in no time.
///
/// A type is a tree. Where a contract is recursive, its type says [`Type::Any`] at the place where it comes back to
/// itself. The types of schemas are told in [`schema`](super::schema).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Type {
    /// Whatever JSON says by itself.
    #[default]
    Any,
    /// True or false.
    Bool,
    /// A whole number from -2⁶³ to 2⁶³ - 1.
    I64,
    /// A whole number from 0 to 2⁶⁴ - 1.
    U64,
    /// The nearest double, `NaN` and the infinities among them.
    F64,
    /// Any number that JSON can write, exact: the value is the narrowest that holds it (see [`Value::number`]), and it is
    /// written as a number, where a decimal is written as a string.
    Number,
    /// An exact decimal.
    Decimal,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// Any number of values of one type, in order.
    List(Arc<Type>),
    /// Named values.
    Map(Arc<MapType>),
    /// The type within, or null. Whether a member may be absent is another question: see [`Presence`].
    Nullable(Arc<Type>),
}

impl Type {
    /// A list of this type.
    pub fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    /// A map with these members.
    pub fn map(members: MapType) -> Self {
        Self::Map(Arc::new(members))
    }

    /// A map from any name to values of one type.
    pub fn map_of(others: Self) -> Self {
        Self::map(MapType::new().others(Others::Of(others)))
    }

    /// This type, or null.
    pub fn nullable(of: Self) -> Self {
        Self::Nullable(Arc::new(of))
    }

    /// The type without the permission to be null.
    pub fn without_null(&self) -> &Self {
        match self {
            Self::Nullable(within) => within.without_null(),
            other => other,
        }
    }

    /// Whether null is one of its values.
    pub fn takes_null(&self) -> bool {
        matches!(self, Self::Any | Self::Nullable(_))
    }

    /// Whether the value is of this type as it stands, without any reading of text as something else.
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _)
            | (Self::Nullable(_), Value::Null)
            | (Self::Bool, Value::Bool(_))
            | (Self::I64, Value::I64(_))
            | (Self::U64, Value::U64(_))
            | (Self::F64, Value::F64(_))
            | (Self::Number, Value::I64(_) | Value::U64(_) | Value::Number(_))
            | (Self::Decimal, Value::Decimal(_))
            | (Self::Text, Value::Text(_))
            | (Self::Bytes, Value::Bytes(_))
            | (Self::Timestamp, Value::Timestamp(_)) => true,
            (Self::Number, Value::F64(number)) => number.is_finite(),
            (Self::Nullable(within), value) => within.holds(value),
            (Self::List(of), Value::List(elements)) => elements.iter().all(|element| of.holds(element)),
            (Self::Map(members), Value::Map(map)) => {
                members.required_names().all(|name| map.contains(name))
                    && map.iter().all(|(name, value)| members.member(name).is_some_and(|member| member.holds(value)))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    /// As a fault says what was expected: `a list`, `text, or null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any value",
            Self::Bool => "true or false",
            Self::I64 => "a whole number from -9223372036854775808 to 9223372036854775807",
            Self::U64 => "a whole number from 0 to 18446744073709551615",
            Self::F64 => "a number within ±1.8e308",
            Self::Number => "a number",
            Self::Decimal => "a decimal such as \"12.50\"",
            Self::Text => "text",
            Self::Bytes => "bytes in base64",
            Self::Timestamp => "a timestamp such as \"2026-01-31T12:00:00Z\"",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Nullable(within) => return write!(f, "{}, or null", within.without_null()),
        })
    }
}

/// The members of a map: those it names, and what it says of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapType {
    fields: IndexMap<String, Field>,
    // Places in `fields`, in order: asking each map only for these keeps a list of empty maps as cheap as it is short.
    required: Vec<usize>,
    others: Others,
}

/// What a map says of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What its value may be.
    pub r#type: Type,
    /// Whether it may be absent.
    pub presence: Presence,
}

/// Whether a member may be absent. Whether it may be null, its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The member is always there.
    Required,
    /// The member may be absent, and then has no value, not even null.
    Optional,
}

/// What a map says of members it does not name. None are dropped in silence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Others {
    /// There are none: a member that is not named is refused.
    #[default]
    Refused,
    /// They are kept, and are of this type.
    Of(Type),
}

impl MapType {
    /// A map that has no members and refuses all, to be built upon.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a member that is always there. One of the same name is replaced.
    #[must_use]
    pub fn required(self, name: impl Into<String>, r#type: Type) -> Self {
        self.field(name, Field { r#type, presence: Presence::Required })
    }

    /// With a member that may be absent. One of the same name is replaced.
    #[must_use]
    pub fn optional(self, name: impl Into<String>, r#type: Type) -> Self {
        self.field(name, Field { r#type, presence: Presence::Optional })
    }

    /// With this member. One of the same name is replaced.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, field: Field) -> Self {
        let presence = field.presence;
        let (at, _) = self.fields.insert_full(name.into(), field);
        self.required.retain(|required| *required != at);
        if presence == Presence::Required {
            self.required.push(at);
            self.required.sort_unstable();
        }
        self
    }

    /// With what it says of members it does not name; without this they are refused.
    #[must_use]
    pub fn others(mut self, others: Others) -> Self {
        self.others = others;
        self
    }

    /// The members it names, in the order of the contract.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field))
    }

    /// What it says of the member of this name; `None` if it does not name it.
    pub fn named(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The names of the members that are always there, in the order of the contract.
    pub fn required_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.required.iter().map(|at| {
            let (name, _) = self.fields.get_index(*at).expect("members are never removed");
            name.as_str()
        })
    }

    /// What it says of members it does not name.
    pub fn unnamed(&self) -> &Others {
        &self.others
    }

    /// The type of the member of this name; `None` if the map refuses it.
    pub fn member(&self, name: &str) -> Option<&Type> {
        match (self.fields.get(name), &self.others) {
            (Some(field), _) => Some(&field.r#type),
            (None, Others::Of(others)) => Some(others),
            (None, Others::Refused) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Map;
    use super::*;

    fn order() -> Type {
        Type::map(MapType::new().required("id", Type::I64).optional("note", Type::nullable(Type::Text)))
    }

    #[test]
    fn presence_and_null_are_two_questions() {
        let order = order();
        assert!(order.holds(&Map::from([("id", 1_i64)]).into()));
        assert!(order.holds(&Map::new().with("id", 1_i64).with("note", Value::Null).into()));
        assert!(!order.holds(&Map::new().with("note", "hello").into()));
        assert!(!order.holds(&Map::from([("id", Value::Null)]).into()));
    }

    #[test]
    fn members_without_a_name_in_the_type_are_refused_or_of_the_type_it_says() {
        let more: Value = Map::new().with("id", 1_i64).with("x", 2_i64).into();
        assert!(!order().holds(&more));
        assert!(Type::map_of(Type::I64).holds(&more));
        assert!(!Type::map_of(Type::U64).holds(&more));
    }

    #[test]
    fn a_member_replaced_in_a_type_is_as_required_as_it_was_last_said() {
        let members = MapType::new().required("a", Type::I64).required("b", Type::I64).optional("a", Type::Text);
        assert_eq!(members.required_names().collect::<Vec<_>>(), ["b"]);
        let again = members.required("a", Type::Text);
        assert_eq!(again, MapType::new().required("a", Type::Text).required("b", Type::I64));
        assert_eq!(again.required_names().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_type_is_told_in_words() {
        assert_eq!(Type::nullable(Type::nullable(Type::Text)).to_string(), "text, or null");
    }
}
