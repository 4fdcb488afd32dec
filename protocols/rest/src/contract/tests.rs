use portolan_config::tree;

use super::*;

const SHOP_30: &str = include_str!("../../cases/shop-3.0.yaml");
const DEPOT_31: &str = include_str!("../../cases/depot-3.1.json");

fn read(text: &str) -> Result<Contract, String> {
    let tree = tree::parse("api.yaml", text).unwrap();
    Contract::read(&tree).map_err(|problems| problems.render())
}

/// A document of one operation, `get /`, with the lines given below it.
fn with(edition: &str, operation: &str) -> String {
    let operation: String = operation.lines().map(|line| format!("      {line}\n")).collect();
    format!("openapi: {edition}\npaths:\n  /a:\n    post:\n{operation}")
}

#[test]
fn a_document_of_3_0_becomes_operations() {
    let contract = read(SHOP_30).unwrap();
    assert_eq!((contract.title.as_str(), contract.version.as_str()), ("Shop", "3.2.0"));
    let told: Vec<String> = contract.operations.iter().map(|operation| told(operation)).collect();
    assert_eq!(
        told,
        [
            "listOrders: GET /orders | header x-tenant One!, query limit One, query after One, query status List(Comma), \
             query tag List(Repeated), query price Deep, query full One",
            "createOrder: POST /orders | header x-tenant One! | application/json checked!, application/x-www-form-urlencoded!",
            "getOrder: GET /orders/{id} | path id One!, header x-tenant One!",
            "patch /orders/{id}: PATCH /orders/{id} | path id One!, header x-tenant One!, cookie session One \
             | application/merge-patch+json checked!",
            "deleteOrder: DELETE /orders/{id} | path id One!, header x-tenant One!",
            "exportOrders: GET /orders/export.{format} | path format One!, query ids List(Pipe)",
            "putImage: PUT /products/{productId}/image | path productId One! | image/*, */*",
            "search: POST /search | query filter Json | application/json checked!",
        ]
    );
    let paths: Vec<(String, usize)> = contract.paths().iter().map(|(path, all)| (path.pattern(), all.len())).collect();
    assert_eq!(
        paths,
        [
            ("/orders".to_owned(), 2),
            ("/orders/{id}".to_owned(), 3),
            ("/orders/export.{format}".to_owned(), 1),
            ("/products/{productId}/image".to_owned(), 1),
            ("/search".to_owned(), 1),
        ]
    );
}

/// An operation in one line; `!` marks what is required.
fn told(operation: &RestOperation) -> String {
    let mark = |required: bool| if required { "!" } else { "" };
    let mut line = format!("{}: {} {}", operation.id, operation.method, operation.path.text());
    let parameters = operation.parameters.iter().map(|parameter| {
        let shape = match &parameter.shape {
            Shape::One(_) => "One".to_owned(),
            Shape::List { separator, .. } => format!("List({separator:?})"),
            Shape::Exploded(_) => "Exploded".to_owned(),
            Shape::Deep(_) => "Deep".to_owned(),
            Shape::Json => "Json".to_owned(),
        };
        format!("{} {} {shape}{}", parameter.place.as_str(), parameter.name, mark(parameter.required))
    });
    let parameters: Vec<String> = parameters.collect();
    line = format!("{line} | {}", parameters.join(", "));
    if let Some(body) = &operation.body {
        let media = body.media.iter().map(|media| {
            let checked = if media.schema.is_some() { " checked" } else { "" };
            format!("{}{checked}{}", media.range, mark(body.required))
        });
        line = format!("{line} | {}", media.collect::<Vec<_>>().join(", "));
    }
    line
}

#[test]
fn a_document_of_3_1_becomes_operations() {
    let contract = read(DEPOT_31).unwrap();
    let told: Vec<String> = contract.operations.iter().map(|operation| told(operation)).collect();
    assert_eq!(
        told,
        [
            "listParts: GET /parts | query page One, query sort One",
            "createPart: POST /parts |  | application/json checked!",
            "getPart: GET /parts/{partNumber} | path partNumber One!",
            "evaluate: POST /rules:evaluate |  | application/json checked!",
        ]
    );
}

#[test]
fn everything_that_cannot_be_honoured_is_told_at_once_with_its_place() {
    let refused = read(include_str!("../../cases/refused.yaml")).unwrap_err();
    assert_eq!(refused, include_str!("../../cases/refused.txt"));
}

#[test]
fn what_is_no_document_of_an_edition_that_is_read_is_refused() {
    let refused = |text| read(text).unwrap_err();
    assert_eq!(
        refused("swagger: \"2.0\"\npaths: {}\n"),
        "api.yaml:1:10: swagger: Swagger 2.0 is not read; convert it to OpenAPI 3 first\n"
    );
    assert_eq!(
        refused("openapi: 3.2.0\npaths: {}\n"),
        "api.yaml:1:10: openapi: OpenAPI `3.2.0` is not read; OpenAPI 3.0 and 3.1 are read\n"
    );
    assert_eq!(
        refused("asyncapi: 3.0.0\n"),
        "api.yaml:1:1: this is not an OpenAPI document: it has no member `openapi`; OpenAPI 3.0 and 3.1 are read\n"
    );
    assert_eq!(refused("openapi: 3.0.3\n"), "api.yaml:1:1: there are no `paths`, and so nothing to route\n");
    assert_eq!(
        refused("openapi: 3.1\npaths: {}\n"),
        "api.yaml:2:8: paths: there are no operations, and so nothing to route\n"
    );
}

#[test]
fn a_dialect_of_schemas_other_than_2020_12_is_refused() {
    let dialect = |name: &str| format!("openapi: 3.1.0\njsonSchemaDialect: {name}\npaths: {{ /a: {{ get: {{}} }} }}\n");
    assert!(read(&dialect("https://json-schema.org/draft/2020-12/schema")).is_ok());
    assert!(read(&dialect("https://spec.openapis.org/oas/3.1/dialect/base")).is_ok());
    assert_eq!(
        read(&dialect("http://json-schema.org/draft-07/schema#")).unwrap_err(),
        "api.yaml:2:20: jsonSchemaDialect: schemas in this dialect are not read; JSON Schema 2020-12 is\n"
    );
}

#[test]
fn an_operation_replaces_a_parameter_of_its_path_item() {
    let contract = read(
        "openapi: 3.0.3
paths:
  /a:
    parameters:
      - { name: limit, in: query, required: true, schema: { type: integer } }
      - { name: Accept, in: header, required: true, schema: { type: string } }
    get:
      parameters:
        - { name: limit, in: query, schema: { type: string } }
",
    )
    .unwrap();
    assert_eq!(told(&contract.operations[0]), "get /a: GET /a | query limit One");
    assert_eq!(contract.operations[0].parameters[0].shape, Shape::One(Types::STRING));
}

#[test]
fn one_path_may_name_its_parameters_differently_for_different_methods() {
    let text = |method: &str| {
        let item = "{ responses: {} }";
        format!("openapi: 3.0.3\npaths:\n  /a/{{id}}:\n    get: {item}\n  /a/{{name}}:\n    {method}: {item}\n")
    };
    let contract = read(&text("put")).unwrap();
    let told: Vec<String> = contract.operations.iter().map(|operation| told(operation)).collect();
    assert_eq!(told, ["get /a/{id}: GET /a/{id} | ", "put /a/{name}: PUT /a/{name} | "]);
    assert_eq!(
        read(&text("get")).unwrap_err(),
        "api.yaml:6:10: paths./a/{name}.get: `get /a/{id}` takes the same requests\n"
    );
}

#[test]
fn paths_that_no_router_can_tell_apart_are_refused() {
    let text = "openapi: 3.0.3\npaths:\n  /a/{x}.json: { get: {} }\n  /a/b{x}: { get: {} }\n";
    assert_eq!(
        read(text).unwrap_err(),
        "api.yaml:4:12: paths./a/b{x}: the path cannot be told from `/a/{x}.json`, \
         as a parameter of the one stands beside text of the other\n"
    );
}

#[test]
fn a_schema_that_contains_itself_is_read_and_one_that_is_nothing_but_itself_is_refused() {
    let body = |schema: &str| {
        let operation =
            "requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Node' } } } }";
        format!("{}components:\n  schemas:\n    Node: {schema}\n", with("3.0.3", operation))
    };
    assert!(read(&body("{ properties: { child: { $ref: '#/components/schemas/Node' } } }")).is_ok());
    assert_eq!(
        read(&body("{ allOf: [ { $ref: '#/components/schemas/Node' } ] }")).unwrap_err(),
        "api.yaml:8:11: components.schemas.Node: the schema leads back to itself for the same value\n"
    );
    assert_eq!(
        read(&body("{ $ref: '#/components/schemas/Node' }")).unwrap_err(),
        "api.yaml:8:11: components.schemas.Node: the schema leads back to itself for the same value\n"
    );
}

#[test]
fn what_no_request_meets_is_not_judged() {
    let operation = "responses: { '200': { content: { application/json: { schema: { type: nonsense } } } } }";
    let text =
        format!("{}components:\n  schemas:\n    Odd: {{ type: [ 1 ] }}\nx-more: {{}}\n", with("3.1.0", operation));
    assert!(read(&text).is_ok());
}

#[test]
fn a_reference_may_name_any_place_of_the_document() {
    let operation = "parameters:
  - $ref: '#/paths/~1b~1%7Bid%7D/get/parameters/0'
requestBody:
  content:
    application/json:
      schema: { $ref: '#/paths/~1b~1%7Bid%7D/get/parameters/0/schema' }";
    let text = format!(
        "{}  /b/{{id}}:\n    get:\n      parameters: [ {{ name: limit, in: query, schema: {{ type: integer }} }} ]\n",
        with("3.1.0", operation)
    );
    assert_eq!(
        told(&read(&text).unwrap().operations[0]),
        "post /a: POST /a | query limit One | application/json checked"
    );
}
