//! The types of what an operation takes and gives: see [`Operation`](portolan_exchange::Operation).

use portolan_exchange::value::schema::{Dialect, Schemas, Side};
use portolan_exchange::value::{Field, MapType, Others, Presence, Type};
use serde_json::Value;

use super::document::{Document, Edition, Node};
use super::parameter::{Parameter, ParameterIn};
use super::requestbody::RequestBody;
use super::shape::Shape;
use crate::media;

/// The types of the schemas of a document, for requests and for answers.
pub(super) struct Values<'a> {
    requests: Schemas<'a>,
    answers: Schemas<'a>,
}

impl<'a> Values<'a> {
    pub fn new(document: &Document<'a>) -> Self {
        let dialect = match document.edition {
            Edition::V30 => Dialect::OpenApi30,
            Edition::V31 => Dialect::Draft202012,
        };
        let root: &'a Value = document.root().value;
        let schemas = |side| Schemas::new(root, dialect, side);
        Self { requests: schemas(Side::Input), answers: schemas(Side::Output) }
    }

    /// What a request has where this schema stands.
    pub fn of_request(&mut self, schema: &Node<'a>) -> Type {
        self.requests.read(&schema.pointer)
    }

    /// What a parameter of this shape is read as. A parameter is written as text, which does not say all that JSON does.
    pub fn of_parameter(&mut self, schema: &Node<'a>, shape: &Shape, empty_passes: bool) -> Type {
        let found = self.of_request(schema);
        match (shape, &found) {
            // The empty text passes beside what the schema says.
            _ if empty_passes => self.requests.either(&found, &Type::Text),
            (Shape::Exploded(_) | Shape::Deep(_), Type::Map(members)) => written_as_members(members),
            (Shape::Exploded(_) | Shape::Deep(_), _) => Type::Any,
            // An item is one text.
            (Shape::List { .. }, Type::List(of)) => Type::list(of_one_text(of)),
            _ => found,
        }
    }

    /// The input: parameters of path and query and members of the JSON body, side by side. The path counts before the query, and
    /// the query before the body.
    pub fn input(&mut self, parameters: &[Parameter], body: Option<&RequestBody>) -> Type {
        let mut members = body.map_or_else(MapType::new, |body| self.members_of(body));
        let of = |place| parameters.iter().filter(move |parameter| parameter.place == place);
        for parameter in of(ParameterIn::Query) {
            let field = self.beside(&members, parameter);
            members = members.field(&parameter.name, field);
        }
        for parameter in of(ParameterIn::Path) {
            members = members.required(&parameter.name, parameter.value.clone());
        }
        Type::map(members)
    }

    /// What stands under the name of a parameter of the query, where the body may have a member of that name.
    fn beside(&mut self, body: &MapType, parameter: &Parameter) -> Field {
        let of_body = match (body.named(&parameter.name), body.unnamed()) {
            _ if parameter.required => None,
            (Some(field), _) => Some(field.clone()),
            (None, Others::Of(others)) => Some(Field { r#type: others.clone(), presence: Presence::Optional }),
            (None, Others::Refused) => None,
        };
        match of_body {
            Some(field) => Field { r#type: self.requests.either(&parameter.value, &field.r#type), ..field },
            None => Field { r#type: parameter.value.clone(), presence: presence(parameter.required) },
        }
    }

    /// The members that a JSON body brings into the input.
    fn members_of(&mut self, body: &RequestBody) -> MapType {
        let json = body.media.iter().filter(|entry| media::may_be_json(&entry.range)).map(|entry| entry.value.clone());
        let Some(value) = json.reduce(|one, other| self.requests.either(&one, &other)) else { return MapType::new() };
        let is_always_map = body.required && !value.takes_null();
        match (value.without_null(), is_always_map) {
            (Type::Any, _) => MapType::new().others(Others::Of(Type::Any)),
            (Type::Map(members), true) => (**members).clone(),
            (Type::Map(members), false) => {
                let may_be_absent = members
                    .fields()
                    .fold(MapType::new(), |all, (name, field)| all.optional(name, field.r#type.clone()));
                let all = may_be_absent.others(members.unnamed().clone());
                if !value.takes_null() {
                    return all;
                }
                // A body that is null is no object, and so the member `body`.
                let of_body = all.member("body").map_or(Type::Any, or_null);
                all.optional("body", of_body)
            }
            _ => MapType::new().field("body", Field { presence: presence(body.required), r#type: value }),
        }
    }

    /// The output: what the JSON of a success may be, whichever it is; of the `default` where no success has a response of its
    /// own. An answer that is no JSON has no type.
    pub fn output(&mut self, document: &Document<'a>, operation: &Node<'a>) -> Type {
        let Some(responses) = operation.member("responses") else { return Type::Any };
        let is_success = |status: &str| status.len() == 3 && status.starts_with('2');
        let mut successes: Vec<Node<'a>> =
            responses.members().filter(|(status, _)| is_success(status)).map(|(_, response)| response).collect();
        if successes.is_empty() {
            successes.extend(responses.member("default"));
        }
        let mut output: Option<Type> = None;
        for response in successes {
            let content = document.followed(response).and_then(|response| response.member("content"));
            for (range, entry) in content.iter().flat_map(Node::members) {
                if !media::may_be_json(&media::essence(range)) {
                    continue;
                }
                let of = entry.member("schema").map_or(Type::Any, |schema| self.answers.read(&schema.pointer));
                output = Some(output.map_or(of.clone(), |output| self.answers.either(&output, &of)));
            }
        }
        output.unwrap_or_default()
    }
}

fn or_null(found: &Type) -> Type {
    if found.takes_null() { found.clone() } else { Type::nullable(found.clone()) }
}

fn presence(required: bool) -> Presence {
    if required { Presence::Required } else { Presence::Optional }
}

fn of_one_text(found: &Type) -> Type {
    match found.without_null() {
        Type::List(_) | Type::Map(_) => Type::Any,
        _ => found.clone(),
    }
}

/// An object in the query: each member is one text, or a list of texts, and of those that have no name the type is not known.
fn written_as_members(members: &MapType) -> Type {
    let named = members.fields().fold(MapType::new(), |all, (name, field)| {
        all.field(name, Field { r#type: of_one_text(&field.r#type), presence: field.presence })
    });
    Type::map(named.others(match members.unnamed() {
        Others::Refused => Others::Refused,
        Others::Of(_) => Others::Of(Type::Any),
    }))
}

#[cfg(test)]
mod tests;
