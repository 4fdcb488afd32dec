//! The middle of some figures, and how far they lie apart.

/// The middle value, or the mean of the two around it. There is at least one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// How far the middle half of the values lies apart: the third quartile less the first. One round that a neighbour
/// disturbed moves neither, as it would the highest and the lowest.
pub fn spread(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    quantile(&values, 0.75) - quantile(&values, 0.25)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Between two values it goes in a straight line from one to the other.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([7.0]), 7.0);
    }

    #[test]
    fn a_spread_is_that_of_the_middle_half() {
        assert_eq!(spread([5.0, 1.0, 2.0, 3.0, 4.0]), 2.0);
        assert_eq!(spread([1.0, 2.0, 3.0, 4.0, 1000.0]), 2.0);
        assert_eq!(spread([7.0]), 0.0);
    }
}
