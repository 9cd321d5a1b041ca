use super::super::test_scenes::{HEIGHT, WIDTH, blend, frames, is_text, moving, tripod, world};
use super::*;

const COUNT: usize = 12;

fn found(at: impl Fn(usize, usize, usize) -> [u8; 3]) -> Vec<Region> {
    find(&frames(COUNT, at), 0.3)
}

fn classes(regions: &[Region]) -> Vec<&str> {
    regions.iter().map(|region| region.class.as_str()).collect()
}

/// The one region found is of this class and holds the drawn box, with at most `slack` pixels to spare.
fn assert_one(regions: &[Region], class: &str, drawn: [f32; 4], slack: f32) {
    assert_eq!(classes(regions), [class], "{regions:?}");
    let rect = regions[0].rect;
    let spare = [
        drawn[0] - rect[0],
        drawn[1] - rect[1],
        rect[2] - drawn[2],
        rect[3] - drawn[3],
    ];
    assert!(
        spare.iter().all(|spare| (0.0..=slack).contains(spare)),
        "{rect:?} for {drawn:?}"
    );
    assert_eq!(regions[0].found_by, FOUND_BY);
}

const BLACK: [u8; 3] = [0, 0, 0];
const WHITE: [u8; 3] = [255, 255, 255];

#[test]
fn a_clean_scene_has_no_regions() {
    assert!(found(moving).is_empty());
    assert!(found(tripod).is_empty());
    assert!(
        found(|_, x, y| world(x as f64, y as f64, 3)).is_empty(),
        "a still picture"
    );
    assert!(found(|_, _, _| BLACK).is_empty(), "nothing but black");
    assert!(found(|k, _, _| [20 * k as u8; 3]).is_empty(), "a fade");
}

#[test]
fn bars_are_exact_at_any_thickness_and_colour() {
    for (thick, colour) in [
        (2, BLACK),
        (3, BLACK),
        (37, BLACK),
        (64, [40, 60, 120]),
        (20, WHITE),
    ] {
        let regions = found(|k, x, y| {
            if y < thick || y >= HEIGHT - thick {
                colour
            } else {
                moving(k, x, y)
            }
        });
        let rects: Vec<_> = regions.iter().map(|region| region.rect).collect();
        let (w, h, thick) = (WIDTH as f32, HEIGHT as f32, thick as f32);
        assert_eq!(
            rects,
            [[0.0, 0.0, w, thick], [0.0, h - thick, w, h]],
            "{colour:?}"
        );
        assert_eq!(classes(&regions), ["border", "border"]);
    }
}

#[test]
fn bars_on_all_sides_and_on_one() {
    let regions = found(|k, x, y| {
        if !(30..WIDTH - 31).contains(&x) || !(21..HEIGHT - 20).contains(&y) {
            BLACK
        } else {
            moving(k, x, y)
        }
    });
    let (w, h) = (WIDTH as f32, HEIGHT as f32);
    let rects: Vec<_> = regions.iter().map(|region| region.rect).collect();
    let expected = [
        [0.0, 0.0, 30.0, h],
        [0.0, 0.0, w, 21.0],
        [0.0, h - 20.0, w, h],
        [w - 31.0, 0.0, w, h],
    ];
    assert_eq!(rects, expected);

    let left = found(|k, x, y| if x < 17 { BLACK } else { moving(k, x, y) });
    assert_one(&left, "border", [0.0, 0.0, 17.0, h], 0.0);
}

#[test]
fn a_bar_beside_a_plain_wall_is_vouched_for_by_its_twin() {
    let wall = |lower: usize| {
        found(move |k, x, y| {
            if y < 30 || y >= HEIGHT - lower {
                BLACK
            } else if y < 90 {
                [190; 3]
            } else {
                moving(k, x, y)
            }
        })
    };
    assert_eq!(classes(&wall(30)), ["border", "border"]);
    assert_eq!(classes(&wall(50)), ["border"], "a twin is as thick");
}

#[test]
fn a_noisy_bar_with_text_on_it_is_a_bar() {
    let regions = found(|k, x, y| {
        let grain = ((x * 7 + y * 13 + k * 5) % 7) as u8;
        if y < HEIGHT - 40 {
            moving(k, x, y)
        } else if k % 3 == 0 && is_text(x, y, 100, HEIGHT - 30, 14, 8, k) {
            WHITE
        } else {
            [grain; 3]
        }
    });
    let (w, h) = (WIDTH as f32, HEIGHT as f32);
    let borders: Vec<_> = regions
        .iter()
        .filter(|region| region.class == "border")
        .collect();
    assert_eq!(borders.len(), 1, "{regions:?}");
    assert_eq!(borders[0].rect, [0.0, h - 40.0, w, h]);
}

#[test]
fn what_is_merely_dark_or_plain_is_no_bar() {
    // A sky of one colour over hills whose line goes up and down.
    let sky = found(|k, x, y| {
        let line = 50.0 + 12.0 * (x as f64 * 0.05 + k as f64).sin();
        if (y as f64) < line {
            [120, 160, 220]
        } else {
            moving(k, x, y)
        }
    });
    assert!(sky.is_empty(), "{sky:?}");
    // Light that falls off toward the sides.
    let spot = found(|k, x, y| {
        let (dx, dy) = (
            x as f64 / WIDTH as f64 - 0.5,
            y as f64 / HEIGHT as f64 - 0.5,
        );
        let light = (1.0 - 5.0 * (dx * dx + dy * dy)).max(0.0);
        moving(k, x, y).map(|channel| (f64::from(channel) * light) as u8)
    });
    assert!(spot.is_empty(), "{spot:?}");
    // A page with a head of another colour that never changes.
    let page = found(|_, x, y| {
        if y < 30 {
            [30, 60, 160]
        } else if is_text(x, y, 40, 80, 16, 12, 0) {
            BLACK
        } else {
            WHITE
        }
    });
    assert!(page.is_empty(), "{page:?}");
}

#[test]
fn blurred_copies_beside_the_picture_are_bars() {
    let (first, second) = (70, WIDTH - 70);
    let blurred = |k: usize, x: usize, y: usize| {
        let wave = (x as f64 * 0.03 + k as f64).sin() + (y as f64 * 0.02 - k as f64).cos();
        [(100.0 + 35.0 * wave) as u8; 3]
    };
    let beside = found(|k, x, y| {
        if (first..second).contains(&x) {
            moving(k, x, y)
        } else {
            blurred(k, x, y)
        }
    });
    let rects: Vec<_> = beside.iter().map(|region| region.rect).collect();
    let h = HEIGHT as f32;
    assert_eq!(rects, [[0.0, 0.0, 70.0, h], [250.0, 0.0, 320.0, h]]);
    let off_centre = found(|k, x, y| {
        if (first..second + 30).contains(&x) {
            moving(k, x, y)
        } else {
            blurred(k, x, y)
        }
    });
    assert!(off_centre.is_empty(), "{off_centre:?}");
}

#[test]
fn a_logo_is_found_over_a_moving_scene_only() {
    let logo = |under: [u8; 3], x: usize, y: usize| {
        if is_text(x, y, 240, 12, 18, 4, 1) {
            WHITE
        } else {
            under
        }
    };
    let moving_scene = found(|k, x, y| logo(moving(k, x, y), x, y));
    assert_one(&moving_scene, "logo", [241.0, 13.0, 303.0, 29.0], 5.0);
    assert!(moving_scene[0].persistence > 0.9);
    let still_scene = found(|k, x, y| logo(tripod(k, x, y), x, y));
    assert!(still_scene.is_empty(), "{still_scene:?}");
}

#[test]
fn a_plate_with_dark_letters_is_a_logo() {
    let regions = found(|k, x, y| {
        if !(14..70).contains(&x) || !(160..186).contains(&y) {
            moving(k, x, y)
        } else if is_text(x, y, 20, 166, 14, 3, 0) {
            BLACK
        } else {
            [250, 210, 20]
        }
    });
    assert_one(&regions, "logo", [14.0, 160.0, 70.0, 186.0], 9.0);
}

#[test]
fn a_translucent_mark_is_a_watermark() {
    let regions = found(|k, x, y| {
        let under = moving(k, x, y);
        if is_text(x, y, 80, 84, 34, 5, 0) {
            blend(under, WHITE, 0.4)
        } else {
            under
        }
    });
    assert_one(&regions, "watermark", [81.0, 85.0, 235.0, 117.0], 6.0);
}

#[test]
fn subtitles_are_found_though_the_text_changes() {
    let subtitled = |k: usize, x: usize, y: usize| {
        let letters = 12 + k % 5;
        let left = (WIDTH - letters * 14) / 2;
        if k.is_multiple_of(2) && is_text(x, y, left, 170, 14, letters, k) {
            WHITE
        } else {
            // Not so bright that the letters drown.
            moving(k, x, y).map(|channel| (f64::from(channel) * 0.6) as u8)
        }
    };
    let regions = found(subtitled);
    assert_eq!(classes(&regions), ["subtitle"], "{regions:?}");
    let [left, upper, right, lower] = regions[0].rect;
    assert!(
        left < 55.0 && right > 262.0 && upper <= 170.0 && lower >= 184.0,
        "{regions:?}"
    );
    assert!(upper > 150.0, "{regions:?}");
    let seldom = found(|k, x, y| {
        if k < 2 {
            subtitled(0, x, y)
        } else {
            moving(k, x, y)
        }
    });
    assert!(seldom.is_empty(), "{seldom:?}");
}

#[test]
fn a_line_that_stays_is_a_subtitle_too() {
    let regions = found(|k, x, y| {
        let under = moving(k, x, y);
        if is_text(x, y, 60, 168, 15, 13, 2) {
            WHITE
        } else {
            under
        }
    });
    assert_eq!(classes(&regions), ["subtitle"], "{regions:?}");
}

#[test]
fn overlays_are_found_beside_bars() {
    let regions = found(|k, x, y| {
        if !(25..HEIGHT - 25).contains(&y) {
            BLACK
        } else if is_text(x, y, 16, 36, 18, 4, 1) {
            WHITE
        } else {
            moving(k, x, y)
        }
    });
    assert_eq!(
        classes(&regions),
        ["border", "border", "logo"],
        "{regions:?}"
    );
}

#[test]
fn frames_that_do_not_fit_bring_nothing() {
    assert!(find(&[], 0.3).is_empty());
    let bars = |count| {
        frames(
            count,
            |k, x, y| if y < 20 { BLACK } else { moving(k, x, y) },
        )
    };
    assert_eq!(find(&bars(6), 0.3).len(), 1);
    assert!(find(&bars(2), 0.3).is_empty(), "too few frames");
    let one = bars(1);
    assert!(
        find(&vec![Arc::clone(&one[0]); 12], 0.3).is_empty(),
        "one frame, twelve times"
    );
    let mut mixed = bars(5);
    mixed.push(Arc::new(ndarray::Array3::zeros((40, 40, 3))));
    assert!(find(&mixed, 0.3).is_empty(), "sizes differ");
    let tiny: Vec<Frame> = (0..8u8)
        .map(|k| Arc::new(ndarray::Array3::from_elem((9, 500, 3), k)))
        .collect();
    assert!(find(&tiny, 0.3).is_empty());
}
