//! Named values in the order they came.

use indexmap::IndexMap;

use super::Value;

/// An ordered map of members. Names are unique; the order is kept and written, but not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map(IndexMap<String, Value>);

impl Map {
    /// A map without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// A map with room for so many members.
    pub fn with_capacity(members: usize) -> Self {
        Self(IndexMap::with_capacity(members))
    }

    /// This map with one more member, or one replaced in its place.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Puts a member at the end, or in the place of the one of this name, which is returned.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// The member of this name; `None` is absent, `Some(Value::Null)` is null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The member of this name, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// Whether a member of this name is present, be it null.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Makes a member absent and returns it; the others keep their order. Takes time in the number of members.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    /// How many members are present.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no member is present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = indexmap::map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    /// Of members with the same name the last one stays, in the place of the first.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        Self(members.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    fn from(members: [(K, V); N]) -> Self {
        members.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_when_one_is_replaced_or_removed() {
        let mut map = Map::new().with("b", 1_i64).with("a", "x").with("c", Value::Null);
        map.insert("b", 2_i64);
        assert_eq!(map.remove("a"), Some(Value::from("x")));
        let members: Vec<_> = map.iter().collect();
        assert_eq!(members, [("b", &Value::I64(2)), ("c", &Value::Null)]);
    }

    #[test]
    fn the_order_is_not_compared() {
        assert_eq!(Map::from([("a", 1_i64), ("b", 2)]), Map::from([("b", 2_i64), ("a", 1)]));
    }
}
