//! How good a detector is on frames: average precision by class, recall by kind.

use std::collections::BTreeMap;
use std::fmt::Write;

use clipsieve::evaluation::boxes::{Found, Tally, iou};
use clipsieve::evaluation::labels::LabelBox;
use clipsieve_models::Detector;
use ndarray::ArrayView3;
use serde_json::{Value as Json, json};

use super::design::CLASSES;
use super::samples::Sample;
use crate::error::Error;

/// What validation found.
pub struct Figures {
    /// One a class.
    classes: Vec<Tally>,
    /// Right and all, by class and kind.
    kinds: BTreeMap<(usize, &'static str), (usize, usize)>,
    /// Frames without any overlay, and those of them in which something was found.
    clean: (usize, usize),
}

/// Runs the detector over batches of samples, at the threshold of its configuration.
///
/// # Errors
/// When libtorch refuses (memory).
pub fn figures(detector: &Detector, batches: &[Vec<Sample>]) -> Result<Figures, Error> {
    let mut figures = Figures {
        classes: vec![Tally::default(); CLASSES.len()],
        kinds: BTreeMap::new(),
        clean: (0, 0),
    };
    for samples in batches {
        let views: Vec<ArrayView3<'_, u8>> = samples.iter().map(|s| s.frame.view()).collect();
        for (sample, found) in samples.iter().zip(detector.detect(&views)?) {
            let wide = |rect: [f32; 4]| rect.map(f64::from);
            if sample.targets.is_empty() {
                figures.clean.0 += 1;
                figures.clean.1 += usize::from(!found.is_empty());
            }
            for (class, tally) in figures.classes.iter_mut().enumerate() {
                let name = CLASSES[class].to_owned();
                let found: Vec<Found> = found
                    .iter()
                    .filter(|one| one.class == class)
                    .map(|one| Found {
                        class: name.clone(),
                        rect: wide(one.box_px),
                        score: f64::from(one.score),
                    })
                    .collect();
                let labelled: Vec<(LabelBox, &'static str)> = sample
                    .targets
                    .iter()
                    .zip(&sample.kinds)
                    .filter(|(target, _)| target.class == class)
                    .map(|(target, kind)| {
                        let label = LabelBox {
                            class: name.clone(),
                            rect: wide(target.box_px),
                        };
                        (label, *kind)
                    })
                    .collect();
                for (label, kind) in &labelled {
                    let seen = found.iter().any(|one| iou(one.rect, label.rect) >= 0.5);
                    let of_kind = figures.kinds.entry((class, kind)).or_default();
                    of_kind.0 += usize::from(seen);
                    of_kind.1 += 1;
                }
                let found: Vec<&Found> = found.iter().collect();
                let labelled: Vec<&LabelBox> = labelled.iter().map(|(label, _)| label).collect();
                tally.add(&found, &labelled, false);
            }
        }
    }
    Ok(figures)
}

impl Figures {
    /// For a log.
    pub fn text(&self) -> String {
        let mut text = String::from("validation:");
        let number = |value: Option<f64>| value.unwrap_or(0.0);
        for (name, tally) in CLASSES.iter().zip(&self.classes) {
            let _ = write!(
                text,
                " {name} AP {:.3} recall {:.3} precision {:.3};",
                number(tally.average_precision()),
                number(tally.recall()),
                number(tally.precision())
            );
        }
        let _ = write!(
            text,
            " {} of {} clean frames with an alarm",
            self.clean.1, self.clean.0
        );
        for ((class, kind), (seen, of)) in &self.kinds {
            let _ = write!(text, "\n  {} {kind}: {seen} of {of}", CLASSES[*class]);
        }
        text
    }

    /// For a file.
    pub fn to_json(&self) -> Json {
        let classes: serde_json::Map<String, Json> = CLASSES
            .iter()
            .zip(&self.classes)
            .enumerate()
            .map(|(class, (name, tally))| {
                let kinds: serde_json::Map<String, Json> = self
                    .kinds
                    .iter()
                    .filter(|((of, _), _)| *of == class)
                    .map(|((_, kind), (seen, of))| {
                        ((*kind).to_owned(), json!({"seen": seen, "of": of}))
                    })
                    .collect();
                let figures = json!({
                    "average_precision": tally.average_precision(),
                    "recall": tally.recall(),
                    "precision": tally.precision(),
                    "kinds": kinds,
                });
                ((*name).to_owned(), figures)
            })
            .collect();
        json!({
            "classes": classes,
            "clean_frames": self.clean.0,
            "clean_frames_with_an_alarm": self.clean.1,
        })
    }
}
