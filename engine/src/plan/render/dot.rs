use super::boxes::{Look, Picture};
use super::layout::wrap;

/// Longest line in a box, in characters.
const LINE: usize = 44;

pub(super) fn render(picture: &Picture) -> String {
    let mut out = String::from("digraph pipeline {\n");
    out.push_str(&format!("  label=\"{}\";\n", label(&picture.title, 100)));
    out.push_str("  labelloc=t; labeljust=l; rankdir=TB; fontname=\"sans-serif\";\n");
    out.push_str(
        "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=11];\n",
    );
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (index, node) in picture.nodes.iter().enumerate() {
        let label = label(&node.lines, LINE);
        out.push_str(&format!(
            "  n{index} [label=\"{label}\", {}];\n",
            style(node.look)
        ));
    }
    for arrow in &picture.arrows {
        let style = match (arrow.is_off, arrow.is_exchange) {
            (true, _) => ", style=dashed, color=\"#9e9e9e\", fontcolor=\"#9e9e9e\"",
            (false, true) => ", style=bold",
            (false, false) => "",
        };
        let label = escape(&arrow.label);
        out.push_str(&format!(
            "  n{} -> n{} [label=\"{label}\"{style}];\n",
            arrow.from, arrow.to
        ));
    }
    out.push_str("}\n");
    out
}

fn style(look: Look) -> &'static str {
    match look {
        Look::End => "shape=cds, fillcolor=\"#eceff1\"",
        Look::Io => "fillcolor=\"#e3f2fd\"",
        Look::Cpu => "fillcolor=\"#e8f5e9\"",
        Look::Device => "fillcolor=\"#fff3e0\"",
        Look::Off => "style=\"rounded,dashed\", color=\"#9e9e9e\", fontcolor=\"#9e9e9e\"",
        Look::Broken => "color=\"#c62828\", penwidth=2, fillcolor=\"#ffebee\"",
        Look::Missing => "style=\"rounded,dashed\", color=\"#c62828\", fontcolor=\"#c62828\"",
    }
}

/// Lines, wrapped, each ended by the escape that keeps it at the left.
fn label(lines: &[String], width: usize) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    let lines = lines.flat_map(|line| wrap(line, width));
    lines.map(|line| escape(&line) + "\\l").collect()
}

/// Fit between double quotes. Backslashes are escapes of labels.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        assert_eq!(escape(r#"a"b\"#), r#"a\"b\\"#);
        assert_eq!(label(&["a\nb".to_string()], 20), "a\\\\nb\\l");
    }
}
