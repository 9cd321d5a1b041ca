use super::*;
use crate::media::Orientation;

/// A smooth picture with some texture.
fn picture(width: u32, height: u32) -> frame::Video {
    let mut picture = frame::Video::new(Pixel::RGB24, width, height);
    let stride = picture.stride(0);
    for (y, row) in picture.data_mut(0).chunks_mut(stride).enumerate() {
        for (x, pixel) in row[..width as usize * 3].chunks_mut(3).enumerate() {
            let value = (x * 7 + y * 5 + (x * y) % 31) as u8;
            pixel.copy_from_slice(&[value, value.wrapping_mul(3), 255 - value]);
        }
    }
    picture
}

fn converter(size: (u32, u32), orientation: Orientation, view: Option<CropRect>) -> Converter {
    let display = orientation.swap(size);
    let canvas = Canvas {
        display,
        orientation,
    };
    Converter::new(
        canvas,
        view.unwrap_or(CropRect::whole(display.0, display.1)),
    )
}

fn fitted(converter: &mut Converter, picture: &frame::Video, fit: Fit) -> Frame {
    converter.load(picture, std::iter::once(fit)).unwrap();
    converter.fit(fit).unwrap()
}

#[test]
fn the_part_that_is_kept_is_that_of_the_whole_resized_picture() {
    let picture = picture(131, 77);
    let mut converter = converter((131, 77), Orientation::default(), None);
    let cropped = fitted(
        &mut converter,
        &picture,
        Fit::ResizeShort {
            short: 40,
            crop: 32,
        },
    );
    // int(40 * 131 / 77) = 68 wide; offsets (68 - 32) / 2 and (40 - 32) / 2.
    let whole = Area {
        left: 0.0,
        top: 0.0,
        width: 131.0,
        height: 77.0,
    };
    let whole = converter
        .resize(CropRect::whole(131, 77), whole, (68, 40))
        .unwrap();
    let whole = Array3::from_shape_vec((40, 68, 3), whole).unwrap();
    let expected = whole.slice(ndarray::s![4..36, 18..50, ..]);
    assert_eq!(cropped.dim(), (32, 32, 3));
    let worst = cropped
        .iter()
        .zip(expected)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(worst <= Some(1), "{worst:?}");
}

#[test]
fn columns_that_nothing_depends_on_are_not_missed() {
    // Noise, so that each pixel that is off shows.
    let mut state = 1_u32;
    for (width, height) in [(640, 360), (1280, 720), (854, 480), (322, 242), (200, 640)] {
        let mut noise = frame::Video::new(Pixel::YUV420P, width, height);
        for plane in 0..3 {
            for byte in noise.data_mut(plane) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
        }
        let view = CropRect {
            x: width / 8,
            y: 4,
            width: width / 2,
            height: height - 10,
        };
        for turn in [0, 90, 180, 270].map(Orientation::from_clockwise_degrees) {
            let (across, down) = turn.swap((view.width, view.height));
            let (x, y) = turn.swap((view.x, view.y));
            let turned = CropRect {
                x,
                y,
                width: across,
                height: down,
            };
            for view in [None, Some(turned)] {
                for fit in [
                    Fit::ResizeShort {
                        short: 146,
                        crop: 128,
                    },
                    Fit::ResizeShort {
                        short: 400,
                        crop: 96,
                    },
                    Fit::Middle { side: 100 },
                    Fit::Within { max_side: 77 },
                ] {
                    let mut part = converter((width, height), turn, view);
                    let mut whole = converter((width, height), turn, view);
                    let seen = fitted(&mut part, &noise, fit);
                    whole.load(&noise, [Fit::Native].into_iter()).unwrap();
                    assert_eq!(
                        seen,
                        whole.fit(fit).unwrap(),
                        "{width}x{height} {fit:?} {view:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_view_is_seen_as_if_the_video_had_that_size() {
    let view = CropRect {
        x: 10,
        y: 6,
        width: 60,
        height: 44,
    };
    let picture = picture(131, 77);
    let seen = fitted(
        &mut converter((131, 77), Orientation::default(), Some(view)),
        &picture,
        Fit::Native,
    );
    let mut alone = frame::Video::new(Pixel::RGB24, 60, 44);
    let stride = alone.stride(0);
    for (row, pixels) in alone.data_mut(0).chunks_mut(stride).zip(seen.outer_iter()) {
        row[..180].copy_from_slice(pixels.to_slice().unwrap());
    }
    for fit in [
        Fit::Native,
        Fit::ResizeShort {
            short: 30,
            crop: 24,
        },
        Fit::Within { max_side: 33 },
    ] {
        let of_view = fitted(
            &mut converter((131, 77), Orientation::default(), Some(view)),
            &picture,
            fit,
        );
        let of_alone = fitted(
            &mut converter((60, 44), Orientation::default(), None),
            &alone,
            fit,
        );
        assert_eq!(of_view, of_alone, "{fit:?}");
    }
}

#[test]
fn resizing_and_then_turning_is_turning_and_then_resizing() {
    let turn = Orientation::from_clockwise_degrees(90);
    let view = CropRect {
        x: 5,
        y: 20,
        width: 50,
        height: 60,
    };
    let coded = picture(131, 77);
    let upright = fitted(&mut converter((131, 77), turn, None), &coded, Fit::Native);
    assert_eq!(upright.dim(), (131, 77, 3));
    let mut turned = frame::Video::new(Pixel::RGB24, 77, 131);
    let stride = turned.stride(0);
    for (row, pixels) in turned
        .data_mut(0)
        .chunks_mut(stride)
        .zip(upright.outer_iter())
    {
        row[..231].copy_from_slice(pixels.to_slice().unwrap());
    }
    for fit in [
        Fit::Native,
        Fit::ResizeShort {
            short: 30,
            crop: 25,
        },
    ] {
        let a = fitted(&mut converter((131, 77), turn, Some(view)), &coded, fit);
        let b = fitted(
            &mut converter((77, 131), Orientation::default(), Some(view)),
            &turned,
            fit,
        );
        let worst = a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(a.dim() == b.dim() && worst <= Some(2), "{fit:?} {worst:?}");
    }
}

#[test]
fn a_letterbox_holds_the_whole_picture_on_grey() {
    let mut converter = converter((131, 77), Orientation::default(), None);
    let boxed = fitted(
        &mut converter,
        &picture(131, 77),
        Fit::Letterbox { size: 64 },
    );
    assert_eq!(boxed.dim(), (64, 64, 3));
    // 77 * 64 / 131 = 37.6: 38 rows, 13 of grey above and below.
    let grey = |row: usize| {
        boxed
            .slice(s![row, .., ..])
            .iter()
            .all(|value| *value == LETTERBOX_GREY)
    };
    assert_eq!(
        (0..64).filter(|row| grey(*row)).collect::<Vec<_>>(),
        [(0..13), (51..64)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    );
    let up = fitted(
        &mut converter,
        &picture(131, 77),
        Fit::Letterbox { size: 262 },
    );
    assert_eq!(up.dim(), (262, 262, 3));
    assert!(up[[131, 131, 0]] != LETTERBOX_GREY || up[[131, 131, 2]] != LETTERBOX_GREY);
}

#[test]
fn pictures_of_another_size_fill_the_same_frame() {
    let mut converter = converter((64, 48), Orientation::default(), None);
    let first = fitted(&mut converter, &picture(64, 48), Fit::Native);
    let second = fitted(&mut converter, &picture(131, 77), Fit::Native);
    assert_eq!(first.dim(), second.dim());
    assert_eq!(fitted(&mut converter, &picture(64, 48), Fit::Native), first);
}
