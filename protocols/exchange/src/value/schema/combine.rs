//! What two schemas say of one value: together (`allOf`), or one of them (`anyOf`).

use std::sync::Arc;

use super::super::{Field, MapType, Others, Presence, Type};
use super::or_null;

/// How many types are combined for one document. Types share their parts, and to combine two takes them apart again, so that a
/// small document could ask for more than any machine has.
const MOST: usize = 100_000;

/// Combines types, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Combining {
    steps: usize,
}

impl Combining {
    /// What holds of a value that is of both types. Where they contradict one another there is no such value, and
    /// anything may be said of it.
    pub fn both(&mut self, one: &Type, other: &Type) -> Type {
        match (one, other) {
            (Type::Any, known) | (known, Type::Any) => known.clone(),
            _ if !self.step() => one.clone(),
            (Type::Nullable(one), Type::Nullable(other)) => or_null(self.both(one, other)),
            (Type::Nullable(within), other) | (other, Type::Nullable(within)) => self.both(within, other),
            (Type::Text, text @ (Type::Decimal | Type::Bytes | Type::Timestamp))
            | (text @ (Type::Decimal | Type::Bytes | Type::Timestamp), Type::Text) => text.clone(),
            (Type::List(one), Type::List(other)) if !Arc::ptr_eq(one, other) => Type::list(self.both(one, other)),
            (Type::Map(one), Type::Map(other)) if !Arc::ptr_eq(one, other) => self.both_maps(one, other),
            _ if same_kind(one, other) => one.clone(),
            _ if is_number(one) && is_number(other) => narrower(one, other).clone(),
            _ => Type::Any,
        }
    }

    /// What holds of a value that is of the one type or of the other.
    pub fn either(&mut self, one: &Type, other: &Type) -> Type {
        match (one, other) {
            (Type::Any, _) | (_, Type::Any) => Type::Any,
            _ if !self.step() => Type::Any,
            (Type::Nullable(one), Type::Nullable(other)) => or_null(self.either(one, other)),
            (Type::Nullable(within), other) | (other, Type::Nullable(within)) => or_null(self.either(within, other)),
            (Type::List(one), Type::List(other)) if !Arc::ptr_eq(one, other) => Type::list(self.either(one, other)),
            (Type::Map(one), Type::Map(other)) if !Arc::ptr_eq(one, other) => self.either_map(one, other),
            _ if same_kind(one, other) => one.clone(),
            _ if is_number(one) && is_number(other) => Type::Number,
            // All of them are strings in JSON.
            _ if is_text(one) && is_text(other) => Type::Text,
            _ => Type::Any,
        }
    }

    /// Whether the bound is reached.
    #[cfg(test)]
    pub fn is_spent(&self) -> bool {
        self.steps > MOST
    }

    fn both_maps(&mut self, one: &MapType, other: &MapType) -> Type {
        let mut members = MapType::new();
        for (name, field) in one.fields() {
            let told = other.named(name);
            members = members.field(name, self.both_fields(field, told, other));
        }
        for (name, field) in other.fields().filter(|(name, _)| one.named(name).is_none()) {
            members = members.field(name, self.both_fields(field, None, one));
        }
        let others = match (one.unnamed(), other.unnamed()) {
            (Others::Refused, _) | (_, Others::Refused) => Others::Refused,
            (Others::Of(one), Others::Of(other)) => Others::Of(self.both(one, other)),
        };
        Type::map(members.others(others))
    }

    /// A member that one map names, and what another map says of it.
    fn both_fields(&mut self, field: &Field, told: Option<&Field>, other: &MapType) -> Field {
        let is_required = [Some(field), told].into_iter().flatten().any(|field| field.presence == Presence::Required);
        let r#type = match (told, other.unnamed()) {
            (Some(told), _) => self.both(&field.r#type, &told.r#type),
            (None, Others::Of(others)) => self.both(&field.r#type, others),
            // The other one refuses it. Whoever wrote both means to have it, and the check decides.
            (None, Others::Refused) => field.r#type.clone(),
        };
        Field { r#type, presence: if is_required { Presence::Required } else { Presence::Optional } }
    }

    fn either_map(&mut self, one: &MapType, other: &MapType) -> Type {
        let others = match (one.unnamed(), other.unnamed()) {
            (Others::Refused, others) | (others, Others::Refused) => others.clone(),
            (Others::Of(one), Others::Of(other)) => Others::Of(self.either(one, other)),
        };
        let mut members = MapType::new();
        let mut add = |name: &str, field: Field| {
            let says_nothing = field == Field { r#type: Type::Any, presence: Presence::Optional };
            if !says_nothing || !matches!(others, Others::Of(Type::Any)) {
                members = std::mem::take(&mut members).field(name, field);
            }
        };
        for (name, field) in one.fields() {
            add(name, self.either_field(field, other.named(name), other));
        }
        for (name, field) in other.fields().filter(|(name, _)| one.named(name).is_none()) {
            add(name, self.either_field(field, None, one));
        }
        Type::map(members.others(others))
    }

    fn either_field(&mut self, field: &Field, told: Option<&Field>, other: &MapType) -> Field {
        match (told, other.unnamed()) {
            (Some(told), _) => {
                let is_required = field.presence == Presence::Required && told.presence == Presence::Required;
                let presence = if is_required { Presence::Required } else { Presence::Optional };
                Field { r#type: self.either(&field.r#type, &told.r#type), presence }
            }
            (None, Others::Of(others)) => {
                Field { r#type: self.either(&field.r#type, others), presence: Presence::Optional }
            }
            (None, Others::Refused) => Field { presence: Presence::Optional, ..field.clone() },
        }
    }

    /// Whether there is a step left.
    fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps <= MOST
    }
}

fn same_kind(one: &Type, other: &Type) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn is_number(found: &Type) -> bool {
    matches!(found, Type::I64 | Type::U64 | Type::F64 | Type::Number)
}

/// Of two types of numbers the one that permits fewer.
fn narrower<'t>(one: &'t Type, other: &'t Type) -> &'t Type {
    let breadth = |number: &Type| match number {
        Type::I64 => 0,
        Type::U64 => 1,
        Type::F64 => 2,
        _ => 3,
    };
    if breadth(one) <= breadth(other) { one } else { other }
}

fn is_text(found: &Type) -> bool {
    matches!(found, Type::Text | Type::Decimal | Type::Bytes | Type::Timestamp)
}
