//! Prices as programs: what a document costs is compiled once and computed for each request from its variables.
//!
//! A price is a fixed number plus, where it depends on variables, the value of a step. Steps lie in one list, each after
//! the steps it reads, so that one loop over the list computes them all. Fragments are shared: a fragment spread a
//! thousand times is computed once. Arithmetic saturates.

use std::collections::HashMap;

use portolan_exchange::value::{Map, Value};

/// How many items a list will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

impl Size {
    /// From the digits of an integer literal. Below zero is zero; what does not fit is as large as can be.
    pub(crate) fn of_literal(digits: &str) -> Size {
        if digits.starts_with('-') { Size(0) } else { Size(digits.parse().unwrap_or(u64::MAX)) }
    }

    /// From a variable's value, if it is a number: `20.0` is 20 (specification, section 3.5.1), and so is `"20"`, which
    /// some servers take.
    fn of_value(value: &Value) -> Option<Size> {
        let number = match value {
            Value::I64(number) => return Some(Size(u64::try_from(*number).unwrap_or(0))),
            Value::U64(number) => return Some(Size(*number)),
            Value::F64(number) => *number,
            Value::Number(number) => number.to_string().parse().ok()?,
            Value::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Some(Size(number.ceil() as u64)) // the cast saturates, and takes what is below zero to zero
    }
}

/// A variable that prices depend on, by its place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VariableId(u32);

/// A price: `fixed` plus the value of a step, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    fixed: u64,
    step: Option<u32>,
}

impl Price {
    /// A price that depends on nothing.
    pub(crate) fn fixed(fixed: u64) -> Price {
        Price { fixed, step: None }
    }
}

/// One argument's say in a size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SizeSource {
    /// Written in the document, or the schema's default for an argument left out.
    Known(Size),
    /// A variable, and the schema's default, which holds when the variable is left out too.
    Variable { variable: VariableId, otherwise: Option<Size> },
}

/// A condition of `@skip` or `@include`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) variable: VariableId,
    /// The value with which the selection is part of the answer.
    pub(crate) included_when: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The sum of two steps.
    Add(u32, u32),
    /// A price times a known size.
    Times { size: Size, price: Price },
    /// A price times a size that the variables give; the price counts as one at least, when the size is known.
    Sized { sources: (u32, u32), price: Price, least: Least },
    /// The price, or one if it comes to nothing.
    AtLeastOne(Price),
    /// The price, or nothing.
    When(Condition, Price),
}

/// Whether an item of a list costs one even if nothing is selected from it: the upstream fetches it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    One,
    Nothing,
}

/// The compiled prices of one document.
#[derive(Debug, Default)]
pub(crate) struct Program {
    steps: Vec<Step>,
    sources: Vec<SizeSource>,
    variables: Vec<Box<str>>,
}

/// A variable's value as far as prices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Not given: an argument that names it counts as left out.
    Absent,
    /// Given, but neither a size nor a condition; null among them.
    Other,
    Number(Size),
    Flag(bool),
}

impl Bound {
    fn of_value(value: &Value) -> Bound {
        match value {
            Value::Bool(flag) => Bound::Flag(*flag),
            _ => Size::of_value(value).map_or(Bound::Other, Bound::Number),
        }
    }
}

impl Program {
    /// The bytes it holds on to.
    pub(crate) fn weight(&self) -> usize {
        let names: usize = self.variables.iter().map(|name| name.len() + size_of::<Box<str>>()).sum();
        self.steps.len() * size_of::<Step>() + self.sources.len() * size_of::<SizeSource>() + names
    }

    /// What `price` comes to with these variables, and with the operation's defaults for those left out.
    pub(crate) fn evaluate(&self, price: Price, variables: &Map, defaults: &[(VariableId, Bound)]) -> u64 {
        let Some(last) = price.step else { return price.fixed };
        let mut bound = vec![Bound::Absent; self.variables.len()];
        for (variable, default) in defaults {
            bound[variable.0 as usize] = *default;
        }
        for (name, bound) in self.variables.iter().zip(&mut bound) {
            if let Some(value) = variables.get(name) {
                *bound = Bound::of_value(value);
            }
        }
        let mut values: Vec<u64> = Vec::with_capacity(last as usize + 1);
        for step in &self.steps[..=last as usize] {
            let of = |price: Price| price.fixed.saturating_add(price.step.map_or(0, |step| values[step as usize]));
            let value = match *step {
                Step::Add(left, right) => values[left as usize].saturating_add(values[right as usize]),
                Step::Times { size, price } => size.0.saturating_mul(of(price)),
                Step::Sized { sources, price, least } => match self.size(sources, &bound) {
                    Some(size) if least == Least::One => size.0.saturating_mul(of(price).max(1)),
                    Some(size) => size.0.saturating_mul(of(price)),
                    None => of(price),
                },
                Step::AtLeastOne(price) => of(price).max(1),
                Step::When(condition, price) => match bound[condition.variable.0 as usize] {
                    Bound::Flag(flag) if flag != condition.included_when => 0,
                    _ => of(price),
                },
            };
            values.push(value);
        }
        price.fixed.saturating_add(values[last as usize])
    }

    /// The largest size any source names.
    fn size(&self, (start, end): (u32, u32), bound: &[Bound]) -> Option<Size> {
        let known = |source: &SizeSource| match *source {
            SizeSource::Known(size) => Some(size),
            SizeSource::Variable { variable, otherwise } => match bound[variable.0 as usize] {
                Bound::Number(size) => Some(size),
                Bound::Absent => otherwise,
                Bound::Other | Bound::Flag(_) => None,
            },
        };
        self.sources[start as usize..end as usize].iter().filter_map(known).max()
    }
}

/// Builds a program while the analysis goes through a document.
#[derive(Debug, Default)]
pub(crate) struct Compiler<'a> {
    program: Program,
    names: HashMap<&'a str, VariableId>,
}

impl<'a> Compiler<'a> {
    /// The finished program.
    pub(crate) fn finish(self) -> Program {
        self.program
    }

    /// The id of a variable, the same for the same name.
    pub(crate) fn variable(&mut self, name: &'a str) -> VariableId {
        *self.names.entry(name).or_insert_with(|| {
            self.program.variables.push(name.into());
            VariableId(self.program.variables.len() as u32 - 1)
        })
    }

    /// The id of a variable that some price reads.
    pub(crate) fn known(&self, name: &str) -> Option<VariableId> {
        self.names.get(name).copied()
    }

    /// The sum of two prices.
    pub(crate) fn add(&mut self, left: Price, right: Price) -> Price {
        let step = match (left.step, right.step) {
            (Some(left), Some(right)) => Some(self.push(Step::Add(left, right))),
            (left, right) => left.or(right),
        };
        Price { fixed: left.fixed.saturating_add(right.fixed), step }
    }

    /// A price for each item of a list: times the largest of the sizes, times one if none is known.
    pub(crate) fn times(&mut self, sources: &[SizeSource], price: Price, least: Least) -> Price {
        let mut known = None;
        for source in sources {
            match source {
                SizeSource::Known(size) => known = known.max(Some(*size)),
                SizeSource::Variable { .. } => {
                    let start = self.program.sources.len() as u32;
                    self.program.sources.extend_from_slice(sources);
                    let sources = (start, self.program.sources.len() as u32);
                    return Price { fixed: 0, step: Some(self.push(Step::Sized { sources, price, least })) };
                }
            }
        }
        let Some(size) = known else { return price };
        let price = if least == Least::One { self.at_least_one(price) } else { price };
        match price.step {
            None => Price::fixed(size.0.saturating_mul(price.fixed)),
            Some(_) => Price { fixed: 0, step: Some(self.push(Step::Times { size, price })) },
        }
    }

    /// The price, or one if it comes to nothing.
    pub(crate) fn at_least_one(&mut self, price: Price) -> Price {
        match price.step {
            None => Price::fixed(price.fixed.max(1)),
            Some(_) if price.fixed > 0 => price,
            Some(_) => Price { fixed: 0, step: Some(self.push(Step::AtLeastOne(price))) },
        }
    }

    /// The price if the condition holds, else nothing.
    pub(crate) fn when(&mut self, condition: Condition, price: Price) -> Price {
        if price == Price::default() {
            return price;
        }
        Price { fixed: 0, step: Some(self.push(Step::When(condition, price))) }
    }

    fn push(&mut self, step: Step) -> u32 {
        self.program.steps.push(step);
        self.program.steps.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use portolan_exchange::value::Type;
    use portolan_exchange::value::json::{DecodeLimits, decode};

    use super::*;

    fn value(json: &str) -> Value {
        decode(json.as_bytes(), &Type::Any, DecodeLimits::default()).unwrap()
    }

    #[test]
    fn sizes_are_read_from_numbers_of_every_shape() {
        let cases = [("0", 0), ("-5", 0), ("17", 17), ("99999999999999999999", u64::MAX)];
        for (digits, size) in cases {
            assert_eq!(Size::of_literal(digits), Size(size), "{digits}");
        }
        let cases = [
            ("3", Some(3)),
            ("-3", Some(0)),
            ("2.0", Some(2)),
            ("18446744073709551615", Some(u64::MAX)),
            ("99999999999999999999", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("1e400", Some(u64::MAX)),
            ("\"3\"", Some(3)),
            ("\"three\"", None),
            ("[3]", None),
        ];
        for (json, size) in cases {
            assert_eq!(Size::of_value(&value(json)), size.map(Size), "{json}");
        }
    }

    #[test]
    fn a_price_without_variables_is_folded_to_a_number() {
        let mut compiler = Compiler::default();
        let inner = compiler.add(Price::fixed(1), Price::fixed(1));
        let list = compiler.times(&[SizeSource::Known(Size(20)), SizeSource::Known(Size(5))], inner, Least::One);
        assert_eq!(compiler.add(Price::fixed(10), list), Price::fixed(50));
        assert!(compiler.finish().steps.is_empty());
    }

    #[test]
    fn the_largest_size_counts_and_a_missing_one_counts_once() {
        let mut compiler = Compiler::default();
        let variable = compiler.variable("n");
        let sources = [SizeSource::Known(Size(3)), SizeSource::Variable { variable, otherwise: None }];
        let both = compiler.times(&sources, Price::fixed(2), Least::One);
        let alone = compiler.times(&sources[1..], Price::fixed(2), Least::One);
        let program = compiler.finish();
        let evaluate = |price, variables: &str| program.evaluate(price, value(variables).as_map().unwrap(), &[]);
        assert_eq!(evaluate(both, r#"{ "n": 10 }"#), 20);
        assert_eq!(evaluate(both, r#"{ "n": 1 }"#), 6);
        assert_eq!(evaluate(alone, "{}"), 2);
        assert_eq!(evaluate(alone, r#"{ "n": null }"#), 2);
        assert_eq!(evaluate(alone, r#"{ "n": 0 }"#), 0);
        assert_eq!(evaluate(alone, r#"{ "n": 1e300 }"#), u64::MAX);
    }
}
