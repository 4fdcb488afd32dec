//! The one pass that measures and prices a document, in time linear in its length whatever its fragments do.
//!
//! Each fragment is measured once, after the fragments it spreads; a spread adds the fragment's measure. So 2^30 spreads
//! of thirty fragments cost sixty additions, and the sums saturate instead of growing. Nothing here recurses.
//!
//! Measures are upper bounds. Equal fields are counted each time they are written, and all branches of an interface or
//! union are added up. `@skip` and `@include` lower the cost and nothing else, and only where their condition is known.

use std::collections::HashMap;
use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use portolan_exchange::value::Map;
use portolan_exchange::{FaultKind, Kind};

use crate::cost::{Bound, Compiler, Condition, Least, Price, Program, Size, SizeSource, VariableId};
use crate::document::{
    Alias, Document, FragmentDefinition, OperationDefinition, OperationKind, ROOT, Selection, SelectionKind, Value,
};
use crate::error::{Error, Location};
use crate::limits::{INTROSPECTION_LISTS, Limit, Limits};
use crate::schema::{Field, Paged, Schema, System, TypeId, Weight};
use crate::types;

/// The price of a field that returns a scalar or an enum value.
const LEAF: u64 = 1;
/// The price of a field that returns one object.
const OBJECT: u64 = 5;
/// The price of a field that returns a list, without its items.
const LIST: u64 = 10;

/// The lists by which an introspection query can go round in circles, each round multiplying its answer.
const INTROSPECTION_FIELDS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];

/// A document that keeps the limits, ready to be priced for a request.
#[derive(Debug)]
pub struct Analyzed {
    operations: Vec<Operation>,
    program: Program,
    steps: u64,
}

/// One operation of an analysed document.
#[derive(Debug)]
pub struct Operation {
    /// Query, mutation or subscription.
    pub kind: OperationKind,
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// Levels of fields, the leaf counted.
    pub depth: u64,
    /// The operation as the gateway knows it: its name, or `anonymous`, its kind, and the types of its variables and its
    /// root fields.
    pub asked: Arc<portolan_exchange::Operation>,
    /// Where it begins, in bytes.
    at: u32,
    price: Price,
    defaults: Box<[(VariableId, Bound)]>,
}

impl Analyzed {
    /// The operation a request means: the one it names, or the only one there is (specification, section 6.1).
    pub fn operation(&self, name: Option<&str>) -> Result<&Operation, Error> {
        match (name, self.operations.as_slice()) {
            (Some(name), operations) => {
                let named = |operation: &&Operation| operation.name.as_deref() == Some(name);
                let missing = || format!("the document has no operation `{}`", short(name));
                operations.iter().find(named).ok_or_else(|| Error::new(FaultKind::InvalidParameters, missing()))
            }
            (None, [only]) => Ok(only),
            (None, []) => Err(Error::new(FaultKind::InvalidParameters, "the document has no operation")),
            (None, several) => {
                let message = format!("the document has {} operations; say which in `operationName`", several.len());
                Err(Error::new(FaultKind::InvalidParameters, message))
            }
        }
    }

    /// What an operation of this document costs with these variables.
    pub fn price(&self, operation: &Operation, variables: &Map) -> u64 {
        self.program.evaluate(operation.price, variables, &operation.defaults)
    }

    /// Takes the types of its operations from the document that was found valid.
    pub(crate) fn set_types(&mut self, schema: &Schema, document: &ExecutableDocument) {
        for operation in &mut self.operations {
            let Ok(valid) = document.operations.get(operation.name.as_deref()) else { continue };
            let asked = Arc::make_mut(&mut operation.asked);
            asked.input = schema.inputs().variables(schema.valid(), valid);
            asked.output = types::data(schema.valid(), document, valid);
        }
    }

    /// How many steps the analysis took. Tests hold it against the length of the document.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The bytes it holds on to.
    pub(crate) fn weight(&self) -> usize {
        let operations = self.operations.iter().map(|operation| {
            let defaults = operation.defaults.len() * size_of::<(VariableId, Bound)>();
            let names = operation.name.as_ref().map_or(0, |name| name.len()) + operation.asked.id.len();
            let types = types::weight(&operation.asked.input) + types::weight(&operation.asked.output);
            size_of::<Operation>() + size_of::<portolan_exchange::Operation>() + names + defaults + types
        });
        size_of::<Analyzed>() + operations.sum::<usize>() + self.program.weight()
    }
}

impl Operation {
    /// Where it begins in the text it was read from.
    pub fn location(&self, text: &str) -> Location {
        Location::of(text, self.at)
    }
}

/// Measures, limits and prices a parsed document. Refuses with all limits passed, and with spreads that go in circles.
pub(crate) fn analyze(
    text: &str,
    document: &Document,
    schema: &Schema,
    limits: &Limits,
) -> Result<Analyzed, Vec<Error>> {
    let mut analysis = Analysis::new(text, document, schema);
    analysis.measure_fragments().map_err(|error| vec![error])?;
    let measures: Vec<Measure> =
        document.operations.iter().map(|operation| analysis.measure_operation(operation)).collect();
    let excesses = analysis.excesses(&measures, limits);
    if !excesses.is_empty() {
        return Err(excesses);
    }
    let operations = document.operations.iter().zip(&measures);
    let operations = operations.map(|(operation, measure)| analysis.finish(operation, measure)).collect();
    Ok(Analyzed { operations, steps: analysis.steps + document.steps, program: analysis.compiler.finish() })
}

/// What a selection, or a set of them, adds up to.
#[derive(Clone, Copy, Debug, Default)]
struct Measure {
    depth: u64,
    /// Where the deepest field stands.
    deepest: u32,
    nesting: u64,
    selections: u64,
    /// Fields directly in it, those of fragments among them.
    fields: u64,
    aliases: u64,
    directives: u64,
    values: u64,
    introspection: u64,
    price: Price,
    /// The items of lists that take their size from the object around them.
    paged: Price,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Unseen,
    Open,
    Done,
}

struct Analysis<'a> {
    text: &'a str,
    document: &'a Document,
    schema: &'a Schema,
    compiler: Compiler<'a>,
    fragments: HashMap<&'a str, usize>,
    /// By fragment, once measured.
    measured: Vec<Measure>,
    /// By fragment: whether anything spreads it.
    spread: Vec<bool>,
    /// By selection: the type that its own selections select from.
    inside: Vec<Option<TypeId>>,
    /// By selection: the sum of its own selections.
    sums: Vec<Measure>,
    steps: u64,
}

impl<'a> Analysis<'a> {
    fn new(text: &'a str, document: &'a Document, schema: &'a Schema) -> Self {
        let mut fragments = HashMap::with_capacity(document.fragments.len());
        for (at, fragment) in document.fragments.iter().enumerate() {
            // Of two with one name the first counts; validation refuses the document.
            fragments.entry(fragment.name.of(text)).or_insert(at);
        }
        Analysis {
            text,
            document,
            schema,
            compiler: Compiler::default(),
            measured: vec![Measure::default(); document.fragments.len()],
            spread: vec![false; document.fragments.len()],
            inside: vec![None; document.selections.len()],
            sums: vec![Measure::default(); document.selections.len()],
            steps: fragments.len() as u64,
            fragments,
        }
    }

    /// Measures every fragment after those it spreads: depth first, without recursion.
    fn measure_fragments(&mut self) -> Result<(), Error> {
        let mut colours = vec![Colour::Unseen; self.document.fragments.len()];
        let mut path: Vec<(usize, u32)> = Vec::new();
        for start in 0..self.document.fragments.len() {
            if colours[start] == Colour::Unseen {
                colours[start] = Colour::Open;
                path.push((start, self.document.fragments[start].selections.start));
            }
            while let Some((fragment, next)) = path.last_mut() {
                let definition = &self.document.fragments[*fragment];
                if *next == definition.selections.end {
                    let done = *fragment;
                    path.pop();
                    colours[done] = Colour::Done;
                    self.measured[done] = self.measure_fragment(definition);
                    continue;
                }
                let selection = &self.document.selections[*next as usize];
                *next += 1;
                self.steps += 1;
                let Some(spread) = self.fragment_of(selection) else { continue };
                match colours[spread] {
                    Colour::Done => {}
                    Colour::Open => return Err(self.circle(selection, spread)),
                    Colour::Unseen => {
                        colours[spread] = Colour::Open;
                        path.push((spread, self.document.fragments[spread].selections.start));
                    }
                }
            }
        }
        Ok(())
    }

    fn fragment_of(&self, selection: &Selection) -> Option<usize> {
        match selection.kind {
            SelectionKind::Spread { fragment } => self.fragments.get(fragment.of(self.text)).copied(),
            _ => None,
        }
    }

    fn circle(&self, selection: &Selection, fragment: usize) -> Error {
        let name = short(self.document.fragments[fragment].name.of(self.text));
        let message = format!("fragment `{name}` spreads itself");
        Error::new(FaultKind::QueryInvalid, message).at(Location::of(self.text, selection.at))
    }

    fn measure_fragment(&mut self, fragment: &FragmentDefinition) -> Measure {
        let on = self.schema.type_named(fragment.on.of(self.text));
        let mut measure = self.measure(fragment.selections.clone(), on);
        measure.directives = measure.directives.saturating_add(fragment.directives);
        measure
    }

    fn measure_operation(&mut self, operation: &OperationDefinition) -> Measure {
        let mut measure = self.measure(operation.selections.clone(), self.schema.root(operation.kind));
        measure.directives = measure.directives.saturating_add(operation.directives);
        measure.price = self.compiler.add(measure.price, measure.paged);
        measure
    }

    /// Measures the selections of one operation or fragment: forwards for types, backwards for sums.
    fn measure(&mut self, selections: std::ops::Range<u32>, root: Option<TypeId>) -> Measure {
        let mut whole = Measure::default();
        for at in selections.clone() {
            self.inside[at as usize] = self.type_inside(at, root);
            self.steps += 1;
        }
        for at in selections.rev() {
            let selection = &self.document.selections[at as usize];
            let mut measure = self.measure_one(at, root);
            self.apply_conditions(selection, &mut measure);
            let parent = if selection.parent == ROOT { whole } else { self.sums[selection.parent as usize] };
            let sum = self.sum(parent, measure);
            if selection.parent == ROOT {
                whole = sum
            } else {
                self.sums[selection.parent as usize] = sum
            }
            self.steps += 1;
        }
        whole
    }

    fn type_inside(&self, at: u32, root: Option<TypeId>) -> Option<TypeId> {
        let selection = &self.document.selections[at as usize];
        match selection.kind {
            SelectionKind::Field { .. } => self.field(selection, root)?.of,
            SelectionKind::Inline { on: Some(on) } => self.schema.type_named(on.of(self.text)),
            SelectionKind::Inline { on: None } => self.type_around(selection, root),
            SelectionKind::Spread { .. } => None,
        }
    }

    fn type_around(&self, selection: &Selection, root: Option<TypeId>) -> Option<TypeId> {
        if selection.parent == ROOT { root } else { self.inside[selection.parent as usize] }
    }

    /// What the schema knows of a field; nothing if the field, or the type around it, does not exist.
    fn field(&self, selection: &Selection, root: Option<TypeId>) -> Option<&'a Field> {
        let SelectionKind::Field { name, .. } = selection.kind else { return None };
        self.schema.field(self.type_around(selection, root)?, name.of(self.text))
    }

    fn measure_one(&mut self, at: u32, root: Option<TypeId>) -> Measure {
        let selection = &self.document.selections[at as usize];
        let mut measure = match selection.kind {
            SelectionKind::Field { name, alias } => {
                let inner = self.sums[at as usize];
                let mut measure = self.measure_field(selection, root, name.of(self.text), inner);
                measure.aliases = inner.aliases.saturating_add(u64::from(alias == Alias::Given));
                measure
            }
            SelectionKind::Inline { .. } => self.sums[at as usize],
            SelectionKind::Spread { .. } => match self.fragment_of(selection) {
                Some(fragment) => {
                    self.spread[fragment] = true;
                    self.measured[fragment]
                }
                None => Measure::default(), // refused by validation
            },
        };
        measure.nesting = measure.nesting.saturating_add(1);
        measure.selections = measure.selections.saturating_add(1);
        measure.directives = measure.directives.saturating_add(selection.directives.len() as u64);
        measure.values = measure.values.saturating_add(u64::from(selection.values));
        measure
    }

    fn measure_field(&mut self, selection: &Selection, root: Option<TypeId>, name: &str, inner: Measure) -> Measure {
        let field = self.field(selection, root);
        let around = self.type_around(selection, root).map(|of| self.schema.system(of));
        let mut measure = Measure { fields: 1, ..inner };
        if around == Some(System::Introspection) {
            // Below `__schema` and `__type` only the circles count; the answer is as large as the schema.
            let circle = u64::from(INTROSPECTION_FIELDS.contains(&name));
            measure.introspection = inner.introspection.saturating_add(circle);
        } else {
            measure.depth = inner.depth.saturating_add(1);
            measure.deepest = if inner.depth == 0 { selection.at } else { inner.deepest };
        }
        measure.price = self.price_field(selection, field, &inner, &mut measure.paged);
        measure
    }

    /// The price of a field with all that is selected from it, save what goes to `paged`.
    fn price_field(
        &mut self,
        selection: &Selection,
        field: Option<&Field>,
        inner: &Measure,
        paged: &mut Price,
    ) -> Price {
        *paged = Price::default();
        let Some(field) = field else {
            // Unknown to the schema, so validation will refuse it.
            let own = Price::fixed(if inner.selections == 0 { LEAF } else { OBJECT });
            let items = self.compiler.add(inner.price, inner.paged);
            return self.compiler.add(own, items);
        };
        if field.system == System::Introspection {
            return Price::default();
        }
        match field.weight {
            Weight::Leaf => Price::fixed(LEAF),
            Weight::Object => {
                let sources = self.sizes(selection, field);
                let pages = self.compiler.times(&sources, inner.paged, Least::Nothing);
                let items = self.compiler.add(inner.price, pages);
                self.compiler.add(Price::fixed(OBJECT), items)
            }
            Weight::List => {
                let sources = self.sizes(selection, field);
                let items = self.compiler.add(inner.price, inner.paged);
                if field.paged == Paged::Yes && sources.is_empty() {
                    *paged = self.compiler.at_least_one(items);
                    return Price::fixed(LIST);
                }
                let items = self.compiler.times(&sources, items, Least::One);
                self.compiler.add(Price::fixed(LIST), items)
            }
        }
    }

    /// Where the size of a list is said: in the arguments given, and in the schema for those left out.
    fn sizes(&mut self, selection: &Selection, field: &Field) -> Vec<SizeSource> {
        let mut sources = Vec::new();
        let arguments = range(&self.document.arguments, &selection.arguments);
        for sizing in &field.sizing {
            self.steps += arguments.len() as u64;
            let given = arguments.iter().find(|argument| argument.name.of(self.text) == &*sizing.argument);
            let source = match given.map(|argument| argument.value) {
                None => sizing.default.map(SizeSource::Known),
                Some(Value::Int(digits)) => Some(SizeSource::Known(Size::of_literal(digits.of(self.text)))),
                Some(Value::Variable(name)) => {
                    let variable = self.compiler.variable(name.of(self.text));
                    Some(SizeSource::Variable { variable, otherwise: sizing.default })
                }
                Some(Value::Null | Value::Boolean(_) | Value::Other) => None,
            };
            sources.extend(source);
        }
        sources
    }

    /// `@skip` and `@include` (specification, sections 3.13.1 and 3.13.2) make a selection cost nothing when it is known,
    /// from a literal or a variable, that it is left out.
    fn apply_conditions(&mut self, selection: &Selection, measure: &mut Measure) {
        for directive in range(&self.document.directives, &selection.directives) {
            let included_when = match directive.name.of(self.text) {
                "skip" => false,
                "include" => true,
                _ => continue,
            };
            let arguments = range(&self.document.arguments, &directive.arguments);
            self.steps += arguments.len() as u64;
            let Some(argument) = arguments.iter().find(|argument| argument.name.of(self.text) == "if") else {
                continue;
            };
            match argument.value {
                Value::Boolean(flag) if flag != included_when => {
                    measure.price = Price::default();
                    measure.paged = Price::default();
                }
                Value::Variable(name) => {
                    let condition = Condition { variable: self.compiler.variable(name.of(self.text)), included_when };
                    measure.price = self.compiler.when(condition, measure.price);
                    measure.paged = self.compiler.when(condition, measure.paged);
                }
                _ => {}
            }
        }
    }

    fn sum(&mut self, left: Measure, right: Measure) -> Measure {
        // Sums are made from the back; of two equally deep places the one further ahead is told.
        let deepest = if right.depth >= left.depth { right.deepest } else { left.deepest };
        Measure {
            depth: left.depth.max(right.depth),
            deepest,
            nesting: left.nesting.max(right.nesting),
            selections: left.selections.saturating_add(right.selections),
            fields: left.fields.saturating_add(right.fields),
            aliases: left.aliases.saturating_add(right.aliases),
            directives: left.directives.saturating_add(right.directives),
            values: left.values.saturating_add(right.values),
            introspection: left.introspection.max(right.introspection),
            price: self.compiler.add(left.price, right.price),
            paged: self.compiler.add(left.paged, right.paged),
        }
    }

    /// All limits that the document passes, each once.
    fn excesses(&self, operations: &[Measure], limits: &Limits) -> Vec<Error> {
        let mut errors: Vec<Error> = Vec::new();
        let mut check = |limit: Limit, value: u64, maximum: u64, at: u32| {
            let told = |error: &Error| error.excess.is_some_and(|excess| excess.limit == limit);
            if value > maximum && !errors.iter().any(told) {
                errors.push(Error::over(limit, value, maximum).at(Location::of(self.text, at)));
            }
        };
        for (operation, measure) in self.document.operations.iter().zip(operations) {
            check(Limit::Depth, measure.depth, limits.depth, measure.deepest);
            check(Limit::Aliases, measure.aliases, limits.aliases, operation.at);
            check(Limit::RootFields, measure.fields, limits.root_fields, operation.at);
            check(Limit::Directives, measure.directives, limits.directives, operation.at);
            check(Limit::Introspection, measure.introspection, INTROSPECTION_LISTS, operation.at);
            check(Limit::Nesting, measure.nesting, limits.nesting, operation.at);
        }
        for (fragment, measure) in self.document.fragments.iter().zip(&self.measured) {
            check(Limit::Nesting, measure.nesting, limits.nesting, fragment.name.start);
        }
        let unused = self.measured.iter().zip(&self.spread).filter(|(_, spread)| !**spread).map(|(measure, _)| measure);
        let (mut selections, mut values) = (0_u64, 0_u64);
        for measure in operations.iter().chain(unused) {
            selections = selections.saturating_add(measure.selections);
            values = values.saturating_add(measure.values);
        }
        check(Limit::Selections, selections, limits.selections, 0);
        check(Limit::Values, values, limits.values, 0);
        let (longest, at) = self.document.longest_list;
        check(Limit::ListLength, longest, limits.list_length, at);
        errors
    }

    fn finish(&self, operation: &OperationDefinition, measure: &Measure) -> Operation {
        let definitions = range(&self.document.variables, &operation.variables);
        let defaults = definitions.iter().filter_map(|definition| {
            let variable = self.compiler.known(definition.name.of(self.text))?;
            let bound = match definition.default? {
                Value::Int(digits) => Bound::Number(Size::of_literal(digits.of(self.text))),
                Value::Boolean(flag) => Bound::Flag(flag),
                Value::Null | Value::Other | Value::Variable(_) => Bound::Other,
            };
            Some((variable, bound))
        });
        let name = operation.name.map(|name| name.of(self.text));
        let kind = match operation.kind {
            OperationKind::Query | OperationKind::Mutation => Kind::Call,
            OperationKind::Subscription => Kind::ServerStream,
        };
        let id = name.map_or_else(|| "anonymous".to_owned(), short);
        Operation {
            kind: operation.kind,
            name: name.map(Into::into),
            asked: Arc::new(portolan_exchange::Operation::untyped(id, kind)),
            depth: measure.depth,
            at: operation.at,
            price: measure.price,
            defaults: defaults.collect(),
        }
    }
}

fn range<'d, T>(all: &'d [T], range: &std::ops::Range<u32>) -> &'d [T] {
    &all[range.start as usize..range.end as usize]
}

/// As much of a client's name as a sentence bears.
fn short(name: &str) -> String {
    name.chars().take(60).collect()
}
