//! The drawing of a graph beside a list of its nodes, one node a line.
//!
//! Each node that is still to come and is fed by one above has a lane: a column in which a line runs down to it. All
//! edges into a node share its lane, so a lane begins where the first of them leaves and ends in its node:
//!
//! ```text
//! ●      videos
//! ●─╮    fetched      its consumers: regions below, cropped in the second lane
//! ●─┤    regions      feeds cropped too: joins that lane
//!   ●    cropped
//! ```

/// More lanes than this tell nothing; the list goes without.
const MOST_LANES: usize = 10;

/// One line of the drawing.
pub(super) struct LaneRow {
    /// The line of the node itself.
    pub node: String,
    /// What runs on beside further lines of the node.
    pub rest: String,
}

/// Draws nodes 0, 1, … in this order. `consumers` gives those fed by each, all later in the order; `symbols` how each is
/// drawn. All rows have the same width.
pub(super) fn draw(consumers: &[Vec<usize>], symbols: &[char]) -> Vec<LaneRow> {
    let mut lanes: Vec<Option<usize>> = Vec::new();
    let mut rows = Vec::new();
    for (node, symbol) in symbols.iter().enumerate() {
        let own = lane_of(&lanes, node).unwrap_or_else(|| free_lane(&mut lanes));
        let mut feeds: Vec<usize> = consumers[node]
            .iter()
            .copied()
            .filter(|to| *to > node)
            .collect();
        feeds.sort_unstable();
        feeds.dedup();
        let before = lanes.clone();
        // The lane goes on to the first consumer that has none yet.
        lanes[own] = feeds
            .iter()
            .copied()
            .find(|to| lane_of(&before, *to).is_none());
        let mut joined = Vec::new();
        for to in feeds {
            let lane = lane_of(&lanes, to).unwrap_or_else(|| {
                let lane = free_lane(&mut lanes);
                lanes[lane] = Some(to);
                lane
            });
            if lane != own {
                joined.push(lane);
            }
        }
        rows.push((
            row(*symbol, own, &joined, &before, lanes.len()),
            rest(&lanes),
        ));
        while lanes.last() == Some(&None) {
            lanes.pop();
        }
    }
    let width = rows
        .iter()
        .map(|(node, _)| node.chars().count())
        .max()
        .unwrap_or(0);
    let is_drawn = width <= 2 * MOST_LANES;
    rows.into_iter()
        .zip(symbols)
        .map(|((node, rest), symbol)| match is_drawn {
            true => LaneRow {
                node: format!("{node:width$}"),
                rest: format!("{rest:width$}"),
            },
            false => LaneRow {
                node: format!("{symbol} "),
                rest: "  ".to_string(),
            },
        })
        .collect()
}

fn lane_of(lanes: &[Option<usize>], node: usize) -> Option<usize> {
    lanes.iter().position(|lane| *lane == Some(node))
}

fn free_lane(lanes: &mut Vec<Option<usize>>) -> usize {
    lanes.iter().position(Option::is_none).unwrap_or_else(|| {
        lanes.push(None);
        lanes.len() - 1
    })
}

fn rest(lanes: &[Option<usize>]) -> String {
    lanes
        .iter()
        .map(|lane| if lane.is_some() { "│ " } else { "  " })
        .collect()
}

/// The line of a node in lane `own` from which edges go to the lanes in `joined`.
fn row(
    symbol: char,
    own: usize,
    joined: &[usize],
    before: &[Option<usize>],
    lane_count: usize,
) -> String {
    let first = joined.iter().copied().min().unwrap_or(own).min(own);
    let last = joined.iter().copied().max().unwrap_or(own).max(own);
    let mut line = String::new();
    for lane in 0..lane_count {
        let runs_through = before.get(lane).is_some_and(Option::is_some);
        let is_joined = joined.contains(&lane);
        line.push(match (lane == own, is_joined, runs_through) {
            (true, ..) => symbol,
            (_, true, true) if lane == first => '├',
            (_, true, true) if lane == last => '┤',
            (_, true, true) => '┼',
            (_, true, false) if lane == first => '╭',
            (_, true, false) if lane == last => '╮',
            (_, true, false) => '┬',
            (_, false, true) => '│',
            (_, false, false) if (first..last).contains(&lane) => '─',
            (_, false, false) => ' ',
        });
        line.push(if (first..last).contains(&lane) {
            '─'
        } else {
            ' '
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(consumers: &[&[usize]]) -> String {
        let consumers: Vec<Vec<usize>> = consumers.iter().map(|list| list.to_vec()).collect();
        let symbols = vec!['●'; consumers.len()];
        let rows = draw(&consumers, &symbols);
        let lines: Vec<_> = rows
            .iter()
            .map(|row| row.node.trim_end().to_string())
            .collect();
        lines.join("\n")
    }

    #[test]
    fn a_line_stays_in_one_lane() {
        assert_eq!(drawn(&[&[1], &[2], &[]]), "●\n●\n●");
    }

    #[test]
    fn a_diamond_opens_and_joins() {
        assert_eq!(drawn(&[&[1, 2], &[3], &[3], &[]]), "●─╮\n● │\n├─●\n●");
    }

    #[test]
    fn an_edge_crosses_a_lane_without_joining_it() {
        let consumers: &[&[usize]] = &[&[1, 2, 3], &[4], &[3], &[4], &[]];
        assert_eq!(drawn(consumers), "●─┬─╮\n● │ │\n│ ●─┤\n├───●\n●");
    }

    #[test]
    fn too_many_lanes_are_not_drawn() {
        let all: Vec<usize> = (1..40).collect();
        let mut consumers: Vec<&[usize]> = vec![&all];
        consumers.extend(std::iter::repeat_n(&[][..], 39));
        assert!(drawn(&consumers).lines().all(|line| line == "●"));
    }
}
