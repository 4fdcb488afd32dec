use std::sync::Arc;

use portolan_config::tree;
use proptest::prelude::*;

use super::*;
use crate::Contract;

fn contract(text: &str) -> Contract {
    Contract::read(&tree::parse("api.yaml", text).unwrap()).unwrap()
}

fn shop() -> Contract {
    contract(include_str!("../../cases/shop-3.0.yaml"))
}

fn depot() -> Contract {
    contract(include_str!("../../cases/depot-3.1.json"))
}

/// A request of one operation.
struct Asked {
    operation: Arc<RestOperation>,
    path: Vec<(&'static str, String)>,
    query: String,
    fields: Vec<(&'static str, &'static str)>,
    body: Option<Vec<u8>>,
}

fn ask(contract: &Contract, id: &str) -> Asked {
    let operation = contract.operations.iter().find(|operation| &*operation.id == id).unwrap().clone();
    let fields = vec![("x-tenant", "acme"), ("content-type", "application/json")];
    Asked { operation, path: Vec::new(), query: String::new(), fields, body: None }
}

impl Asked {
    fn path(mut self, name: &'static str, value: &str) -> Self {
        self.path.push((name, value.to_owned()));
        self
    }

    fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| *known != name);
        self
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    fn checked(&self) -> Result<(), Refusal> {
        let path = |name: &str| self.path.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let header =
            |name: &str| self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value));
        let head = Head { path: &path, query: &self.query, header: &header };
        request(&self.operation, &head, self.body.as_deref())
    }

    /// The refusal in lines: its code, then each violation; `fits` where there is none.
    fn told(&self) -> String {
        match self.checked() {
            Ok(()) => "fits".to_owned(),
            Err(refusal) => {
                let places = refusal.violations.iter().map(|v| format!("\n{}: {}", v.location, v.message));
                format!("{}{}", refusal.kind.code(), places.collect::<String>())
            }
        }
    }
}

#[test]
fn parameters_of_the_query_are_read_by_their_types_and_checked() {
    let shop = shop();
    let list = |query: &str| ask(&shop, "listOrders").query(query).told();
    for query in [
        "",
        "limit=100",
        "limit=%31%30",
        "after=",
        "after=x+y%20z",
        "status=open,paid",
        "status=open%2Cpaid",
        "tag=a&tag=1&tag=true",
        "price[min]=1.5&price%5Bmax%5D=2",
        "full",
        "full=",
        "full=true",
        "unknown=1&unknown=%zz&&=",
    ] {
        assert_eq!(list(query), "fits", "{query}");
    }
    let refused = [
        ("limit=0", "query.limit: must be at least 1"),
        ("limit=101", "query.limit: must be at most 100"),
        ("limit=ten", "query.limit: must be an integer"),
        ("limit=1.5", "query.limit: must be an integer"),
        ("limit=", "query.limit: must be an integer"),
        ("limit=+1", "query.limit: must be an integer"),
        ("limit=99999999999999999999", "query.limit: must be at most 100"),
        ("limit=1&limit=2", "query.limit: is given 2 times"),
        ("limit=%zz", "query.limit: has a `%` that is not followed by two hexadecimal digits"),
        ("limit=%ff", "query.limit: is not UTF-8 once it is decoded"),
        ("%6cimit=x", "query.limit: must be an integer"),
        ("lim%it=5", "query: the name of a parameter has a `%` that is not followed by two hexadecimal digits"),
        ("status=open,lost", "query.status/1: must be one of `open`, `paid`, `sent`"),
        ("tag=a&tag=a", "query.tag: must not have an item twice"),
        ("tag=a&tag=b&tag=c&tag=d", "query.tag: must have at most 3 items"),
        ("tag=a&tag=", "query.tag/1: must have at least 1 character"),
        ("price[min]=-1", "query.price/min: must be at least 0"),
        ("price[min]=low", "query.price/min: must be a number"),
        ("price[mean]=1", "query.price/mean: is not a known member"),
        ("price[min][x]=1", "query.price: the member `min][x` is nested, which has no meaning here"),
        ("full=yes", "query.full: must be `true` or `false`"),
    ];
    for (query, violation) in refused {
        assert_eq!(list(query), format!("invalid_parameters\n{violation}"), "{query}");
    }
}

#[test]
fn an_object_in_the_query_has_a_bounded_number_of_members() {
    let query = |count: usize| (0..count).map(|at| format!("price[m{at}]=1&")).collect::<String>();
    let told = |count| ask(&shop(), "listOrders").query(&query(count)).told();
    assert_eq!(told(33), "invalid_parameters\nquery.price: has more than 32 members that the contract does not name");
    assert!(told(2).ends_with("query.price/m0: is not a known member\nquery.price/m1: is not a known member"));
}

#[test]
fn an_object_may_be_spread_over_the_query() {
    let contract = contract(
        "openapi: 3.0.3
paths:
  /points:
    get:
      operationId: find
      parameters:
        - name: box
          in: query
          required: true
          schema:
            type: object
            required: [ x, y ]
            properties: { x: { type: integer }, y: { type: integer }, tags: { type: array, items: { type: string } } }
",
    );
    let told = |query: &str| ask(&contract, "find").query(query).told();
    assert_eq!(told("x=1&y=2&tags=a&tags=b"), "fits");
    assert_eq!(told("tags=a"), "invalid_parameters\nquery.box/x: is required\nquery.box/y: is required");
    assert_eq!(told("z=1"), "invalid_parameters\nquery.box: is required");
    assert_eq!(told("x=1&x=2&y=1"), "invalid_parameters\nquery.box: the member `x` is given 2 times");
    assert_eq!(
        told("x=%&y=1"),
        "invalid_parameters\nquery.box: the member `x` has a `%` that is not followed by two hexadecimal digits"
    );
}

#[test]
fn parameters_of_the_path_headers_and_cookies_are_checked() {
    let shop = shop();
    let get = |id: &str| ask(&shop, "getOrder").path("id", id).told();
    assert_eq!(get("17"), "fits");
    assert_eq!(get("%31"), "fits");
    assert_eq!(get("0"), "invalid_parameters\npath.id: must be more than 0");
    assert_eq!(get("1+1"), "invalid_parameters\npath.id: must be an integer");
    assert_eq!(get("9223372036854775808"), "invalid_parameters\npath.id: must be at most 9223372036854775807");
    assert_eq!(get("%"), "invalid_parameters\npath.id: has a `%` that is not followed by two hexadecimal digits");

    let get = ask(&shop, "getOrder").path("id", "1").without("x-tenant");
    assert_eq!(get.told(), "invalid_parameters\nheader.x-tenant: is required");
    let get = ask(&shop, "getOrder").path("id", "1").field("x-tenant", "a");
    assert_eq!(get.told(), "invalid_parameters\nheader.x-tenant: must have at least 2 characters");

    let patch = |cookie: &'static str| {
        let asked = ask(&shop, "patch /orders/{id}").path("id", "1").field("cookie", cookie);
        asked.field("content-type", "application/merge-patch+json").body(r#"{"quantity": null}"#).told()
    };
    assert_eq!(patch("theme=dark; session=abcd1234"), "fits");
    assert_eq!(patch("session=abc"), "invalid_parameters\ncookie.session: must match the pattern `^[a-z0-9]{8}$`");
    assert_eq!(patch("session=abcd1234; session=abcd1235"), "invalid_parameters\ncookie.session: is given 2 times");

    let export = |format: &str, query: &str| ask(&shop, "exportOrders").path("format", format).query(query).told();
    assert_eq!(export("csv", "ids=1|2%7C3"), "fits");
    assert_eq!(
        export("xml", "ids=1|x"),
        "invalid_parameters\npath.format: must be one of `csv`, `json`\nquery.ids/1: must be an integer"
    );

    let search = |query: &str| ask(&shop, "search").query(query).body(r#"{"text": "x"}"#).told();
    assert_eq!(search("filter=%7B%22equals%22%3A%7B%7D%7D"), "fits");
    assert_eq!(search("filter=%7B%22like%22%3A1%7D"), "invalid_parameters\nquery.filter/like: is not a known member");
    assert_eq!(search("filter={"), "invalid_parameters\nquery.filter: line 1, column 1: EOF while parsing an object");
}

#[test]
fn a_body_is_checked_and_every_place_is_told() {
    let shop = shop();
    let create = |body: &str| ask(&shop, "createOrder").body(body).told();
    let good = r#"{"productId": "1", "customerId": "1", "quantity": 2, "placed": "2026-01-31T12:00:00Z",
        "notes": ["x", null], "related": [{"productId": "1", "customerId": "1", "quantity": 1}], "more": {}}"#;
    assert_eq!(create(good), "fits");
    let bad = r#"{"productId": 1, "quantity": 0, "placed": "yesterday", "email": "nobody", "discount": 0.3,
        "notes": ["too long", 1, null], "address": {"street": "Hill", "country": "Germany"}, "labels": {"a/b": 1},
        "related": [{"productId": "1", "customerId": "1", "quantity": 1001}]}"#;
    assert_eq!(
        create(bad),
        "invalid_body
body/customerId: is required
body/productId: must be a text
body/quantity: must be more than 0
body/placed: must be of the format `date-time`
body/email: must be of the format `email`
body/discount: must be a multiple of 0.5
body/notes: must have at most 2 items
body/notes/0: must have at most 5 characters
body/notes/1: must be `null` or a text
body/address/country: must match the pattern `^[A-Z]{2}$`
body/labels/a~1b: must be a text
body/related/0/quantity: must be at most 1000"
    );
    assert_eq!(create("[]"), "invalid_body\nbody: must be an object");
}

#[test]
fn a_body_that_is_not_json_or_says_a_member_twice_is_malformed() {
    let shop = shop();
    let create = |body: &[u8]| ask(&shop, "createOrder").body(body).told();
    assert_eq!(create(b"{\"productId\": }"), "malformed_body\nbody: line 1, column 15: expected value");
    assert_eq!(
        create(b"{\"quantity\": 1, \"quantity\": 2}"),
        "malformed_body\nbody: line 1, column 26: the member `quantity` is given twice"
    );
    assert_eq!(
        create("[".repeat(100_000).as_bytes()),
        "malformed_body\nbody: line 1, column 65: more than 64 levels deep"
    );
    assert_eq!(
        create(b"{\"quantity\": \"\xff\"}"),
        "malformed_body\nbody: line 1, column 15: invalid unicode code point"
    );
    assert_eq!(create(b""), "malformed_body\nbody: line 1, column 0: EOF while parsing a value");
}

#[test]
fn a_body_of_another_type_passes_where_the_operation_takes_it_and_is_refused_where_not() {
    let shop = shop();
    let create = |content_type| ask(&shop, "createOrder").field("content-type", content_type).body("a=1").told();
    assert_eq!(create("application/x-www-form-urlencoded"), "fits");
    let taken = "must be `application/json` or `application/x-www-form-urlencoded`";
    assert_eq!(create("text/plain"), format!("unsupported_media_type\nheader.content-type: {taken}"));
    assert_eq!(create("application/json, text/plain"), format!("unsupported_media_type\nheader.content-type: {taken}"));
    assert_eq!(create("APPLICATION/JSON;charset=utf-8"), "malformed_body\nbody: line 1, column 1: expected value");

    let untyped = ask(&shop, "createOrder").without("content-type").body("{}");
    assert_eq!(
        untyped.told(),
        "unsupported_media_type\nheader.content-type: is required with a body: \
         `application/json` or `application/x-www-form-urlencoded`"
    );
    let packed = ask(&shop, "createOrder").field("content-encoding", "gzip").body("{}");
    assert_eq!(
        packed.told(),
        "unsupported_media_type\nheader.content-encoding: must be absent: this body is checked and so must not be packed"
    );
    let image = |content_type| {
        let product = "0190f7d5-6f63-7b0e-a2ac-2d2f7f2f6a11";
        ask(&shop, "putImage").path("productId", product).field("content-type", content_type).body([0xff, 0]).told()
    };
    assert_eq!(image("image/png"), "fits");
    assert_eq!(image("application/json"), "fits");
    assert_eq!(ask(&shop, "createOrder").told(), "malformed_body\nbody: is required");
    assert_eq!(ask(&shop, "getOrder").path("id", "1").body("anything").told(), "fits");
}

#[test]
fn where_parameters_and_body_are_wrong_both_are_told_and_the_parameters_name_the_fault() {
    let asked = ask(&shop(), "createOrder").without("x-tenant").body(r#"{"productId": "1", "customerId": "1"}"#);
    assert_eq!(asked.told(), "invalid_parameters\nheader.x-tenant: is required\nbody/quantity: is required");
}

#[test]
fn of_alternatives_the_one_that_was_meant_is_told() {
    let shop = shop();
    let patch = |body: &str| {
        let asked =
            ask(&shop, "patch /orders/{id}").path("id", "1").field("content-type", "application/merge-patch+json");
        asked.body(body).told()
    };
    assert_eq!(patch(r#"{"address": null}"#), "fits");
    assert_eq!(patch(r#"{"address": {"street": "Hill"}}"#), "invalid_body\nbody/address/country: is required");
    assert_eq!(patch("{}"), "invalid_body\nbody: must have at least 1 member");
    assert_eq!(patch(r#"{"total": 1}"#), "invalid_body\nbody/total: is not a known member");
    let search = |body: &str| ask(&shop, "search").body(body).told();
    assert_eq!(search(r#"{"all": [{"equals": {}}, {"not": {"equals": {}}}]}"#), "fits");
    assert_eq!(search(r#"{"all": 1}"#), "invalid_body\nbody: fits none of the forms it may have");
}

#[test]
fn json_schema_2020_12_is_honoured() {
    let depot = depot();
    let create = |body: &str| ask(&depot, "createPart").body(body).told();
    assert_eq!(create(r#"{"number": "P-1234", "size": [1, 2, "mm"], "kind": "part", "holder": null}"#), "fits");
    assert_eq!(create(r#"{"number": "P-1234", "hazard": true, "permit": "yes"}"#), "fits");
    let refused = [
        (r#"{"number": "P-1"}"#, "body/number: must have at least 6 characters"),
        (r#"{"number": "P-1234", "hazard": true}"#, "body/permit: is required"),
        (r#"{"number": "P-1234", "other": 1}"#, "body/other: is not a known member"),
        (r#"{"number": "P-1234", "size": [1, 2, "mm"]}"#, "body/kind: is required"),
        (r#"{"number": "P-1234", "kind": "part", "size": [1, 2, "mm", 3]}"#, "body/size/3: must not be given"),
        (r#"{"number": "P-1234", "kind": "whole"}"#, "body/kind: must be `part`"),
        (r#"{"number": "P-1234", "holder": {}}"#, "body/holder/name: is required"),
    ];
    for (body, violation) in refused {
        assert_eq!(create(body), format!("invalid_body\n{violation}"), "{body}");
    }
    let list = |query: &str| ask(&depot, "listParts").query(query).told();
    assert_eq!(list("page=2&sort=age"), "fits");
    assert_eq!(
        list("page=0&sort=size"),
        "invalid_parameters\nquery.page: must be more than 0\nquery.sort: fits none of the forms it may have"
    );
    assert_eq!(ask(&depot, "getPart").path("partNumber", "P-%39").told(), "fits");
}

/// The example in the documentation tells the truth.
#[test]
fn the_documented_request_is_told_what_the_documentation_says() {
    let page = include_str!("../../../../docs/rest.md");
    let document = page.split("# orders.openapi.yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let told = ask(&contract(document), "createOrder").body(r#"{"productId":"1","quantity":0}"#).told();
    assert_eq!(told, "invalid_body\nbody/customerId: is required\nbody/quantity: must be at least 1");
    for line in told.lines().skip(1) {
        let (location, message) = line.split_once(": ").unwrap();
        let shown = format!(r#"{{"location":"{location}","message":"{message}"}}"#);
        assert!(page.contains(&shown), "{shown}");
    }
}

#[test]
fn no_more_violations_are_told_than_a_person_would_mend_at_once() {
    let notes = vec!["1"; 500].join(",");
    let body = format!(r#"{{"productId": "1", "customerId": "1", "quantity": 1, "notes": [{notes}]}}"#);
    let refusal = ask(&shop(), "createOrder").body(body).checked().unwrap_err();
    assert_eq!(refusal.violations.len(), MOST_VIOLATIONS);
}

#[test]
fn a_schema_that_contains_itself_in_every_alternative_is_checked_in_bounded_steps_and_stack() {
    let contract = contract(
        "openapi: 3.1.0
paths:
  /trees:
    post:
      operationId: plant
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Tree' } } } }
components:
  schemas:
    Tree:
      allOf: [ { $ref: '#/components/schemas/Left' }, { $ref: '#/components/schemas/Right' } ]
      anyOf: [ { $ref: '#/components/schemas/Left' }, { $ref: '#/components/schemas/Right' }, { type: 'null' } ]
    Left: { properties: { next: { $ref: '#/components/schemas/Tree' }, leaf: { type: string } } }
    Right: { properties: { next: { $ref: '#/components/schemas/Tree' }, leaf: { type: string, minLength: 2 } } }
",
    );
    // Without a bound, each level would double the work twice over.
    let nested = |leaf: &str| format!("{}{{\"leaf\": {leaf}}}{}", "{\"next\": ".repeat(63), "}".repeat(63));
    let told = |leaf: &'static str| {
        let asked = ask(&contract, "plant").body(nested(leaf));
        std::thread::scope(|scope| {
            // Half of what a worker's thread has.
            let thread = std::thread::Builder::new().stack_size(1 << 20);
            thread.spawn_scoped(scope, || asked.told()).unwrap().join().unwrap()
        })
    };
    assert_eq!(told("\"long\""), "fits");
    let refused = told("1");
    assert!(refused.starts_with("invalid_body\nbody"), "{refused}");
}

#[test]
fn of_a_list_with_very_many_mistakes_some_are_told_and_the_last_of_a_long_one_is_found() {
    let contract = contract(
        "openapi: 3.1.0
paths:
  /many:
    post:
      operationId: many
      requestBody:
        content:
          application/json:
            schema:
              oneOf:
                - { type: boolean }
                - type: array
                  items: { type: array, items: { type: object, additionalProperties: { type: string } } }
",
    );
    let told = |body: String| ask(&contract, "many").body(body).checked().map_err(|refusal| refusal.violations);
    let list = |item: &str, count: usize, last: &str| format!("[{}[{last}]]", format!("[{item}],").repeat(count));
    assert_eq!(told(list(r#"{"a": "b"}"#, 10_000, r#"{"a": "b"}"#)), Ok(()));
    let one = told(list(r#"{"a": "b"}"#, 10_000, r#"{"x": 1}"#)).unwrap_err();
    assert_eq!(one, [Violation { location: "body/10000/0/x".to_owned(), message: "must be a text".to_owned() }]);
    let many = told(list(r#"{"a": 1}"#, 100_000, "1")).unwrap_err();
    assert_eq!(many.len(), MOST_VIOLATIONS);
    assert_eq!(many[1].location, "body/1/0/a");
}

#[test]
fn a_pattern_that_would_try_forever_gives_up() {
    let contract = contract(
        "openapi: 3.1.0
paths:
  /a:
    get:
      operationId: find
      parameters: [ { name: q, in: query, schema: { type: string, pattern: '^(?=(a+)+$)(a|a)*b$' } } ]
",
    );
    let told = ask(&contract, "find").query(&format!("q={}", "a".repeat(5_000))).told();
    assert!(told.starts_with("invalid_parameters\nquery.q: "), "{told}");
}

proptest! {
    #[test]
    fn no_request_makes_a_check_panic(
        query in "((limit|status|tag|price\\[min\\]|price\\[|full|x%)(=(%[0-9a-f]{0,2}|[a-z0-9+,&=.\\-]){0,6})?&){0,5}|.{0,30}",
        id in "(%[0-9a-f]{0,2}|[0-9a-z.e+-]){0,8}|.{0,10}",
        body in "[\\[\\]{}:,\"a0-9.e\\-\\\\ ]{0,24}",
    ) {
        thread_local! {
            static SHOP: Contract = shop();
        }
        SHOP.with(|shop| {
            let _ = ask(shop, "listOrders").query(&query).checked();
            let _ = ask(shop, "getOrder").path("id", &id).query(&query).checked();
            let _ = ask(shop, "createOrder").body(&body).checked();
        });
    }

    #[test]
    fn a_whole_number_in_its_bounds_fits_and_one_beyond_does_not(limit in any::<i64>()) {
        thread_local! {
            static SHOP: Contract = shop();
        }
        SHOP.with(|shop| {
            let fits = ask(shop, "listOrders").query(&format!("limit={limit}")).checked().is_ok();
            assert_eq!(fits, (1..=100).contains(&limit));
        });
    }
}
