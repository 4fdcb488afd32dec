//! The types of an operation of a document, as the schema says them: its variables go in, `data` comes out.
//!
//! | GraphQL | as a variable | in `data` |
//! |---|---|---|
//! | `Int`, `Float`, `Boolean`, `String` | [`Type::I64`], [`Type::F64`], [`Type::Bool`], [`Type::Text`] | the same |
//! | an enum | [`Type::Text`] | [`Type::Text`] |
//! | `ID` | [`Type::Any`]: text or a whole number | [`Type::Text`] |
//! | another scalar | [`Type::Any`] | [`Type::Any`] |
//! | a list | [`Type::Any`]: one element may stand for a list of it (specification, section 3.11) | a list |
//! | an input object | its fields; those that are input objects again are any map | |
//! | an object, interface or union | | any map: what is selected from it is a part of it |
//!
//! A document has types as large as its variables and its root fields, not as what it selects: they are kept with it, and
//! clients write documents.

use std::collections::HashMap;

use apollo_compiler::ast::Type as Declared;
use apollo_compiler::executable::{self, ExecutableDocument, Selection};
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use apollo_compiler::{Name, Schema as Definitions};
use portolan_exchange::value::{Field, MapType, Others, Presence, Type};

/// The types of the input objects of a schema, made once.
#[derive(Debug)]
pub(crate) struct InputObjects(HashMap<Box<str>, Type>);

impl InputObjects {
    pub(crate) fn new(schema: &Definitions) -> Self {
        let objects = schema.types.iter().filter_map(|(name, defined)| match defined {
            ExtendedType::InputObject(object) => Some((name.as_str().into(), fields(schema, object))),
            _ => None,
        });
        Self(objects.collect())
    }

    /// The variables of an operation. One that the document does not declare is ignored by GraphQL, whatever it is.
    pub(crate) fn variables(&self, schema: &Definitions, operation: &executable::Operation) -> Type {
        let mut members = MapType::new();
        for variable in &operation.variables {
            let of_object = |name: &str| self.0.get(name).cloned().unwrap_or_default();
            let r#type = given(schema, &variable.ty, &of_object);
            members = members.field(
                variable.name.as_str(),
                Field { r#type, presence: presence(&variable.ty, variable.default_value.is_some()) },
            );
        }
        Type::map(members.others(Others::Of(Type::Any)))
    }
}

/// The `data` of an operation: null, or its root fields under the keys they have in the answer.
pub(crate) fn data(schema: &Definitions, document: &ExecutableDocument, operation: &executable::Operation) -> Type {
    let mut members = MapType::new();
    for field in operation.root_fields(document) {
        let r#type = answered(schema, field.ty());
        members = members.field(field.response_key().as_str(), Field { r#type, presence: Presence::Optional });
    }
    // What stands in a fragment may depend on a condition around it.
    for selection in &operation.selection_set.selections {
        let Selection::Field(field) = selection else { continue };
        if field.directives.is_empty() {
            members = members.required(field.response_key().as_str(), answered(schema, field.ty()));
        }
    }
    Type::nullable(Type::map(members))
}

/// How many bytes of its own a type of these holds on to.
pub(crate) fn weight(found: &Type) -> usize {
    let Type::Map(members) = found.without_null() else { return 0 };
    // The field, its place in the index and in the list of those that are required, and two allocations.
    let fields = members.fields().map(|(name, _)| name.len() + size_of::<Field>() + 96);
    fields.sum::<usize>() + size_of::<MapType>()
}

fn fields(schema: &Definitions, object: &InputObjectType) -> Type {
    let within = |_: &str| Type::map_of(Type::Any);
    let members = object.fields.iter().fold(MapType::new(), |members, (name, field)| {
        let presence = presence(&field.ty, field.default_value.is_some());
        members.field(name.as_str(), Field { r#type: given(schema, &field.ty, &within), presence })
    });
    Type::map(members)
}

/// What a client gives for a type. `of_object` tells what an input object is.
fn given(schema: &Definitions, declared: &Declared, of_object: &dyn Fn(&str) -> Type) -> Type {
    let of_name = |name: &Name| match (name.as_str(), schema.types.get(name.as_str())) {
        ("ID", _) => Type::Any,
        (name, Some(ExtendedType::InputObject(_))) => of_object(name),
        (name, Some(defined)) => leaf(name, defined),
        (_, None) => Type::Any,
    };
    match declared {
        Declared::Named(name) => or_null(of_name(name)),
        Declared::NonNullNamed(name) => of_name(name),
        Declared::List(_) | Declared::NonNullList(_) => Type::Any,
    }
}

/// What a service answers for a type.
fn answered(schema: &Definitions, declared: &Declared) -> Type {
    let of_name = |name: &Name| match (name.as_str(), schema.types.get(name.as_str())) {
        ("ID", _) => Type::Text,
        (_, Some(ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_))) => {
            Type::map_of(Type::Any)
        }
        (name, Some(defined)) => leaf(name, defined),
        (_, None) => Type::Any,
    };
    match declared {
        Declared::Named(name) => or_null(of_name(name)),
        Declared::NonNullNamed(name) => of_name(name),
        Declared::List(of) => Type::nullable(Type::list(answered(schema, of))),
        Declared::NonNullList(of) => Type::list(answered(schema, of)),
    }
}

fn leaf(name: &str, defined: &ExtendedType) -> Type {
    match (name, defined) {
        ("Int", _) => Type::I64,
        ("Float", _) => Type::F64,
        ("Boolean", _) => Type::Bool,
        ("String", _) | (_, ExtendedType::Enum(_)) => Type::Text,
        _ => Type::Any,
    }
}

fn or_null(found: Type) -> Type {
    if found.takes_null() { found } else { Type::nullable(found) }
}

/// Whether something must be given (specification, sections 3.10 and 6.1.2).
fn presence(declared: &Declared, has_default: bool) -> Presence {
    if declared.is_non_null() && !has_default { Presence::Required } else { Presence::Optional }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Schema, documents};

    const SDL: &str = "
        scalar Money
        enum State { NEW PAID }
        input Line { sku: String! quantity: Int! = 1 price: Money part: Line tags: [String!] }
        input Draft { id: ID! line: Line! state: State }
        type Query {
            order(id: ID!): Order orders(first: Int): [Order!]! count: Int! share: Float open: Boolean! state: State
            total: Money! id: ID any: [[Any]]
        }
        type Mutation { create(draft: Draft!, lines: [Line!]!, at: Int): ID! }
        type Order { id: ID! }
        union Any = Order
    ";

    /// Input and output of the operation of this name.
    fn types(text: &str, name: Option<&str>) -> (Type, Type) {
        let schema = Schema::parse(SDL).unwrap();
        let analyzed = documents::judge(text, &schema, &Limits::default()).unwrap();
        let asked = analyzed.operation(name).unwrap().asked.clone();
        (asked.input.clone(), asked.output.clone())
    }

    fn variables(members: MapType) -> Type {
        Type::map(members.others(Others::Of(Type::Any)))
    }

    #[test]
    fn the_variables_of_a_document_go_in() {
        let text = "mutation A($draft: Draft!, $line: Line, $lines: [Line!]!, $id: ID!, $at: Int = 1, $first: Int!, $money: Money!) {
            create(draft: $draft, lines: $lines, at: $at)
            b: create(draft: { id: $id, line: { sku: \"a\", quantity: $first, price: $money } }, lines: [$line])
        }";
        let text = &text.replace("$line: Line,", "$line: Line!,");
        let draft = MapType::new()
            .required("id", Type::Any)
            .required("line", Type::map_of(Type::Any))
            .optional("state", Type::nullable(Type::Text));
        let line = MapType::new()
            .required("sku", Type::Text)
            .optional("quantity", Type::I64)
            .optional("price", Type::Any)
            .optional("part", Type::nullable(Type::map_of(Type::Any)))
            .optional("tags", Type::Any);
        let input = MapType::new()
            .required("draft", Type::map(draft))
            .required("line", Type::map(line))
            .required("lines", Type::Any)
            .required("id", Type::Any)
            .optional("at", Type::nullable(Type::I64))
            .required("first", Type::I64)
            .required("money", Type::Any);
        let data = MapType::new().required("create", Type::Text).required("b", Type::Text);
        assert_eq!(types(text, None), (variables(input), Type::nullable(Type::map(data))));
    }

    #[test]
    fn the_root_fields_of_a_document_come_out_under_their_keys() {
        let text = "query A($no: Boolean!) {
            order(id: 1) { id } orders { id } count n: count share open state @skip(if: $no) total id any { __typename }
            ...B ... @include(if: $no) { ids: id } __typename __schema { description }
        }
        query C { total }
        fragment B on Query { total all: orders { id } }";
        let object = || Type::map_of(Type::Any);
        let data = MapType::new()
            .required("order", Type::nullable(object()))
            .required("orders", Type::list(object()))
            .required("count", Type::I64)
            .required("n", Type::I64)
            .required("share", Type::nullable(Type::F64))
            .required("open", Type::Bool)
            .optional("state", Type::nullable(Type::Text))
            .required("total", Type::Any)
            .required("id", Type::nullable(Type::Text))
            .required("any", Type::nullable(Type::list(Type::nullable(Type::list(Type::nullable(object()))))))
            .optional("all", Type::list(object()))
            .optional("ids", Type::nullable(Type::Text))
            .required("__typename", Type::Text)
            .required("__schema", object());
        let input = variables(MapType::new().required("no", Type::Bool));
        assert_eq!(types(text, Some("A")), (input, Type::nullable(Type::map(data))));
        let data = MapType::new().required("total", Type::Any);
        assert_eq!(types(text, Some("C")), (variables(MapType::new()), Type::nullable(Type::map(data))));
    }
}
