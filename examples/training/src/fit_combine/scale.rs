//! The scales of a rule's inputs.

use clipsieve_operators::rule::Scale;

/// A signal's scale has so many points, evenly spaced by the log-odds of their rank …
const POINTS: usize = 37;
/// … up to these on either side: a rank of 1 in 460.
const MOST_LOG_ODDS: f64 = 6.13;
/// Shares of the order beyond which a network's word counts as that there.
const HELD: (f64, f64) = (0.01, 0.99);

/// A scale on which every signal is spread alike: a value stands for the log-odds of its rank among these, brought to mean
/// 0 and deviation 1. Signals of every unit and skewness are told apart at their ends as well as in their middle, and no
/// far value has more say than its rank. What is not finite is passed over.
pub fn by_rank(values: impl Iterator<Item = f64> + Clone) -> Scale {
    let sorted = sorted(values.clone());
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(POINTS);
    let mut alike = 0.0;
    for point in 0..POINTS {
        let log_odds = MOST_LOG_ODDS * (2.0 * point as f64 / (POINTS - 1) as f64 - 1.0);
        let value = at(&sorted, 1.0 / (1.0 + (-log_odds).exp()));
        match points.last_mut().filter(|(last, _)| *last == value) {
            // Where many values are the same, they stand for the middle of their ranks.
            Some((_, mean)) => {
                alike += 1.0;
                *mean += (log_odds - *mean) / alike;
            }
            None => {
                alike = 1.0;
                points.push((value, log_odds));
            }
        }
    }
    let of = Scale(points);
    let count = sorted.len().max(1) as f64;
    let read = || sorted.iter().map(|value| of.read(*value));
    let mean = read().sum::<f64>() / count;
    let variance = read()
        .map(|log_odds| (log_odds - mean).powi(2))
        .sum::<f64>()
        / count;
    let deviation = variance.sqrt().max(1e-6);
    let standard = |log_odds: f64| six_digits((log_odds - mean) / deviation);
    Scale(
        of.0.iter()
            .map(|(value, log_odds)| (*value, standard(*log_odds)))
            .collect(),
    )
}

/// A scale that leaves values as they are but for the ends of their order.
pub fn held(values: impl Iterator<Item = f64>) -> Scale {
    let sorted = sorted(values);
    let mut ends = vec![at(&sorted, HELD.0), at(&sorted, HELD.1)];
    ends.dedup();
    Scale(ends.into_iter().map(|end| (end, end)).collect())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The value at this share of the order, 0 of none.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().map_or(0.0, six_digits)
}

/// Rounded to six digits that count.
fn six_digits(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_for_their_rank_whatever_their_spread() {
        let even = by_rank((0..=1000).map(f64::from));
        let skewed = by_rank((0..=1000).map(|k| (f64::from(k) / 100.0).exp()));
        for k in [3.0f64, 40.0, 250.0, 500.0, 990.0] {
            let (a, b) = (even.read(k), skewed.read((k / 100.0).exp()));
            assert!((a - b).abs() < 0.1, "{k}: {a} {b}");
        }
        assert!(even.read(500.0).abs() < 0.02 && even.read(1e9) == even.read(999.0));
        assert!(even.0.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }

    #[test]
    fn values_that_are_the_same_stand_for_the_middle_of_their_ranks() {
        let scale = by_rank((0..1000).map(|k| f64::from(k.max(700))));
        let rising = by_rank((0..1000).map(f64::from));
        assert!(scale.0[0].0 == 700.0 && scale.read(0.0) == scale.read(700.0));
        assert!(scale.read(999.0) > 1.5 && rising.read(700.0) > 0.0);
        assert!(by_rank([f64::NAN].into_iter()).read(3.0).is_finite());
        assert_eq!(held([2.0; 9].into_iter()).read(5.0), 2.0);
    }
}
