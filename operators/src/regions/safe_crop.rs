//! The largest rectangle of a frame that is free of all regions.
//!
//! The encoders downstream want even sizes and offsets, so the search runs on a grid of 2 × 2 pixels: each region is
//! first widened to that grid. A rectangle with even edges is free of the region exactly when it is free of the widened
//! one, so what is found is the largest of all even rectangles, not the largest one made smaller afterwards.
//!
//! A free rectangle that cannot grow has each side on an edge of a region or of the frame. For each pair of a left and a
//! right edge the regions between them are walked in order of their upper edges, and the widest gap is looked at: with n
//! regions O(n³), at most, and most pairs are cut off because even the full height would not beat the best so far.

use std::fmt;

use crate::media::geometry::CropRect;

/// Smallest side of a crop, in pixels, unless the pipeline says otherwise.
pub const DEFAULT_MIN_SIDE_PX: u32 = 64;

/// Smallest share of the frame's area that a crop keeps, unless the pipeline says otherwise.
pub const DEFAULT_MIN_AREA: f64 = 0.40;

/// Why a frame is not cropped although there are regions in it. Its text goes into the row.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The regions leave nothing.
    Covered,
    /// A side of the largest rectangle is too short.
    Narrow {
        /// The largest rectangle.
        best: CropRect,
        /// The shortest side allowed, in pixels.
        min_side_px: u32,
    },
    /// The largest rectangle keeps too little of the frame.
    Small {
        /// The largest rectangle.
        best: CropRect,
        /// The share of the frame that it keeps, 0 to 1.
        area: f64,
        /// The smallest share allowed.
        min_area: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Covered => f.write_str("no clean rectangle: regions cover the whole frame"),
            Refusal::Narrow { best, min_side_px } => write!(
                f,
                "largest clean rectangle is {}x{} px: a side under min_side {min_side_px} px",
                best.width, best.height
            ),
            Refusal::Small {
                best,
                area,
                min_area,
            } => write!(
                f,
                "largest clean rectangle is {}x{} px: {:.1} % of the frame, under min_area {} %",
                best.width,
                best.height,
                area * 100.0,
                // Rounded, so that 0.4 does not read as 40.00000000000001.
                (min_area * 1e4).round() / 1e2,
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// The largest rectangle of a `width` × `height` frame that is free of all `regions` and has even edges.
///
/// Regions are `[left, upper, right, lower]` in pixels, right and lower outside; they may reach over the frame. Regions
/// without an area, outside the frame, or with an edge that is no number (NaN) are passed over.
///
/// `None` when no region touches the frame: there is nothing to crop. Of rectangles of the same area the one whose centre
/// is nearest to the frame's centre is taken, then the upper one, then the left one, then the wider one.
///
/// # Errors
/// A [`Refusal`] when the largest rectangle has a side under `min_side_px` or keeps less than `min_area` of the frame.
pub fn safe_crop(
    width: u32,
    height: u32,
    regions: &[[f32; 4]],
    min_side_px: u32,
    min_area: f64,
) -> Result<Option<CropRect>, Refusal> {
    let mut blocks: Vec<Block> = regions
        .iter()
        .filter_map(|region| Block::of(*region, width, height))
        .collect();
    if blocks.is_empty() {
        return Ok(None);
    }
    blocks.sort_unstable_by_key(|block| (block.y0, block.y1, block.x0, block.x1));
    blocks.dedup();

    let best = largest_free(width / 2, height / 2, &blocks).ok_or(Refusal::Covered)?;
    let best = CropRect {
        x: best.x0 * 2,
        y: best.y0 * 2,
        width: (best.x1 - best.x0) * 2,
        height: (best.y1 - best.y0) * 2,
    };
    if best.width.min(best.height) < min_side_px {
        return Err(Refusal::Narrow { best, min_side_px });
    }
    let area =
        f64::from(best.width) * f64::from(best.height) / (f64::from(width) * f64::from(height));
    if area < min_area {
        return Err(Refusal::Small {
            best,
            area,
            min_area,
        });
    }
    Ok(Some(best))
}

/// A rectangle on the grid of 2 × 2 pixels; `x1` and `y1` lie outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    x0: u32,
    y0: u32,
    x1: u32,
    y1: u32,
}

impl Block {
    /// The region, cut to the frame and widened to the grid; `None` if it does not touch the frame.
    fn of([left, upper, right, lower]: [f32; 4], width: u32, height: u32) -> Option<Self> {
        // Comparisons with NaN are false: such a region ends here.
        let touches = left < right
            && upper < lower
            && left < width as f32
            && upper < height as f32
            && right > 0.0
            && lower > 0.0;
        // A cast from float to integer saturates, so infinite edges end at the frame.
        let down = |edge: f32| (f64::from(edge) / 2.0).floor() as u32;
        let up = |edge: f32, end: u32| ((f64::from(edge) / 2.0).ceil() as u32).min(end.div_ceil(2));
        touches.then(|| Self {
            x0: down(left),
            y0: down(upper),
            x1: up(right, width),
            y1: up(lower, height),
        })
    }

    fn area(&self) -> u64 {
        u64::from(self.x1 - self.x0) * u64::from(self.y1 - self.y0)
    }

    /// Larger is better: area, then nearness to the centre, then up, left, wide.
    fn rank(&self, columns: u32, rows: u32) -> impl Ord + use<> {
        let off = |a: u32, b: u32, end: u32| {
            let off = u64::from((a + b).abs_diff(end));
            off * off
        };
        (
            self.area(),
            std::cmp::Reverse((
                off(self.x0, self.x1, columns) + off(self.y0, self.y1, rows),
                self.y0,
                self.x0,
                std::cmp::Reverse(self.x1),
            )),
        )
    }
}

/// The best free rectangle of a grid; `None` if no cell is free. `blocks` are sorted by upper edge.
fn largest_free(columns: u32, rows: u32, blocks: &[Block]) -> Option<Block> {
    let edges = |own: u32, of: fn(&Block) -> u32| {
        let mut edges: Vec<u32> = blocks.iter().map(of).filter(|x| *x < columns).collect();
        edges.push(own);
        edges.sort_unstable();
        edges.dedup();
        edges
    };
    let lefts = edges(0, |block| block.x1);
    let rights = edges(columns, |block| block.x0);

    let mut best: Option<Block> = None;
    for &x0 in &lefts {
        for &x1 in rights.iter().filter(|x1| **x1 > x0) {
            let best_area = best.as_ref().map_or(1, Block::area);
            if u64::from(x1 - x0) * u64::from(rows) < best_area {
                continue;
            }
            let mut free_from = 0;
            let between = blocks.iter().filter(|b| b.x0 < x1 && b.x1 > x0);
            let ends = between.map(|b| (b.y0, b.y1)).chain([(rows, rows)]);
            for (y0, y1) in ends {
                if y0 > free_from {
                    let gap = Block {
                        x0,
                        y0: free_from,
                        x1,
                        y1: y0.min(rows),
                    };
                    let better = best
                        .as_ref()
                        .is_none_or(|best| gap.rank(columns, rows) > best.rank(columns, rows));
                    if better && gap.area() > 0 {
                        best = Some(gap);
                    }
                }
                free_from = free_from.max(y1);
                if free_from >= rows {
                    break;
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crop(width: u32, height: u32, regions: &[[f32; 4]]) -> Result<Option<CropRect>, Refusal> {
        safe_crop(
            width,
            height,
            regions,
            DEFAULT_MIN_SIDE_PX,
            DEFAULT_MIN_AREA,
        )
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> CropRect {
        CropRect {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn nothing_to_crop() {
        assert_eq!(crop(641, 361, &[]), Ok(None));
        let outside = [
            [-50.0, 0.0, 0.0, 100.0],
            [641.0, 0.0, 700.0, 100.0],
            [0.0, 400.0, 641.0, 500.0],
            [20.0, 20.0, 20.0, 80.0],
            [80.0, 20.0, 20.0, 80.0],
            [f32::NAN, 0.0, 20.0, 80.0],
            [0.0, 0.0, 20.0, f32::NAN],
        ];
        assert_eq!(crop(641, 361, &outside), Ok(None));
    }

    #[test]
    fn bars_are_cut_off_to_even_edges() {
        let bars = [[0.0, 0.0, 1280.0, 87.0], [0.0, 633.0, 1280.0, 720.0]];
        assert_eq!(crop(1280, 720, &bars), Ok(Some(rect(0, 88, 1280, 544))));
    }

    #[test]
    fn a_corner_logo_costs_the_thinner_strip() {
        let logo = [[1000.0, 20.0, 1240.0, 100.0]];
        assert_eq!(crop(1280, 720, &logo), Ok(Some(rect(0, 100, 1280, 620))));
    }

    #[test]
    fn regions_may_reach_over_the_frame() {
        let region = [[-1e30, f32::NEG_INFINITY, 100.5, f32::INFINITY]];
        assert_eq!(crop(400, 300, &region), Ok(Some(rect(102, 0, 298, 300))));
    }

    #[test]
    fn ties_go_to_the_centre_then_up_then_left() {
        let cross = [[0.0, 198.0, 400.0, 202.0], [198.0, 0.0, 202.0, 400.0]];
        let best = safe_crop(400, 400, &cross, 64, 0.0);
        assert_eq!(best, Ok(Some(rect(0, 0, 198, 198))));
    }

    #[test]
    fn refusals_say_why() {
        let text = |width, height, regions: &[[f32; 4]]| match crop(width, height, regions) {
            Err(refusal) => refusal.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(640, 200, &[[60.0, 0.0, 640.0, 200.0]]),
            "largest clean rectangle is 60x200 px: a side under min_side 64 px"
        );
        assert_eq!(
            text(640, 400, &[[200.0, 0.0, 640.0, 400.0]]),
            "largest clean rectangle is 200x400 px: 31.2 % of the frame, under min_area 40 %"
        );
        let covered = "no clean rectangle: regions cover the whole frame";
        assert_eq!(text(640, 400, &[[-5.0, -5.0, 900.0, 900.0]]), covered);
        assert_eq!(text(1, 1, &[[0.0, 0.0, 1.0, 1.0]]), covered);
        assert_eq!(text(3, 2, &[[0.0, 0.0, 2.0, 2.0]]), covered);
    }

    /// All even rectangles of the frame, each checked against all regions as they came.
    fn largest_by_trying_all(width: u32, height: u32, regions: &[[f32; 4]]) -> u32 {
        let free = |x0: u32, y0: u32, x1: u32, y1: u32| {
            regions.iter().all(|[left, upper, right, lower]| {
                x1 as f32 <= *left
                    || x0 as f32 >= *right
                    || y1 as f32 <= *upper
                    || y0 as f32 >= *lower
            })
        };
        let mut best = 0;
        for x0 in (0..width).step_by(2) {
            for x1 in (x0 + 2..=width).step_by(2) {
                for y0 in (0..height).step_by(2) {
                    for y1 in (y0 + 2..=height).step_by(2) {
                        if (x1 - x0) * (y1 - y0) > best && free(x0, y0, x1, y1) {
                            best = (x1 - x0) * (y1 - y0);
                        }
                    }
                }
            }
        }
        best
    }

    fn region() -> impl Strategy<Value = [f32; 4]> {
        (-6i32..26, -6i32..26, 1i32..24, 1i32..24).prop_map(|(x, y, w, h)| {
            // Half pixels, so that edges fall between pixels too.
            [x, y, x + w, y + h].map(|edge| edge as f32 / 2.0 + 2.0)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn as_large_as_by_trying_all(
            width in 1u32..19,
            height in 1u32..19,
            regions in prop::collection::vec(region(), 1..7),
        ) {
            let expected = largest_by_trying_all(width, height, &regions);
            match safe_crop(width, height, &regions, 0, 0.0) {
                Ok(Some(best)) => {
                    prop_assert_eq!(best.width * best.height, expected);
                    prop_assert!(best.x + best.width <= width && best.y + best.height <= height);
                    prop_assert_eq!((best.x | best.y | best.width | best.height) & 1, 0);
                    for [left, upper, right, lower] in &regions {
                        prop_assert!(
                            (best.x + best.width) as f32 <= *left
                                || best.x as f32 >= *right
                                || (best.y + best.height) as f32 <= *upper
                                || best.y as f32 >= *lower
                        );
                    }
                }
                Ok(None) => {
                    let outside = regions.iter().all(|region| {
                        region[0] >= width as f32
                            || region[1] >= height as f32
                            || region[2] <= 0.0
                            || region[3] <= 0.0
                    });
                    prop_assert!(outside);
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::Covered);
                    prop_assert_eq!(expected, 0);
                }
            }
        }

        #[test]
        fn the_order_of_the_regions_does_not_matter(
            mut regions in prop::collection::vec(region(), 2..7),
        ) {
            let one = safe_crop(18, 18, &regions, 0, 0.0);
            regions.reverse();
            prop_assert_eq!(one, safe_crop(18, 18, &regions, 0, 0.0));
        }
    }
}
