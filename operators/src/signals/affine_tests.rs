use super::*;

/// A smooth, busy picture without a period.
fn scene(x: f64, y: f64) -> f64 {
    let waves = [
        (0.11, 0.05, 1.0),
        (-0.04, 0.13, 2.0),
        (0.21, -0.17, 0.5),
        (0.023, 0.031, 4.0),
        (-0.15, -0.09, 3.3),
    ];
    let sum: f64 = waves
        .iter()
        .map(|(u, v, phase)| (u * x + v * y + phase).sin())
        .sum();
    128.0 + 24.0 * sum
}

/// Where a point of the frame lies in the scene.
type Camera = fn(f64, f64) -> (f64, f64);

fn frame(at: impl Fn(f64, f64) -> f64) -> Pyramid {
    let size = 256;
    let data =
        (0..size * size).map(|i| at((i % size) as f64, (i / size) as f64).clamp(0.0, 255.0) as u8);
    Pyramid::new(&Plane::new(size, data.collect()))
}

#[test]
fn a_camera_over_a_still_picture_leaves_little() {
    let before = frame(scene);
    let maps: [(&str, Camera); 4] = [
        ("pan", |x, y| (x + 3.3, y - 1.7)),
        ("fast pan", |x, y| (x + 24.0, y + 9.0)),
        ("zoom", |x, y| {
            (128.0 + (x - 128.0) * 0.96, 128.0 + (y - 128.0) * 0.96)
        }),
        ("turn", |x, y| {
            (x + 0.03 * (y - 128.0), y - 0.03 * (x - 128.0))
        }),
    ];
    for (name, map) in maps {
        let after = frame(|x, y| {
            let (x, y) = map(x, y);
            scene(x, y) * 0.95 + 5.0
        });
        let left = residual(&before, &after).expect("it moves");
        assert!(left < 0.12, "{name}: {left}");
    }
}

#[test]
fn things_that_move_on_their_own_are_not_explained() {
    let world = |shift: f64| {
        frame(move |x, y| {
            if (x - 80.0 - shift).powi(2) + (y - 120.0).powi(2) < 3600.0 {
                scene(2.0 * (x - shift), y + 900.0)
            } else {
                scene(x + shift, y)
            }
        })
    };
    let left = residual(&world(0.0), &world(6.0)).expect("it moves");
    assert!(left > 0.3, "{left}");
    let other = residual(
        &frame(scene),
        &frame(|x, y| scene(-1.7 * y + 4000.0, 1.3 * x)),
    );
    assert!(other.expect("it changes") > 0.6, "{other:?}");
}

#[test]
fn without_motion_there_is_nothing_to_say() {
    let still = frame(scene);
    assert_eq!(residual(&still, &still), None);
    let faded = frame(|x, y| scene(x, y) - 9.0);
    assert_eq!(residual(&still, &faded), None);
    let tiny = Pyramid::new(&Plane::new(8, vec![0; 64]));
    assert_eq!(residual(&tiny, &tiny), None);
}
