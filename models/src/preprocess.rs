//! How frames are prepared for a classifier: the geometry that samplers follow and the colour that the model applies.
//!
//! The rule comes from, in this order: our own `preprocess` object in `config.json`; Hugging Face's
//! `video_preprocessor_config.json` or `preprocessor_config.json` beside it; the V-JEPA 2 processor's defaults. As that
//! processor does, whatever `size` its file has, frames are resized to `floor(crop_size * 256 / 224)`; `resize_short` of our
//! own object is the way to say otherwise.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::fields::{Fields, Problems, as_int, read_object, shown};

/// ImageNet's channel means, in 0..1.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel deviations, in 0..1.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Hugging Face's files that hold a preprocessing rule, the first found counts.
const FILES: [&str; 2] = ["video_preprocessor_config.json", "preprocessor_config.json"];
/// The fields of our own rule.
const OWN_FIELDS: [&str; 5] = ["frames", "size", "resize_short", "mean", "std"];
/// The most frames that a clip may have.
pub const MAX_FRAMES: usize = 1024;
/// The largest side of a frame, in pixels.
pub(crate) const MAX_SIDE_PX: i64 = 4096;
/// Pillow's number for bilinear.
const PIL_BILINEAR: i64 = 2;

/// What a classifier's clips must look like.
///
/// A frame's shorter side is scaled to `resize_short` (bilinear with antialias, the other side floored), then the
/// centre `size` x `size` is cut out. The model itself does `(x / 255 - mean) / std`.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// Frames of a clip.
    pub frames: usize,
    /// Width and height of a frame, in pixels.
    pub size: usize,
    /// The shorter side before the crop, in pixels; at least `size`.
    pub resize_short: usize,
    /// Channel means (red, green, blue), in 0..1.
    pub mean: [f32; 3],
    /// Channel deviations (red, green, blue), in 0..1.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The V-JEPA 2 processor's rule for this crop: a shorter side of `floor(crop * 256 / 224)` and ImageNet's colours.
    pub fn standard(frames: usize, size: usize) -> Self {
        Preprocess {
            frames,
            size,
            resize_short: size * 256 / 224,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }

    /// Reads the rule of the model in `dir`, whose `config.json` is `own` and asks for this many frames of this size.
    pub(crate) fn read(dir: &Path, own: &Fields<'_>, frames: i64, size: i64) -> Result<Self> {
        let mut rule = Self::standard(frames as usize, size as usize);
        if let Some(file) = FILES
            .iter()
            .map(|name| dir.join(name))
            .find(|file| file.exists())
        {
            let problems = Problems::default();
            rule.apply_hugging_face(&read_object(&file)?, &problems);
            problems.finish(&file)?;
        }
        if let Some(map) = own.object("preprocess") {
            rule.apply_own(&own.nested("preprocess.", map));
        }
        if rule.size as i64 != size {
            let problem = format!(
                "found a crop of {} px (here or in the preprocessor file beside it), allowed: {size}, the crop_size that \
                 the positions are made for",
                rule.size
            );
            own.note("preprocess.size", problem);
        }
        if rule.resize_short < rule.size {
            let problem = format!(
                "found {}, allowed: at least the crop of {}",
                rule.resize_short, rule.size
            );
            own.note("preprocess.resize_short", problem);
        }
        Ok(rule)
    }

    fn apply_own(&mut self, fields: &Fields<'_>) {
        fields.refuse_unknown(&OWN_FIELDS);
        self.frames = fields.int("frames", self.frames as i64, 1..=MAX_FRAMES as i64) as usize;
        self.size = fields.int("size", self.size as i64, 1..=MAX_SIDE_PX) as usize;
        // The default follows the rule so far, not the size: both are written where both are meant.
        self.resize_short =
            fields.int("resize_short", self.resize_short as i64, 1..=MAX_SIDE_PX) as usize;
        self.apply_colour(fields, "mean", "std");
    }

    fn apply_colour(&mut self, fields: &Fields<'_>, mean: &str, std: &str) {
        let unit = |n: f64| (-1.0..=1.0).contains(&n);
        self.mean = fields.triple(mean, self.mean, unit, "three numbers from -1 to 1");
        let above = |n: f64| n > 1e-4 && n <= 1e4;
        self.std = fields.triple(std, self.std, above, "three numbers above 0");
    }

    fn apply_hugging_face(&mut self, map: &Map<String, Value>, problems: &Problems) {
        let fields = Fields::new("", map, problems);
        if let Some(side) = side(&fields, "crop_size") {
            self.size = side;
            self.resize_short = side * 256 / 224;
        }
        self.apply_colour(&fields, "image_mean", "image_std");
        if !fields.boolean("do_normalize", true) {
            (self.mean, self.std) = ([0.0; 3], [1.0; 3]);
        }
        let close = |n: f64| (n * 255.0 - 1.0).abs() < 1e-3;
        fields.number("rescale_factor", 1.0 / 255.0, close, "1/255");
        fields.int("resample", PIL_BILINEAR, PIL_BILINEAR..=PIL_BILINEAR);
        for step in ["do_rescale", "do_center_crop", "do_resize"] {
            if !fields.boolean(step, true) {
                fields.note(step, "found false, allowed: true");
            }
        }
    }
}

/// A square size: `n`, `{"shortest_edge": n}` or `{"height": n, "width": n}`.
fn side(fields: &Fields<'_>, name: &str) -> Option<usize> {
    const ALLOWED: &str =
        "n, {\"shortest_edge\": n} or {\"height\": n, \"width\": n} with n from 1 to 4096";
    let value = fields.value(name)?;
    let part = |key: &str| value.get(key).and_then(as_int);
    let found = match value {
        Value::Object(_) => part("shortest_edge")
            .or_else(|| part("height").filter(|height| part("width") == Some(*height))),
        other => as_int(other),
    };
    let found = found.filter(|n| (1..=MAX_SIDE_PX).contains(n));
    if found.is_none() {
        fields.note(name, format!("found {}, allowed: {ALLOWED}", shown(value)));
    }
    found.map(|n| n as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(own: Value, beside: Option<(&str, Value)>) -> Result<Preprocess> {
        let dir = tempfile::tempdir().unwrap();
        if let Some((name, value)) = beside {
            std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        let problems = Problems::default();
        let fields = Fields::new("", own.as_object().unwrap(), &problems);
        let rule = Preprocess::read(dir.path(), &fields, 16, 256)?;
        problems.finish(Path::new("config.json"))?;
        Ok(rule)
    }

    #[test]
    fn the_processor_s_rule_is_the_default() {
        let rule = read(json!({}), None).unwrap();
        assert_eq!((rule.frames, rule.size, rule.resize_short), (16, 256, 292));
        assert_eq!(Preprocess::standard(64, 384).resize_short, 438);
    }

    #[test]
    fn hugging_face_s_file_counts_and_ours_wins() {
        let file = json!({
            "size": {"shortest_edge": 300}, "crop_size": {"height": 256, "width": 256},
            "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "do_normalize": true,
            "rescale_factor": 0.00392156862745098, "resample": 2
        });
        for name in FILES {
            let rule = read(json!({}), Some((name, file.clone()))).unwrap();
            // The processor makes `size` from the crop, whatever the file says.
            assert_eq!((rule.resize_short, rule.mean), (292, [0.1, 0.2, 0.3]));
        }
        let own =
            json!({"preprocess": {"frames": 48, "resize_short": 256, "mean": [0.45, 0.45, 0.45]}});
        let rule = read(own, Some((FILES[0], file))).unwrap();
        assert_eq!((rule.frames, rule.resize_short), (48, 256));
        assert_eq!((rule.mean, rule.std), ([0.45; 3], [0.5; 3]));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let cases = [
            (json!({"crop_size": 224}), "found a crop of 224 px"),
            (
                json!({"crop_size": {"height": 256, "width": 128}}),
                "crop_size: found",
            ),
            (json!({"crop_size": -5}), "crop_size: found -5"),
            (
                json!({"crop_size": {"shortest_edge": 1e300}}),
                "crop_size: found",
            ),
            (json!({"resample": 3}), "resample: found 3"),
            (
                json!({"rescale_factor": 0.5}),
                "rescale_factor: found 0.5, allowed: 1/255",
            ),
            (json!({"image_std": [0.2, 0.0, 0.2]}), "image_std: found"),
            (
                json!({"image_mean": 0.5}),
                "image_mean: found 0.5, allowed: three numbers",
            ),
            (
                json!({"do_center_crop": false}),
                "do_center_crop: found false",
            ),
        ];
        for (file, expected) in cases {
            let message = read(json!({}), Some((FILES[0], file)))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{expected}: {message}");
        }
        let message = read(json!({"preprocess": {"resize_short": 128}}), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("found 128, allowed: at least the crop of 256"),
            "{message}"
        );
        let message = read(json!({"preprocess": {"frmes": 8, "why": 1}}), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(
                "preprocess.frmes: there is no such field; the nearest name is frames (allowed: frames, size, \
                 resize_short, mean, std)"
            ) && message.contains("preprocess.why: there is no such field"),
            "{message}"
        );
        let message = read(json!({"preprocess": 3}), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("preprocess: found 3, allowed: an object"),
            "{message}"
        );
    }
}
