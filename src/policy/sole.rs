//! What may stand in a message once: two readers of two could take one each.

/// What is found of it.
pub(super) enum Sole<T> {
    /// Nothing.
    None,
    /// The one.
    One(T),
    /// More than one, of which none counts.
    Several,
}

impl<T> Sole<T> {
    /// What is found among these.
    pub(super) fn of(values: impl Iterator<Item = T>) -> Self {
        // One loop over all fields, where asking for one value after the other is a call for each.
        match values.fold((None, 0), |(first, count), value| (first.or(Some(value)), count + 1)) {
            (None, _) => Self::None,
            (Some(value), 1) => Self::One(value),
            (Some(_), _) => Self::Several,
        }
    }

    /// The one, made something else.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Sole<U> {
        match self {
            Self::None => Sole::None,
            Self::One(value) => Sole::One(make(value)),
            Self::Several => Sole::Several,
        }
    }

    /// The one, where there is no other.
    pub(super) fn one(self) -> Option<T> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Several => None,
        }
    }
}
