//! Which way and how fast a clip moves: cameras pan and people walk sideways, and what is near the ground passes faster.

use super::plane::Plane;

/// Cells across and down in which speeds are taken.
const CELLS: usize = 3;

/// Added to squared speeds, px² a pair of frames at half the size: under it nothing moves.
const STILL: f64 = 0.002;

/// Added to the diagonal of the equations, levels⁴ a pixel: gradients of noise say nothing of speed.
const NOISE: f64 = 0.01;

/// Adds up squared speeds across and down, pair by pair.
///
/// Light that only moves changes by `I_t = -u I_x - v I_y` (Horn & Schunck, 1981). Over many edges that run every way
/// the mixed term is zero in the mean and `I_t² ≈ u² I_x² + v² I_y²`, whose least squares say how fast things move across
/// and down, whichever way each of them goes. The planes are halved first.
#[derive(Debug, Clone, Default)]
pub struct Heading {
    before: Option<Half>,
    pairs: u32,
    /// Squared speeds across and down: of the whole, the upper, lower, left and right third.
    speeds: [[f64; 2]; 5],
}

#[derive(Debug, Clone, PartialEq)]
struct Half {
    width: usize,
    pixels: Vec<f32>,
}

/// What least squares need of a cell: sums of `X²`, `XY`, `Y²`, `XT`, `YT` with `X = I_x²` and so on.
type Sums = [f64; 5];

impl Heading {
    /// Takes the next frame; after a frame of another size speeds begin anew.
    pub fn push(&mut self, plane: &Plane) {
        let (width, pixels) = plane.shrunk(2);
        let half = Half { width, pixels };
        if let Some(before) = &self.before
            && before.width == half.width
            && before.pixels.len() == half.pixels.len()
        {
            self.add(&cells(before, &half), half.pixels.len());
        }
        self.before = Some(half);
    }

    fn add(&mut self, cells: &[[Sums; CELLS]; CELLS], pixels: usize) {
        let of = |is_in: &dyn Fn(usize, usize) -> bool| {
            let mut sums = Sums::default();
            for (y, row) in cells.iter().enumerate() {
                for (x, cell) in row.iter().enumerate() {
                    if is_in(x, y) {
                        sums.iter_mut().zip(cell).for_each(|(sum, own)| *sum += own);
                    }
                }
            }
            squared_speeds(&sums, NOISE * pixels as f64)
        };
        let last = CELLS - 1;
        let parts = [
            of(&|_, _| true),
            of(&|_, y| y == 0),
            of(&|_, y| y == last),
            of(&|x, _| x == 0),
            of(&|x, _| x == last),
        ];
        for (sum, part) in self.speeds.iter_mut().zip(parts) {
            sum[0] += part[0];
            sum[1] += part[1];
        }
        self.pairs += 1;
    }

    /// Speed across over speed down, squared, as a power of two: above 0 where things move sideways. `None` of one frame.
    pub fn sideways(&self) -> Option<f64> {
        let [across, down] = self.speeds[0];
        self.ratio(across, down)
    }

    /// Speed of the upper third over that of the lower, squared, as a power of two. `None` of one frame.
    pub fn speed_top(&self) -> Option<f64> {
        self.ratio(
            self.speeds[1].iter().sum::<f64>(),
            self.speeds[2].iter().sum(),
        )
    }

    /// Speed of the left third over that of the right, squared, as a power of two. `None` of one frame.
    pub fn speed_left(&self) -> Option<f64> {
        self.ratio(
            self.speeds[3].iter().sum::<f64>(),
            self.speeds[4].iter().sum(),
        )
    }

    fn ratio(&self, a: f64, b: f64) -> Option<f64> {
        let pairs = f64::from(self.pairs);
        (self.pairs > 0).then(|| ((a / pairs + STILL) / (b / pairs + STILL)).log2())
    }
}

/// The sums of each cell, between two planes of one size.
fn cells(before: &Half, after: &Half) -> [[Sums; CELLS]; CELLS] {
    let (w, h) = (after.width, after.pixels.len() / after.width.max(1));
    let mut cells = [[Sums::default(); CELLS]; CELLS];
    if w < 2 + CELLS || h < 2 + CELLS {
        return cells;
    }
    let edge = |cell: usize, side: usize| 1 + cell * (side - 2) / CELLS;
    let sum = |at: usize| before.pixels[at] + after.pixels[at];
    for (row, y) in
        (0..CELLS).flat_map(|row| (edge(row, h)..edge(row + 1, h)).map(move |y| (row, y)))
    {
        for (column, cell) in cells[row].iter_mut().enumerate() {
            let mut sums = [0.0f32; 5];
            for at in y * w + edge(column, w)..y * w + edge(column + 1, w) {
                let across = (sum(at + 1) - sum(at - 1)) / 4.0;
                let down = (sum(at + w) - sum(at - w)) / 4.0;
                let change = after.pixels[at] - before.pixels[at];
                let (x, y, t) = (across * across, down * down, change * change);
                for (sum, value) in sums.iter_mut().zip([x * x, x * y, y * y, x * t, y * t]) {
                    *sum += value;
                }
            }
            for (sum, of_row) in cell.iter_mut().zip(sums) {
                *sum += f64::from(of_row);
            }
        }
    }
    cells
}

/// `u²` and `v²` that fit best, each 0 at least.
fn squared_speeds([xx, xy, yy, xt, yt]: &Sums, noise: f64) -> [f64; 2] {
    let (xx, yy) = (xx + noise, yy + noise);
    let determinant = xx * yy - xy * xy;
    if determinant <= 0.0 {
        return [0.0; 2];
    }
    [
        ((yy * xt - xy * yt) / determinant).max(0.0),
        ((xx * yt - xy * xt) / determinant).max(0.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spots of every size, moved.
    fn spots(dx: f64, dy: f64) -> Plane {
        let (w, h) = (120, 80);
        let pixels = (0..w * h).map(|at| {
            let (x, y) = ((at % w) as f64 + dx, (at / w) as f64 + dy);
            let waves =
                (x * 0.23 + y * 0.11).sin() + (y * 0.29 - x * 0.07).cos() + (x * 0.17).sin();
            (128.0 + 36.0 * waves) as u8
        });
        Plane::new(w, pixels.collect())
    }

    fn heading(of: impl Fn(f64) -> Plane) -> Heading {
        let mut heading = Heading::default();
        (0..6).for_each(|k| heading.push(&of(f64::from(k))));
        heading
    }

    #[test]
    fn what_moves_across_is_told_from_what_moves_down() {
        let across = heading(|t| spots(2.0 * t, 0.0)).sideways().expect("pairs");
        let down = heading(|t| spots(0.0, 2.0 * t)).sideways().expect("pairs");
        let back = heading(|t| spots(-2.0 * t, 0.0)).sideways().expect("pairs");
        assert!(
            across > 2.0 && back > 2.0 && down < -2.0,
            "{across} {back} {down}"
        );
    }

    #[test]
    fn a_clip_that_stands_still_or_has_one_frame_moves_no_way() {
        assert_eq!(heading(|_| spots(0.0, 0.0)).sideways(), Some(0.0));
        let mut one = Heading::default();
        one.push(&spots(0.0, 0.0));
        assert_eq!(one.sideways(), None);
        let tiny = heading(|t| Plane::new(4, vec![t as u8; 16]));
        assert_eq!(tiny.speed_top(), Some(0.0));
    }

    #[test]
    fn the_side_that_moves_faster_is_found() {
        let lower = heading(|t| {
            let (still, moved) = (spots(0.0, 0.0), spots(2.0 * t, 0.0));
            let half = still.data().len() / 2;
            let data = [&still.data()[..half], &moved.data()[half..]].concat();
            Plane::new(still.width(), data)
        });
        assert!(lower.speed_top().expect("pairs") < -3.0);
        assert!(lower.speed_left().expect("pairs").abs() < 2.0);
    }
}
