use proptest::prelude::*;
use serde_json::json;

use super::super::strategy::{self, schema_of};
use super::*;

fn read(dialect: Dialect, document: &Json) -> Type {
    Schemas::new(document, dialect, Side::Input).read("/schema")
}

/// The type of one schema of 2020-12.
fn of(schema: Json) -> Type {
    read(Dialect::Draft202012, &json!({ "schema": schema }))
}

fn of_30(schema: Json) -> Type {
    read(Dialect::OpenApi30, &json!({ "schema": schema }))
}

/// A map that takes members without a name, as schemas do.
fn open(members: MapType) -> Type {
    Type::map(members.others(Others::Of(Type::Any)))
}

#[test]
fn simple_schemas_say_their_type_by_type_and_format() {
    let table = [
        (json!({}), Type::Any),
        (json!(true), Type::Any),
        (json!({ "type": "nonsense" }), Type::Any),
        (json!("no schema"), Type::Any),
        (json!({ "type": "boolean" }), Type::Bool),
        (json!({ "type": "integer", "format": "int32" }), Type::I64),
        (json!({ "type": "integer", "format": "int64" }), Type::I64),
        (json!({ "type": "integer", "format": "uint64" }), Type::U64),
        (json!({ "type": "integer" }), Type::Number),
        (json!({ "type": "integer", "minimum": 1 }), Type::Number),
        (json!({ "type": "integer", "minimum": 1, "maximum": 100 }), Type::I64),
        (json!({ "type": "integer", "exclusiveMinimum": -1, "maximum": u64::MAX }), Type::U64),
        (json!({ "type": "number" }), Type::Number),
        (json!({ "type": "number", "format": "decimal" }), Type::Number),
        (json!({ "type": "number", "format": "double" }), Type::F64),
        (json!({ "type": "number", "format": "float" }), Type::F64),
        (json!({ "type": ["integer", "number"] }), Type::Number),
        (json!({ "type": "string" }), Type::Text),
        (json!({ "type": "string", "format": "uuid" }), Type::Text),
        (json!({ "type": "string", "format": "date" }), Type::Text),
        (json!({ "type": "string", "format": "int64" }), Type::Text),
        (json!({ "type": "string", "format": "decimal" }), Type::Decimal),
        (json!({ "type": "string", "format": "byte" }), Type::Bytes),
        (json!({ "type": "string", "contentEncoding": "base64" }), Type::Bytes),
        (json!({ "type": "string", "contentEncoding": "base64url" }), Type::Text),
        (json!({ "type": "string", "format": "date-time" }), Type::Timestamp),
        (json!({ "type": ["string", "integer"] }), Type::Any),
        (json!({ "enum": ["new", "paid"] }), Type::Text),
        (json!({ "type": "string", "enum": ["new", "paid"] }), Type::Text),
        (json!({ "enum": [1, 2.5] }), Type::Number),
        (json!({ "enum": [1, "two"] }), Type::Any),
        (json!({ "const": true }), Type::Bool),
        (json!({ "type": "array" }), Type::list(Type::Any)),
        (json!({ "type": "array", "items": { "type": "string" } }), Type::list(Type::Text)),
        (json!({ "items": { "type": "string" } }), Type::list(Type::Text)),
        (json!({ "type": "object" }), Type::map_of(Type::Any)),
        (json!({ "type": "object", "additionalProperties": { "type": "boolean" } }), Type::map_of(Type::Bool)),
        (json!({ "type": "object", "additionalProperties": false }), Type::map(MapType::new())),
    ];
    for (schema, expected) in table {
        assert_eq!(of(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn what_may_be_absent_and_what_may_be_null_are_kept_apart() {
    let schema = json!({
        "type": "object",
        "required": ["id", "note", "more"],
        "properties": {
            "id": { "type": "integer", "format": "int64" },
            "note": { "type": ["string", "null"] },
            "price": { "type": "string", "format": "decimal" },
            "at": { "anyOf": [{ "type": "null" }, { "type": "string", "format": "date-time" }] },
            "state": { "enum": ["new", null] },
        },
        "additionalProperties": { "type": "boolean" },
    });
    let expected = MapType::new()
        .required("id", Type::I64)
        .required("note", Type::nullable(Type::Text))
        .optional("price", Type::Decimal)
        .optional("at", Type::nullable(Type::Timestamp))
        .optional("state", Type::nullable(Type::Text))
        .required("more", Type::Bool)
        .others(Others::Of(Type::Bool));
    assert_eq!(of(schema), Type::map(expected));
}

#[test]
fn openapi_3_0_says_null_in_its_own_way_and_nothing_beside_a_reference() {
    assert_eq!(of_30(json!({ "type": "string", "nullable": true })), Type::nullable(Type::Text));
    let all = json!({ "nullable": true, "allOf": [{ "type": "object" }] });
    assert_eq!(of_30(all), Type::nullable(Type::map_of(Type::Any)));
    assert_eq!(of_30(json!({ "nullable": true })), Type::Any);
    assert_eq!(of(json!({ "type": "string", "nullable": true })), Type::Text);
    let document = json!({
        "schema": { "$ref": "#/named/A%20b", "type": ["integer", "null"], "format": "int64" },
        "named": { "A b": { "type": ["number", "null"] } },
    });
    assert_eq!(read(Dialect::OpenApi30, &document), Type::nullable(Type::Number));
    assert_eq!(read(Dialect::Draft07, &document), Type::nullable(Type::Number));
    assert_eq!(read(Dialect::Draft202012, &document), Type::nullable(Type::I64));
}

#[test]
fn members_of_the_other_side_may_be_absent() {
    let document = json!({
        "schema": {
            "type": "object",
            "required": ["id", "secret", "made"],
            "properties": {
                "id": { "type": "string", "readOnly": true },
                "secret": { "type": "string", "writeOnly": true },
                "made": { "$ref": "#/named" },
            },
        },
        "named": { "type": "string", "format": "date-time", "readOnly": true },
    });
    let of = |side| Schemas::new(&document, Dialect::OpenApi30, side).read("/schema");
    let input = MapType::new().optional("id", Type::Text).required("secret", Type::Text);
    assert_eq!(of(Side::Input), open(input.optional("made", Type::Timestamp)));
    let output = MapType::new().required("id", Type::Text).optional("secret", Type::Text);
    assert_eq!(of(Side::Output), open(output.required("made", Type::Timestamp)));
}

#[test]
fn lists_with_places_of_their_own_are_lists_of_what_any_place_may_be() {
    let text = json!({ "type": "string" });
    let date = json!({ "type": "string", "format": "date-time" });
    assert_eq!(of(json!({ "type": "array", "prefixItems": [text, date], "items": false })), Type::list(Type::Text));
    assert_eq!(of(json!({ "type": "array", "prefixItems": [text] })), Type::list(Type::Any));
    let before = json!({ "schema": { "type": "array", "items": [date], "additionalItems": date } });
    assert_eq!(read(Dialect::Draft07, &before), Type::list(Type::Timestamp));
}

#[test]
fn all_of_says_what_each_part_says() {
    let schema = json!({
        "allOf": [
            { "type": "object", "properties": { "id": { "type": "integer" }, "a": { "type": "string" } } },
            {
                "type": "object",
                "required": ["id"],
                "properties": { "id": { "type": "integer", "format": "int64" } },
                "additionalProperties": { "type": "string" },
            },
        ],
        "properties": { "c": { "format": "date-time", "type": "string" } },
    });
    let expected = MapType::new().optional("c", Type::Timestamp).required("id", Type::I64).optional("a", Type::Text);
    assert_eq!(of(schema), Type::map(expected.others(Others::Of(Type::Text))));
    let nullable = json!({ "type": ["string", "null"] });
    assert_eq!(of(json!({ "allOf": [nullable, nullable] })), Type::nullable(Type::Text));
    assert_eq!(of(json!({ "allOf": [nullable, { "type": "string", "format": "byte" }] })), Type::Bytes);
    assert_eq!(of(json!({ "allOf": [{ "type": "string" }, { "type": "boolean" }] })), Type::Any);
}

#[test]
fn one_of_says_what_holds_of_every_part() {
    let card = json!({
        "type": "object",
        "required": ["kind", "number"],
        "properties": { "kind": { "const": "card" }, "number": { "type": "string" }, "amount": { "type": "integer", "format": "int64" } },
    });
    let cash = json!({
        "type": "object",
        "required": ["kind"],
        "properties": { "kind": { "const": "cash" }, "amount": { "type": "number", "format": "double" } },
    });
    // Whether `number` is text, the other part leaves open.
    let expected = MapType::new().required("kind", Type::Text).optional("amount", Type::Number);
    assert_eq!(of(json!({ "oneOf": [card, cash] })), open(expected));
    let closed = |name: &str| {
        let members = json!({ name: { "type": "boolean" } });
        json!({ "type": "object", "properties": members, "required": [name], "additionalProperties": false })
    };
    let expected = MapType::new().optional("a", Type::Bool).optional("b", Type::Bool);
    assert_eq!(of(json!({ "anyOf": [closed("a"), closed("b")] })), Type::map(expected));
    assert_eq!(of(json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] })), Type::Any);
    assert_eq!(of(json!({ "oneOf": [{ "type": "null" }] })), Type::Any);
    let texts = json!([{ "type": "string", "format": "decimal" }, { "type": "string", "format": "date-time" }]);
    assert_eq!(of(json!({ "anyOf": texts, "type": "string" })), Type::Text);
}

#[test]
fn a_schema_that_comes_back_to_itself_is_anything_where_it_does() {
    let document = json!({
        "schema": { "$ref": "#/named/Tree" },
        "named": {
            "Tree": {
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "children": { "type": "array", "items": { "$ref": "#/named/Tree" } },
                    "owner": { "$ref": "#/named/Person" },
                    "size": { "$ref": "#/named/Size" },
                },
            },
            "Person": { "type": "object", "properties": { "trees": { "type": "array", "items": { "$ref": "#/named/Tree" } } } },
            "Size": { "type": "integer", "format": "int32" },
            "Itself": { "$ref": "#/named/Itself" },
            "Lost": { "type": "array", "items": { "$ref": "#/named/Gone" } },
            "Foreign": { "type": "array", "items": { "$ref": "other.yaml#/Order" } },
        },
    });
    let mut schemas = Schemas::new(&document, Dialect::Draft202012, Side::Input);
    let tree = MapType::new()
        .optional("name", Type::Text)
        .optional("children", Type::list(Type::Any))
        .optional("owner", Type::Any)
        .optional("size", Type::I64);
    assert_eq!(schemas.read("/schema"), open(tree.clone()));
    // Whichever is asked for first, they say the same.
    let person = open(MapType::new().optional("trees", Type::list(Type::Any)));
    assert_eq!(schemas.read("/named/Person"), person);
    assert_eq!(Schemas::new(&document, Dialect::Draft202012, Side::Input).read("/named/Person"), person);
    assert_eq!(schemas.read("/named/Tree"), open(tree));
    assert_eq!(schemas.read("/named/Itself"), Type::Any);
    assert_eq!(schemas.read("/named/Lost"), Type::list(Type::Any));
    assert_eq!(schemas.read("/named/Foreign"), Type::list(Type::Any));
    assert_eq!(schemas.read("/nowhere"), Type::Any);
}

/// Forty schemas, each of which holds the next one twice: written out, 2⁴⁰ of them.
fn doubling(names: &str) -> JsonMap<String, Json> {
    let mut all = JsonMap::new();
    for at in 0..40 {
        let next = json!({ "$ref": format!("#/named/{names}{}", at + 1) });
        all.insert(format!("{names}{at}"), json!({ "type": "object", "properties": { "a": next, "b": next } }));
    }
    all.insert(format!("{names}40"), json!({ "type": "boolean" }));
    all
}

#[test]
fn schemas_that_share_their_parts_are_read_once_each() {
    let mut named = doubling("x");
    named.extend(doubling("y"));
    let both = json!([{ "$ref": "#/named/x0" }, { "$ref": "#/named/y0" }]);
    let document = json!({ "schema": { "$ref": "#/named/x0" }, "all": { "allOf": both }, "any": { "anyOf": both }, "named": named });
    let mut schemas = Schemas::new(&document, Dialect::OpenApi30, Side::Output);
    let mut here = schemas.read("/schema");
    for _ in 0..40 {
        let Type::Map(members) = &here else { panic!("{here}") };
        here = members.member("b").unwrap().clone();
    }
    assert_eq!(here, Type::Bool);
    // They are combined up to a bound, and say no more beyond it.
    for pointer in ["/all", "/any"] {
        let mut schemas = Schemas::new(&document, Dialect::OpenApi30, Side::Output);
        assert!(matches!(schemas.read(pointer), Type::Map(_)), "{pointer}");
        assert!(schemas.combining.is_spent());
    }
}

#[test]
fn a_type_is_only_so_deep() {
    let mut named = JsonMap::new();
    for at in 0..10_000 {
        let next = json!({ "$ref": format!("#/named/{}", at + 1) });
        named.insert(at.to_string(), json!({ "type": "array", "items": next }));
    }
    named.insert("10000".to_owned(), json!({ "type": "string" }));
    let inline = (0..1_000).fold(json!({}), |within, _| json!({ "type": "array", "items": within }));
    let document = json!({ "inline": inline, "named": named });
    let mut schemas = Schemas::new(&document, Dialect::Draft202012, Side::Input);
    for pointer in ["/named/0", "/inline"] {
        let (mut here, mut depth) = (schemas.read(pointer), 0);
        while let Type::List(of) = here {
            here = (*of).clone();
            depth += 1;
        }
        assert_eq!(here, Type::Any);
        assert!((1..=DEEPEST + 1).contains(&depth), "{depth}");
    }
    assert_eq!(schemas.read("/named/9999"), Type::list(Type::Text));
    // Dropping a value of `serde_json` recurses, too.
    std::mem::forget(document);
}

/// The type as it is said best: null is said once.
fn plain(found: &Type) -> Type {
    match found {
        Type::List(of) => Type::list(plain(of)),
        Type::Nullable(within) => or_null(plain(within)),
        Type::Map(members) => {
            let named = members.fields().fold(MapType::new(), |all, (name, field)| {
                all.field(name, Field { r#type: plain(&field.r#type), presence: field.presence })
            });
            Type::map(named.others(match members.unnamed() {
                Others::Refused => Others::Refused,
                Others::Of(others) => Others::Of(plain(others)),
            }))
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_type_is_read_from_the_schema_that_says_it(expected in strategy::types()) {
        prop_assert_eq!(of(schema_of(&expected)), plain(&expected));
    }

    #[test]
    fn a_value_of_one_part_is_of_the_type_of_any_of_them((one, value) in strategy::typed(), other in strategy::types()) {
        let either = of(json!({ "anyOf": [schema_of(&one), schema_of(&other)] }));
        let text = super::super::json::encode(&value);
        // `NaN` is a text in JSON, and no schema means it by a number.
        let is_text_in_json = String::from_utf8_lossy(&text).contains("\"NaN\"") || String::from_utf8_lossy(&text).contains("Infinity\"");
        let read = super::super::json::decode(&text, &either, super::super::DecodeLimits::default());
        prop_assert!(is_text_in_json || read.is_ok(), "{} is not {either:?}: {read:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn all_of_the_same_is_the_same(expected in strategy::types()) {
        let schema = schema_of(&expected);
        prop_assert_eq!(of(json!({ "allOf": [schema.clone(), schema] })), plain(&expected));
    }
}
