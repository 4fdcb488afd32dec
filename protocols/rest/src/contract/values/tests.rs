use portolan_config::tree;

use super::*;
use crate::Contract;

/// Input and output of the operation of this id.
fn types(document: &str, id: &str) -> (Type, Type) {
    let contract = Contract::read(&tree::parse("api.yaml", document).unwrap()).unwrap();
    let operation = contract.operations.iter().find(|operation| &*operation.id == id).unwrap().operation();
    (operation.input.clone(), operation.output.clone())
}

fn shop(id: &str) -> (Type, Type) {
    types(include_str!("../../../cases/shop-3.0.yaml"), id)
}

fn depot(id: &str) -> (Type, Type) {
    types(include_str!("../../../cases/depot-3.1.json"), id)
}

fn open(members: MapType) -> MapType {
    members.others(Others::Of(Type::Any))
}

/// The order of the shop; `id` is there in answers alone.
fn order(id: Presence) -> MapType {
    let address = open(MapType::new().required("street", Type::Text).required("country", Type::Text));
    let order = MapType::new()
        .field("id", Field { r#type: Type::Text, presence: id })
        .required("productId", Type::Text)
        .required("customerId", Type::Text)
        .required("quantity", Type::I64)
        .optional("discount", Type::Number)
        .optional("placed", Type::Timestamp)
        .optional("email", Type::Text)
        .optional("address", Type::map(address))
        .optional("notes", Type::list(Type::nullable(Type::Text)))
        // An order holds orders.
        .optional("related", Type::list(Type::Any))
        .optional("labels", Type::map_of(Type::Text));
    open(order)
}

#[test]
fn an_operation_takes_the_members_of_its_body_and_gives_its_success() {
    let made = Type::map(order(Presence::Required));
    assert_eq!(shop("createOrder"), (Type::map(order(Presence::Optional)), made.clone()));
    assert_eq!(shop("listOrders").1, Type::list(made));
}

#[test]
fn parameters_stand_beside_the_body() {
    let address = open(MapType::new().required("street", Type::Text).required("country", Type::Text));
    let patch = MapType::new()
        .optional("quantity", Type::nullable(Type::Number))
        .optional("status", Type::Text)
        .optional("address", Type::nullable(Type::map(address)))
        .required("id", Type::I64);
    assert_eq!(shop("patch /orders/{id}"), (Type::map(patch), Type::map(order(Presence::Required))));
}

#[test]
fn parameters_have_the_type_that_their_text_is_read_as() {
    let price = MapType::new().optional("min", Type::Number).optional("max", Type::Number);
    let list = MapType::new()
        .optional("limit", Type::I64)
        .optional("after", Type::nullable(Type::Text))
        .optional("status", Type::list(Type::Text))
        .optional("tag", Type::list(Type::Text))
        .optional("price", Type::map(price))
        // An empty text passes, too.
        .optional("full", Type::Any);
    assert_eq!(shop("listOrders").0, Type::map(list));
    let export = MapType::new().optional("ids", Type::list(Type::Number)).required("format", Type::Text);
    assert_eq!(shop("exportOrders"), (Type::map(export), Type::Any));
    let parts = MapType::new().optional("page", Type::nullable(Type::Number)).optional("sort", Type::Text);
    assert_eq!(depot("listParts"), (Type::map(parts), Type::Any));
}

#[test]
fn a_body_that_is_no_json_is_no_input() {
    let id = MapType::new().required("productId", Type::Text);
    // `*/*` has no schema, and may be JSON.
    assert_eq!(shop("putImage"), (Type::map(open(id)), Type::Any));
}

#[test]
fn a_choice_says_what_all_its_parts_say_and_a_circle_ends() {
    let filter = MapType::new()
        .optional("equals", Type::map_of(Type::Any))
        .optional("not", Type::Any)
        .optional("all", Type::list(Type::Any));
    // Of the two, text and filter, each names members that the other refuses.
    let either = MapType::new().optional("text", Type::Text);
    let either = filter.fields().fold(either, |all, (name, field)| all.field(name, field.clone()));
    let filter = Type::map(filter);
    // Where a body has a member `filter`, it is refused; so it is the parameter's.
    assert_eq!(shop("search").0, Type::map(either.optional("filter", filter)));
    assert_eq!(depot("evaluate"), (Type::map(open(MapType::new())), Type::Any));
}

#[test]
fn a_document_of_3_1_says_its_types() {
    let holder = open(MapType::new().required("name", Type::Text));
    let part = MapType::new()
        .required("number", Type::Text)
        .optional("size", Type::list(Type::Any))
        .optional("kind", Type::Text)
        .optional("holder", Type::nullable(Type::map(holder)))
        .optional("hazard", Type::Bool);
    assert_eq!(depot("createPart"), (Type::map(open(part)), Type::Any));
}

/// The types of an operation `post /a/{id}`, of the lines given below it.
fn of(operation: &str) -> (Type, Type) {
    types(&format!("openapi: 3.1.0\npaths:\n  /a/{{id}}:\n    post:\n{operation}"), "post /a/{id}")
}

#[test]
fn the_path_counts_before_the_query_and_the_query_before_the_body() {
    let (input, _) = of("      parameters:
        - { name: id, in: path, required: true, schema: { type: integer, format: int64 } }
        - { name: id, in: query, schema: { type: boolean } }
        - { name: always, in: query, required: true, schema: { type: boolean } }
        - { name: sometimes, in: query, schema: { type: boolean } }
        - { name: number, in: query, schema: { type: number } }
        - { name: other, in: query, schema: { type: string, format: date-time } }
        - { name: x-header, in: header, schema: { type: string } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [ id, always, sometimes, number ]
              properties:
                always: { type: string }
                sometimes: { type: string }
                number: { type: integer, format: int32 }
              additionalProperties: { type: string }
");
    let expected = MapType::new()
        .required("always", Type::Bool)
        // The body's where the query has none: one or the other.
        .required("sometimes", Type::Any)
        .required("number", Type::Number)
        .required("id", Type::I64)
        .optional("other", Type::Text)
        .others(Others::Of(Type::Text));
    assert_eq!(input, Type::map(expected));
}

#[test]
fn a_body_that_may_be_left_out_leaves_its_members_out_and_one_that_is_no_object_is_a_member() {
    let body = |required: bool, schema: &str| {
        let content =
            format!("{{ application/json: {{ schema: {schema} }}, text/csv: {{ schema: {{ type: string }} }} }}");
        let (input, _) = of(&format!("      requestBody: {{ required: {required}, content: {content} }}\n"));
        input
    };
    let closed = "{ type: object, required: [ a ], properties: { a: { type: boolean } }, additionalProperties: false }";
    assert_eq!(body(true, closed), Type::map(MapType::new().required("a", Type::Bool)));
    assert_eq!(body(false, closed), Type::map(MapType::new().optional("a", Type::Bool)));
    let nullable = closed.replace("type: object", "type: [ object, 'null' ]");
    let or_null = MapType::new().optional("a", Type::Bool).optional("body", Type::Any);
    assert_eq!(body(true, &nullable), Type::map(or_null));
    let list = "{ type: array, items: { type: string, format: decimal } }";
    assert_eq!(body(true, list), Type::map(MapType::new().required("body", Type::list(Type::Decimal))));
    assert_eq!(body(false, list), Type::map(MapType::new().optional("body", Type::list(Type::Decimal))));
    assert_eq!(body(true, "{}"), Type::map(open(MapType::new())));
}

#[test]
fn the_output_is_what_any_success_gives() {
    let output = |responses: &str| of(&format!("      responses:\n{responses}")).1;
    let json = |status: &str, schema: &str| {
        format!("        {status}: {{ description: a, content: {{ application/json: {{ schema: {schema} }} }} }}\n")
    };
    let id = "{ type: integer, format: int64 }";
    assert_eq!(output(&json("'200'", id)), Type::I64);
    assert_eq!(output(&[json("200", id), json("default", "{ type: string }")].concat()), Type::I64);
    assert_eq!(output(&[json("200", id), json("2XX", "{ type: number }")].concat()), Type::Number);
    assert_eq!(output(&[json("200", id), json("202", "{ type: string }")].concat()), Type::Any);
    assert_eq!(output(&[json("200", id), "        204: { description: none }\n".to_owned()].concat()), Type::I64);
    assert_eq!(output(&[json("404", "{ type: string }"), json("default", id)].concat()), Type::I64);
    assert_eq!(
        output("        200: { description: a page, content: { text/html: { schema: { type: string } } } }\n"),
        Type::Any
    );
    assert_eq!(output("        200: { $ref: '#/components/responses/Gone' }\n"), Type::Any);
    assert_eq!(of("      {}\n").1, Type::Any);
}
