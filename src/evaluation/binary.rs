//! Scores against yes-or-no labels.
//!
//! A threshold `t` calls a video positive when its score is at least `t`. Ties are honest: scores that are equal are on one
//! side of every threshold, and count half in the AUC.

/// A threshold and what comes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Scores from here on are positive. Infinite: nothing is called positive.
    pub at: f64,
    /// Share of the positives that are called so.
    pub recall: f64,
    /// Share of what is called positive that is so.
    pub precision: f64,
    /// Share of all that is called rightly.
    pub accuracy: f64,
}

/// Scores with what is true, sorted by falling score, and every threshold that tells them apart.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Score, and whether it is a positive; by falling score.
    scores: Vec<(f64, bool)>,
    positives: usize,
}

impl Scored {
    /// From scores (0 to 1, or any other finite numbers) and what is true.
    pub fn new(scores: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut scores: Vec<(f64, bool)> = scores.into_iter().collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = scores.iter().filter(|(_, positive)| *positive).count();
        Scored { scores, positives }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are positive.
    pub fn positives(&self) -> usize {
        self.positives
    }

    fn negatives(&self) -> usize {
        self.len() - self.positives
    }

    /// Which kind of label is missing, in words: without both nothing can be told apart.
    pub fn missing(&self) -> Option<&'static str> {
        match (self.positives, self.negatives()) {
            (0, 0) => Some("no label has a score"),
            (0, _) => Some("no positive label"),
            (_, 0) => Some("no negative label"),
            _ => None,
        }
    }

    /// The area under the receiver operating characteristic: the chance that a positive scores above a negative, a tie
    /// counting half (Mann and Whitney's U, scaled). `None` without both.
    pub fn auc(&self) -> Option<f64> {
        let pairs = self.positives * self.negatives();
        if pairs == 0 {
            return None;
        }
        let mut above = 0; // positives with a higher score
        let mut won = 0.0;
        for tie in self.ties() {
            let positives = tie.iter().filter(|(_, positive)| *positive).count();
            let negatives = tie.len() - positives;
            won += negatives as f64 * (above as f64 + positives as f64 / 2.0);
            above += positives;
        }
        Some(won / pairs as f64)
    }

    /// Average precision: the precision at each threshold, weighted by the recall that it adds. `None` without positives.
    pub fn average_precision(&self) -> Option<f64> {
        if self.positives == 0 {
            return None;
        }
        let mut before = 0.0;
        let mut sum = 0.0;
        for threshold in self.thresholds() {
            sum += (threshold.recall - before) * threshold.precision;
            before = threshold.recall;
        }
        Some(sum)
    }

    /// What comes of the threshold `at`; a precision without anything called positive is 1.
    pub fn at(&self, at: f64) -> Threshold {
        let called = self.scores.partition_point(|(score, _)| *score >= at);
        let right = self.scores[..called]
            .iter()
            .filter(|(_, positive)| *positive)
            .count();
        self.outcome(at, called, right)
    }

    /// The threshold of the best accuracy, the highest of several; an infinite one if it is best to call nothing positive.
    /// `None` without both kinds of labels, where the best is no threshold's merit.
    pub fn best(&self) -> Option<Threshold> {
        if self.missing().is_some() {
            return None;
        }
        let better = |best: Threshold, next: Threshold| {
            if next.accuracy > best.accuracy {
                next
            } else {
                best
            }
        };
        Some(self.thresholds().fold(self.at(f64::INFINITY), better))
    }

    /// The threshold of the largest recall whose precision is at least `wanted`; the highest of several.
    pub fn for_precision(&self, wanted: f64) -> Option<Threshold> {
        self.thresholds()
            .filter(|threshold| threshold.precision >= wanted && threshold.recall > 0.0)
            .reduce(|best, next| {
                if next.recall > best.recall {
                    next
                } else {
                    best
                }
            })
    }

    /// The highest threshold whose recall is at least `wanted`: the best precision that this recall allows at one end, and
    /// so what a user would set.
    pub fn for_recall(&self, wanted: f64) -> Option<Threshold> {
        if self.positives == 0 {
            return None;
        }
        self.thresholds()
            .find(|threshold| threshold.recall >= wanted)
    }

    /// Every threshold that tells the scores apart, the highest first: each different score.
    fn thresholds(&self) -> impl Iterator<Item = Threshold> + '_ {
        let (mut called, mut right) = (0, 0);
        self.ties().map(move |tie| {
            called += tie.len();
            right += tie.iter().filter(|(_, positive)| *positive).count();
            self.outcome(tie[0].0, called, right)
        })
    }

    /// Runs of equal scores, the highest first.
    fn ties(&self) -> impl Iterator<Item = &[(f64, bool)]> {
        self.scores.chunk_by(|a, b| a.0 == b.0)
    }

    fn outcome(&self, at: f64, called: usize, right: usize) -> Threshold {
        let share = |part: usize, of: usize, none: f64| {
            if of == 0 {
                none
            } else {
                part as f64 / of as f64
            }
        };
        let rejected_rightly = self.negatives() - (called - right);
        Threshold {
            at,
            recall: share(right, self.positives, 0.0),
            precision: share(right, called, 1.0),
            accuracy: share(right + rejected_rightly, self.len(), 0.0),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }

    /// 0.9+ 0.8+ 0.7- 0.6+ 0.2-: of six pairs, five are in order.
    fn five() -> Scored {
        Scored::new([
            (0.2, false),
            (0.9, true),
            (0.7, false),
            (0.8, true),
            (0.6, true),
        ])
    }

    #[test]
    fn five_by_hand() {
        let scored = five();
        assert_eq!((scored.len(), scored.positives()), (5, 3));
        close(scored.auc().unwrap(), 5.0 / 6.0);
        // Precision 1 at recall 1/3, 1 at 2/3, 3/4 at 1.
        close(
            scored.average_precision().unwrap(),
            (1.0 + 1.0 + 0.75) / 3.0,
        );
        let half = scored.at(0.5);
        close(half.accuracy, 0.8);
        close(half.precision, 0.75);
        close(half.recall, 1.0);
        // 0.8 and 0.6 both judge four of five rightly: the higher one is told.
        let best = scored.best().unwrap();
        assert_eq!(best.at, 0.8);
        close(best.accuracy, 0.8);
        let sure = scored.for_precision(0.95).unwrap();
        assert_eq!((sure.at, sure.precision), (0.8, 1.0));
        close(sure.recall, 2.0 / 3.0);
        let most = scored.for_recall(0.9).unwrap();
        assert_eq!((most.at, most.recall, most.precision), (0.6, 1.0, 0.75));
        assert!(
            Scored::new([(0.9, false), (0.1, true)])
                .for_precision(0.6)
                .is_none()
        );
    }

    #[test]
    fn ties_are_on_one_side_and_count_half() {
        let all_the_same = Scored::new([(0.5, true), (0.5, false), (0.5, false)]);
        close(all_the_same.auc().unwrap(), 0.5);
        close(all_the_same.average_precision().unwrap(), 1.0 / 3.0);
        let best = all_the_same.for_recall(0.1).unwrap();
        close(best.precision, 1.0 / 3.0);
        // Two pairs won, one tied, one lost.
        let mixed = Scored::new([(0.9, true), (0.4, true), (0.4, false), (0.6, false)]);
        close(mixed.auc().unwrap(), 2.5 / 4.0);
    }

    #[test]
    fn one_kind_alone_has_no_auc() {
        let good = Scored::new([(0.1, false), (0.2, false)]);
        assert_eq!((good.auc(), good.average_precision()), (None, None));
        assert_eq!(good.for_recall(0.5), None);
        close(good.at(0.5).accuracy, 1.0);
        let bad = Scored::new([(0.1, true)]);
        assert_eq!((bad.auc(), bad.best()), (None, None));
        close(bad.average_precision().unwrap(), 1.0);
        assert_eq!(good.missing(), Some("no positive label"));
        assert_eq!(bad.missing(), Some("no negative label"));
        let none = Scored::new([]);
        assert_eq!((none.auc(), none.best()), (None, None));
    }

    #[test]
    fn it_may_be_best_to_call_nothing_positive() {
        let upside_down = Scored::new([(0.4, false), (0.1, true), (0.3, false), (0.2, false)]);
        let best = upside_down.best().unwrap();
        assert_eq!((best.at, best.recall), (f64::INFINITY, 0.0));
        close(best.accuracy, 0.75);
    }

    proptest! {
        /// The AUC is what counting all pairs says, whatever the ties.
        #[test]
        fn the_auc_counts_pairs(scores in prop::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let scored = Scored::new(scores.iter().map(|(s, p)| (f64::from(*s), *p)));
            let (mut won, mut pairs) = (0.0, 0.0);
            for (a, _) in scores.iter().filter(|(_, positive)| *positive) {
                for (b, _) in scores.iter().filter(|(_, positive)| !*positive) {
                    pairs += 1.0;
                    won += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
            match scored.auc() {
                None => prop_assert_eq!(pairs, 0.0),
                Some(auc) => prop_assert!((auc - won / pairs).abs() < 1e-9),
            }
        }

        /// No threshold is more accurate than the best one.
        #[test]
        fn the_best_is_the_best(scores in prop::collection::vec((0u8..6, any::<bool>()), 1..40)) {
            let scored = Scored::new(scores.iter().map(|(s, p)| (f64::from(*s), *p)));
            if let Some(best) = scored.best() {
                for at in 0..=6 {
                    prop_assert!(scored.at(f64::from(at)).accuracy <= best.accuracy);
                }
                prop_assert_eq!(scored.at(best.at), best);
            }
        }

        /// No other threshold reaches more recall at the wanted precision.
        #[test]
        fn the_threshold_for_a_precision_is_the_best(
            scores in prop::collection::vec((0u8..6, any::<bool>()), 1..40),
            wanted in 0.0f64..1.0,
        ) {
            let scored = Scored::new(scores.iter().map(|(s, p)| (f64::from(*s), *p)));
            let reached = scored.for_precision(wanted).map_or(0.0, |t| t.recall);
            for at in 0..6 {
                let other = scored.at(f64::from(at));
                prop_assert!(other.precision < wanted || other.recall <= reached);
            }
        }
    }
}
