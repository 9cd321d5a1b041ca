//! How well scores put one kind before another.

/// The probability that a positive scores above a negative, ties counted half (the area under the ROC curve); `None`
/// without both.
pub fn auc(positives: &[f32], negatives: &[f32]) -> Option<f64> {
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let mut sorted = negatives.to_vec();
    sorted.sort_by(f32::total_cmp);
    let beaten: usize = positives
        .iter()
        .map(|score| {
            // Twice the count, so that a tie is one.
            sorted.partition_point(|other| other < score)
                + sorted.partition_point(|other| other <= score)
        })
        .sum();
    Some(beaten as f64 / 2.0 / (positives.len() * negatives.len()) as f64)
}

/// The mean precision over the positives when all are ranked by score, of equal scores the negatives first; `None`
/// without positives.
pub fn average_precision(positives: &[f32], negatives: &[f32]) -> Option<f64> {
    if positives.is_empty() {
        return None;
    }
    let mut ranked: Vec<(f32, bool)> = positives.iter().map(|&score| (score, true)).collect();
    ranked.extend(negatives.iter().map(|&score| (score, false)));
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (mut found, mut sum) = (0usize, 0.0);
    for (place, (_, positive)) in ranked.iter().enumerate() {
        if *positive {
            found += 1;
            sum += found as f64 / (place + 1) as f64;
        }
    }
    Some(sum / positives.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rankings_by_hand() {
        assert_eq!(auc(&[0.9, 0.8], &[0.1, 0.2]), Some(1.0));
        assert_eq!(auc(&[0.1], &[0.9]), Some(0.0));
        assert_eq!(auc(&[0.5, 0.5], &[0.5]), Some(0.5));
        assert_eq!(auc(&[0.7, 0.3], &[0.5, 0.1]), Some(0.75));
        assert_eq!(auc(&[], &[0.5]), None);
        assert_eq!(
            average_precision(&[0.9, 0.3], &[0.5]),
            Some((1.0 + 2.0 / 3.0) / 2.0)
        );
        assert_eq!(average_precision(&[0.5], &[0.5]), Some(0.5));
        assert_eq!(average_precision(&[], &[0.5]), None);
    }
}
