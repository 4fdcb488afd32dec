//! The contract of a GraphQL API: its SDL, checked, and an index of what the analysis asks of it.

use std::collections::HashMap;
use std::fmt;

use apollo_compiler::ast::Value as AstValue;
use apollo_compiler::ast::{FieldDefinition, InputValueDefinition, OperationType};
use apollo_compiler::parser::Parser;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::{DiagnosticList, Valid};

use crate::cost::Size;
use crate::document::OperationKind;
use crate::error::Location;
use crate::types::InputObjects;

/// The arguments that say how many items a list will have, when a field has them.
const SIZING: [&str; 3] = ["first", "last", "limit"];

/// The lists inside a page (a Relay connection and its likes) that the page's size is meant for.
const PAGED: [&str; 3] = ["edges", "nodes", "items"];

/// A schema that documents are checked against. Built once when the configuration is read, then shared.
#[derive(Debug)]
pub struct Schema {
    valid: Valid<apollo_compiler::Schema>,
    types: Vec<Type>,
    by_name: HashMap<Box<str>, TypeId>,
    roots: [Option<TypeId>; 3],
    inputs: InputObjects,
}

/// A mistake in an SDL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Where, when the mistake has a place.
    pub location: Option<Location>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location {
            Some(place) => write!(f, "{}:{}: {}", place.line, place.column, self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// An object, interface or union type, by its place in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeId(u32);

#[derive(Debug)]
struct Type {
    system: System,
    fields: HashMap<Box<str>, Field>,
}

/// Whether a type is part of the schema or describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Ordinary,
    Introspection,
}

/// What a field costs and how its size is told.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) weight: Weight,
    /// The type of what it selects from; none for a leaf.
    pub(crate) of: Option<TypeId>,
    pub(crate) sizing: Box<[Sizing]>,
    pub(crate) paged: Paged,
    pub(crate) system: System,
}

/// The three weights of the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Leaf,
    Object,
    List,
}

/// Whether a list takes the size given to the object around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paged {
    Yes,
    No,
}

/// An argument that gives a size, and the size when it is left out.
#[derive(Debug)]
pub(crate) struct Sizing {
    pub(crate) argument: Box<str>,
    pub(crate) default: Option<Size>,
}

impl Schema {
    /// Reads and checks an SDL text. Tells all mistakes at once, in their order in the text.
    pub fn parse(sdl: &str) -> Result<Schema, Vec<SchemaError>> {
        let parsed =
            Parser::new().parse_schema(sdl, "schema.graphql").map_err(|failed| schema_errors(&failed.errors))?;
        let valid = parsed.validate().map_err(|failed| schema_errors(&failed.errors))?;
        Ok(Schema::index(valid))
    }

    /// The kinds of operation it offers.
    pub fn offers(&self, kind: OperationKind) -> bool {
        self.root(kind).is_some()
    }

    pub(crate) fn valid(&self) -> &Valid<apollo_compiler::Schema> {
        &self.valid
    }

    pub(crate) fn inputs(&self) -> &InputObjects {
        &self.inputs
    }

    pub(crate) fn root(&self, kind: OperationKind) -> Option<TypeId> {
        self.roots[kind as usize]
    }

    pub(crate) fn type_named(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn field(&self, of: TypeId, name: &str) -> Option<&Field> {
        self.types[of.0 as usize].fields.get(name)
    }

    pub(crate) fn system(&self, of: TypeId) -> System {
        self.types[of.0 as usize].system
    }

    fn index(valid: Valid<apollo_compiler::Schema>) -> Schema {
        let is_composite = |kind: &ExtendedType| kind.is_object() || kind.is_interface() || kind.is_union();
        let composite = || valid.types.iter().filter(|(_, kind)| is_composite(kind));
        let by_name: HashMap<Box<str>, TypeId> =
            composite().zip(0..).map(|((name, _), at)| (name.as_str().into(), TypeId(at))).collect();
        let types = composite().map(|(name, kind)| index_type(&by_name, name, kind)).collect();
        let root = |kind| valid.root_operation(kind).and_then(|name| by_name.get(name.as_str()).copied());
        let roots = [root(OperationType::Query), root(OperationType::Mutation), root(OperationType::Subscription)];
        let inputs = InputObjects::new(&valid);
        let mut schema = Schema { types, roots, by_name, valid, inputs };
        schema.add_introspection();
        schema
    }

    /// `__schema` and `__type` are fields of the query type that no SDL writes down (specification, section 4.1).
    fn add_introspection(&mut self) {
        let Some(query) = self.roots[OperationKind::Query as usize] else { return };
        for (name, of) in [("__schema", "__Schema"), ("__type", "__Type")] {
            let of = self.type_named(of);
            let (sizing, paged, system) = (Box::default(), Paged::No, System::Introspection);
            let field = Field { weight: Weight::Object, of, sizing, paged, system };
            self.types[query.0 as usize].fields.insert(name.into(), field);
        }
    }
}

fn index_type(by_name: &HashMap<Box<str>, TypeId>, name: &str, kind: &ExtendedType) -> Type {
    let system = if name.starts_with("__") { System::Introspection } else { System::Ordinary };
    let mut fields = HashMap::new();
    let defined = match kind {
        ExtendedType::Object(object) => Some(&object.fields),
        ExtendedType::Interface(interface) => Some(&interface.fields),
        _ => None,
    };
    for (name, definition) in defined.into_iter().flatten() {
        fields.insert(name.as_str().into(), index_field(by_name, system, definition));
    }
    let (sizing, paged) = (Box::default(), Paged::No);
    fields.insert("__typename".into(), Field { weight: Weight::Leaf, of: None, sizing, paged, system });
    Type { system, fields }
}

fn index_field(by_name: &HashMap<Box<str>, TypeId>, system: System, definition: &FieldDefinition) -> Field {
    let of = by_name.get(definition.ty.inner_named_type().as_str()).copied();
    let weight = match (definition.ty.is_list(), of) {
        (true, _) => Weight::List,
        (false, Some(_)) => Weight::Object,
        (false, None) => Weight::Leaf,
    };
    let says_size = |argument: &&apollo_compiler::Node<InputValueDefinition>| SIZING.contains(&argument.name.as_str());
    let sizing = definition.arguments.iter().filter(says_size).map(|argument| Sizing {
        argument: argument.name.as_str().into(),
        default: match argument.default_value.as_deref() {
            Some(AstValue::Int(number)) => Some(Size::of_literal(number.as_str())),
            _ => None,
        },
    });
    let sizing = if weight == Weight::Leaf { Box::default() } else { sizing.collect() };
    let paged =
        if weight == Weight::List && PAGED.contains(&definition.name.as_str()) { Paged::Yes } else { Paged::No };
    Field { weight, of, sizing, paged, system }
}

fn schema_errors(diagnostics: &DiagnosticList) -> Vec<SchemaError> {
    let error = |location: Option<Location>, message: String| SchemaError { location, message };
    diagnostics
        .iter()
        .map(|one| {
            let start = one.line_column_range().map(|range| range.start);
            let place = start.map(|at| Location { line: at.line as u32, column: at.column as u32 });
            error(place, one.error.to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdl_is_indexed_by_weight_and_size() {
        let schema = Schema::parse(
            "type Query { products(first: Int = 20, after: ID): [Product!]!, page(limit: Int): Page }
             type Page { items: [Product], total: Int! } type Product { id: ID! tags: [String] shop: Shop }
             type Shop { name: String } union Any = Product | Shop",
        )
        .unwrap();
        let query = schema.root(OperationKind::Query).unwrap();
        let products = schema.field(query, "products").unwrap();
        assert_eq!((products.weight, products.of), (Weight::List, schema.type_named("Product")));
        assert_eq!(products.sizing.len(), 1);
        assert_eq!(products.sizing[0].default, Some(Size::of_literal("20")));
        assert_eq!(schema.field(query, "page").unwrap().weight, Weight::Object);
        let page = schema.type_named("Page").unwrap();
        assert_eq!(schema.field(page, "items").unwrap().paged, Paged::Yes);
        let product = schema.type_named("Product").unwrap();
        assert_eq!(schema.field(product, "tags").unwrap().weight, Weight::List);
        assert_eq!(schema.field(product, "tags").unwrap().of, None);
        assert!(schema.field(query, "__schema").is_some() && schema.field(product, "__schema").is_none());
        assert!(schema.field(schema.type_named("Any").unwrap(), "__typename").is_some());
        assert!(schema.offers(OperationKind::Query) && !schema.offers(OperationKind::Mutation));
    }

    #[test]
    fn every_mistake_in_an_sdl_has_its_line_and_column() {
        let errors = Schema::parse("type Query {\n  a: Missing\n  b: Gone\n}").unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["2:6: cannot find type `Missing` in this document", "3:6: cannot find type `Gone` in this document"]
        );
        let errors = Schema::parse("type Query {\n  a: \n}").unwrap_err();
        assert_eq!(errors[0].location.unwrap().line, 3);
    }
}
