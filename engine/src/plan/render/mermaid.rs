use super::boxes::{Look, Picture};
use super::layout::wrap;

/// Longest line in a box, in characters.
const LINE: usize = 44;

pub(super) fn render(picture: &Picture) -> String {
    let mut out = String::from("flowchart TB\n");
    for (index, node) in picture.nodes.iter().enumerate() {
        let label = label(&node.lines);
        let node = match node.look {
            Look::End => format!("n{index}([\"{label}\"])"),
            _ => format!("n{index}[\"{label}\"]"),
        };
        out.push_str(&format!("  {node}\n"));
    }
    for arrow in &picture.arrows {
        let line = match (arrow.is_off, arrow.is_exchange) {
            (true, _) => "-.->",
            (false, true) => "==>",
            (false, false) => "-->",
        };
        let label = escape(&arrow.label);
        out.push_str(&format!(
            "  n{} {line}|\"{label}\"| n{}\n",
            arrow.from, arrow.to
        ));
    }
    // A title in front matter would have to be YAML; a box beside the graph needs no second escape.
    out.push_str(&format!("  title[\"{}\"]\n", label(&picture.title)));
    out.push_str("  style title fill:none,stroke:none,text-align:left\n");
    for (look, style) in CLASSES {
        let nodes = picture
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.look == *look);
        let ids: Vec<String> = nodes.map(|(index, _)| format!("n{index}")).collect();
        if !ids.is_empty() {
            let name = format!("{look:?}").to_lowercase();
            out.push_str(&format!("  classDef {name}_look {style}\n"));
            out.push_str(&format!("  class {} {name}_look\n", ids.join(",")));
        }
    }
    out
}

const CLASSES: &[(Look, &str)] = &[
    (Look::End, "fill:#eceff1,stroke:#546e7a"),
    (Look::Io, "fill:#e3f2fd,stroke:#1e88e5"),
    (Look::Cpu, "fill:#e8f5e9,stroke:#43a047"),
    (Look::Device, "fill:#fff3e0,stroke:#fb8c00"),
    (
        Look::Off,
        "fill:#fafafa,stroke:#9e9e9e,color:#9e9e9e,stroke-dasharray:4",
    ),
    (Look::Broken, "fill:#ffebee,stroke:#c62828,stroke-width:2px"),
    (
        Look::Missing,
        "fill:none,stroke:#c62828,color:#c62828,stroke-dasharray:4",
    ),
];

fn label(lines: &[String]) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    let lines: Vec<String> = lines
        .flat_map(|line| wrap(line, LINE))
        .map(|line| escape(&line))
        .collect();
    lines.join("<br/>")
}

/// Fit between double quotes, and free of what Mermaid takes for markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '#' => out.push_str("#35;"),
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            '\\' => out.push_str("#92;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        assert_eq!(escape(r##"a"b#<i>`"##), "a#quot;b#35;#lt;i#gt;#96;");
    }
}
