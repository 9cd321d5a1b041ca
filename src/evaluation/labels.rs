//! Labels: what is true of a video, one JSON object a line.

use serde_json::{Map, Value as Json};

/// The task whose labels are boxes.
pub const REGIONS: &str = "regions";

/// A rectangle: left, upper, right and lower edge as shares of the frame, 0 to 1.
pub type Rect = [f64; 4];

/// One line of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Line in the file, from 1.
    pub line: usize,
    /// The video: its id, path or file name.
    pub file: String,
    /// What was asked.
    pub task: String,
    /// What kind of defect it is, where the labels say so.
    pub kind: Option<String>,
    /// What is true.
    pub truth: Truth,
}

/// What is true of a video.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Whether it has the defect.
    Binary(bool),
    /// What spoils its frame, and what of it is clean (`None`: the labels leave it to be computed from the boxes).
    Regions {
        /// The regions.
        boxes: Vec<LabelBox>,
        /// The largest clean rectangle.
        safe_crop: Option<Rect>,
    },
}

/// One labelled region.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelBox {
    /// `border`, `logo`, `subtitle`, `watermark` …
    pub class: String,
    /// Where it is.
    pub rect: Rect,
}

/// Reads labels; blank lines are passed over.
///
/// # Errors
/// The number of the first bad line and what is wrong with it.
pub fn read(text: &str) -> Result<Vec<Label>, (usize, String)> {
    let mut labels: Vec<Label> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            let line_number = index + 1;
            labels.push(label(line_number, line).map_err(|error| (line_number, error))?);
        }
    }
    Ok(labels)
}

fn label(line: usize, text: &str) -> Result<Label, String> {
    let object: Map<String, Json> =
        serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
    let word = |key: &str| match object.get(key) {
        Some(Json::String(word)) if !word.is_empty() => Ok(word.clone()),
        Some(other) => Err(format!("`{key}`: found {other}, allowed: a text")),
        None => Err(format!("`{key}` is missing")),
    };
    let task = word("task")?;
    let truth = if task == REGIONS {
        regions(&object)?
    } else {
        Truth::Binary(match object.get("label") {
            Some(Json::Bool(label)) => *label,
            Some(number) if number.as_f64() == Some(0.0) => false,
            Some(number) if number.as_f64() == Some(1.0) => true,
            Some(other) => return Err(format!("`label`: found {other}, allowed: 0 or 1")),
            None => return Err("`label` is missing, allowed: 0 or 1".to_string()),
        })
    };
    Ok(Label {
        line,
        file: word("file")?,
        task,
        kind: object
            .contains_key("kind")
            .then(|| word("kind"))
            .transpose()?,
        truth,
    })
}

fn regions(object: &Map<String, Json>) -> Result<Truth, String> {
    let Some(boxes) = object.get("boxes").and_then(Json::as_array) else {
        return Err("`boxes` is missing or no list; a clean video has `[]`".to_string());
    };
    let boxes = boxes
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let class = entry.get("class").and_then(Json::as_str);
            Ok(LabelBox {
                class: class
                    .ok_or_else(|| format!("`boxes[{index}].class` is missing or no text"))?
                    .to_string(),
                rect: rect(entry.get("box"))
                    .map_err(|error| format!("`boxes[{index}].box`: {error}"))?,
            })
        })
        .collect::<Result<_, String>>()?;
    let safe_crop = match object.get("safe_crop") {
        None | Some(Json::Null) => None,
        some => Some(rect(some).map_err(|error| format!("`safe_crop`: {error}"))?),
    };
    Ok(Truth::Regions { boxes, safe_crop })
}

fn rect(value: Option<&Json>) -> Result<Rect, String> {
    let allowed = "allowed: [left, upper, right, lower] as shares of the frame, 0 to 1";
    let Some(value) = value else {
        return Err(format!("found nothing, {allowed}"));
    };
    let edges: Option<Vec<f64>> = value
        .as_array()
        .and_then(|edges| edges.iter().map(Json::as_f64).collect());
    match edges.as_deref() {
        Some(&[x0, y0, x1, y1])
            if x0 < x1
                && y0 < y1
                && [x0, y0, x1, y1]
                    .iter()
                    .all(|e| (-1e-6..=1.0 + 1e-6).contains(e)) =>
        {
            Ok([x0, y0, x1, y1].map(|edge| edge.clamp(0.0, 1.0)))
        }
        _ => Err(format!("found {value}, {allowed}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let text = r#"{"file": "a.mp4", "task": "vfx", "label": 1, "kind": "glitch"}

{"file": "b.mp4", "task": "regions", "boxes": [{"class": "logo", "box": [0, 0.1, 0.2, 0.3]}], "safe_crop": null}
{"file": "c.mp4", "task": "regions", "boxes": [], "safe_crop": [0, 0, 1, 1]}"#;
        let labels = read(text).unwrap();
        assert_eq!(labels.len(), 3);
        assert_eq!(labels[0].truth, Truth::Binary(true));
        assert_eq!(labels[0].kind.as_deref(), Some("glitch"));
        assert_eq!(labels[1].line, 3);
        assert_eq!(
            labels[1].truth,
            Truth::Regions {
                boxes: vec![LabelBox {
                    class: "logo".to_string(),
                    rect: [0.0, 0.1, 0.2, 0.3]
                }],
                safe_crop: None
            }
        );
        assert_eq!(
            labels[2].truth,
            Truth::Regions {
                boxes: vec![],
                safe_crop: Some([0.0, 0.0, 1.0, 1.0])
            }
        );
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_field() {
        let cases = [
            ("[]", "not a JSON object"),
            (r#"{"task": "vfx", "label": 1}"#, "`file` is missing"),
            (r#"{"file": "a", "label": 1}"#, "`task` is missing"),
            (r#"{"file": "a", "task": "vfx"}"#, "`label` is missing"),
            (
                r#"{"file": "a", "task": "vfx", "label": 2}"#,
                "`label`: found 2, allowed: 0 or 1",
            ),
            (r#"{"file": "a", "task": "regions"}"#, "`boxes` is missing"),
            (
                r#"{"file": "a", "task": "regions", "boxes": [{"class": "logo", "box": [0, 0, 20, 30]}]}"#,
                "`boxes[0].box`: found [0,0,20,30], allowed: [left",
            ),
            (
                r#"{"file": "a", "task": "regions", "boxes": [{"box": [0, 0, 1, 1]}]}"#,
                "`boxes[0].class` is missing",
            ),
            (
                r#"{"file": "a", "task": "regions", "boxes": [], "safe_crop": [0.5, 0, 0.5, 1]}"#,
                "`safe_crop`: found",
            ),
        ];
        for (line, expected) in cases {
            let (number, message) = read(&format!("\n{line}\n")).unwrap_err();
            assert_eq!(number, 2);
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
