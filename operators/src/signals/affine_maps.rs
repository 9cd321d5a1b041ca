//! The algebra under the fit of a camera's motion ([`super::affine`]): affine maps, and the system that a step solves.

/// What a step solves for: the six numbers of the map, gain and offset of the brightness.
pub(super) const UNKNOWNS: usize = 8;

/// The same and the right side.
pub(super) const COLUMNS: usize = UNKNOWNS + 1;

/// x' = a0 + (1 + a1) x + a2 y, y' = a3 + a4 x + (1 + a5) y, from the picture's centre, in pixels of a level.
pub(super) type Affine = [f64; 6];

pub(super) const IDENTITY: Affine = [0.0; 6];

/// The map that first undoes `delta` and then does `map`; `None` if `delta` cannot be undone.
pub(super) fn after_inverse(map: &Affine, delta: &Affine) -> Option<Affine> {
    let (a, b, c, d) = (1.0 + delta[1], delta[2], delta[4], 1.0 + delta[5]);
    let determinant = a * d - b * c;
    if !(determinant.abs() > 1e-3 && determinant.is_finite()) {
        return None;
    }
    let [ia, ib, ic, id] = [d, -b, -c, a].map(|entry| entry / determinant);
    let (it0, it1) = (
        -(ia * delta[0] + ib * delta[3]),
        -(ic * delta[0] + id * delta[3]),
    );
    let (ma, mb, mc, md) = (1.0 + map[1], map[2], map[4], 1.0 + map[5]);
    Some([
        map[0] + ma * it0 + mb * it1,
        ma * ia + mb * ic - 1.0,
        ma * ib + mb * id,
        map[3] + mc * it0 + md * it1,
        mc * ia + md * ic,
        mc * ib + md * id - 1.0,
    ])
}

/// Solves the symmetric system whose upper triangle and right side these are, by elimination; `None` if it is singular.
pub(super) fn solve(mut rows: [[f64; COLUMNS]; UNKNOWNS]) -> Option<[f64; UNKNOWNS]> {
    for i in 1..UNKNOWNS {
        let (done, rest) = rows.split_at_mut(i);
        for (j, row) in done.iter().enumerate() {
            rest[0][j] = row[i];
        }
    }
    for i in 0..UNKNOWNS {
        // The matrix is positive semidefinite: the diagonal will do as pivot.
        let pivot_row = rows[i];
        if pivot_row[i] <= 1e-6 {
            return None;
        }
        for (j, row) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = row[i] / pivot_row[i];
                for (entry, pivot) in row.iter_mut().zip(pivot_row).skip(i) {
                    *entry -= factor * pivot;
                }
            }
        }
    }
    let mut solution = [0.0; UNKNOWNS];
    for (i, row) in rows.iter().enumerate() {
        solution[i] = row[UNKNOWNS] / row[i];
    }
    Some(solution)
}
