//! Sizes and rectangles: what a model wants to see of a video, and where that lies in the coded picture.
//!
//! All sizes a caller sees are *display* sizes: after the sample aspect ratio and the rotation. A resize and a turn by
//! 90° commute, so a picture is resized straight from its coded rows and the small result is turned.

use std::fmt;
use std::path::Path;

use super::{MediaError, Orientation};

/// The longest side that is decoded, in pixels.
pub const MAX_SIDE_PX: u32 = 16_384;
/// The most pixels a picture may have.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Sample aspect ratios beyond 1:10 and 10:1 are taken for broken headers, and for square pixels.
const MAX_SAMPLE_ASPECT: f64 = 10.0;

/// A rectangle in display pixels; `x` and `y` are those of its top left pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CropRect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl fmt::Display for CropRect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}+{}+{}", self.width, self.height, self.x, self.y)
    }
}

impl CropRect {
    /// The whole of a video of this display size.
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// Whether it has an area and lies within a video of this display size.
    pub fn is_inside(&self, width: u32, height: u32) -> bool {
        self.width > 0
            && self.height > 0
            && u64::from(self.x) + u64::from(self.width) <= u64::from(width)
            && u64::from(self.y) + u64::from(self.height) <= u64::from(height)
    }
}

/// How a picture is brought to the size a model wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The short side becomes `short` (the long side is floored: `int(short * long / short_side)`), then the centre
    /// `crop` x `crop` is kept, its offset rounded half to even. Bilinear with antialias, as PIL and torchvision do it.
    ResizeShort {
        /// The short side after resizing, in pixels.
        short: u32,
        /// Both sides after cropping, in pixels; at most `short`.
        crop: u32,
    },
    /// The display size itself.
    Native,
    /// As `Native`, but pictures whose long side exceeds `max_side` are scaled down to it (aspect kept, bilinear with
    /// antialias).
    Within {
        /// The longest side allowed, in pixels.
        max_side: u32,
    },
    /// The middle of the picture at the display size itself, nothing resized: up to `side` pixels each way, the offset
    /// even. What is seen only pixel by pixel (an encoder's blocks, noise, true sharpness) is seen in it.
    Middle {
        /// Both sides at most, in pixels.
        side: u32,
    },
    /// The whole picture, scaled up or down until it just fits into a square, on grey (114): bilinear with antialias,
    /// centred, the smaller share of an odd margin before the picture.
    Letterbox {
        /// Both sides of the square, in pixels.
        size: u32,
    },
}

/// What a letterbox is filled up with.
pub(crate) const LETTERBOX_GREY: u8 = 114;

/// What a [`Fit`] comes to for a view of one size, in display axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The size the view is resized to.
    pub resized: (u32, u32),
    /// The part of that which is kept.
    pub kept: CropRect,
}

impl Fit {
    /// Refuses sizes of zero and crops that are larger than what is cropped.
    pub(crate) fn validate(&self, path: &Path) -> Result<(), MediaError> {
        let limit = MAX_SIDE_PX;
        let reason = match *self {
            Fit::ResizeShort { short, crop } if crop == 0 || crop > short || short > limit => {
                format!(
                    "resize_short {short} with crop {crop}: allowed is 1 <= crop <= resize_short <= {limit}"
                )
            }
            Fit::Within { max_side: 0 } => "a longest side of 0 pixels".to_owned(),
            Fit::Middle { side: 0 } => "a middle of 0 pixels".to_owned(),
            Fit::Letterbox { size } if size == 0 || size > limit => {
                format!("a letterbox of {size} pixels: allowed is 1 to {limit}")
            }
            _ => return Ok(()),
        };
        Err(MediaError::unsupported(path, reason))
    }

    /// The sizes for a view of `width` x `height` display pixels.
    pub(crate) fn target(&self, width: u32, height: u32) -> Target {
        let whole = |width, height| Target {
            resized: (width, height),
            kept: CropRect::whole(width, height),
        };
        match *self {
            Fit::Native => whole(width, height),
            Fit::Middle { side } => Target {
                resized: (width, height),
                kept: CropRect {
                    x: width.saturating_sub(side) / 4 * 2,
                    y: height.saturating_sub(side) / 4 * 2,
                    width: width.min(side),
                    height: height.min(side),
                },
            },
            Fit::Within { max_side } => {
                let long = width.max(height);
                if long <= max_side {
                    return whole(width, height);
                }
                whole(
                    scaled(width, max_side, long),
                    scaled(height, max_side, long),
                )
            }
            Fit::Letterbox { size } => {
                let long = width.max(height);
                whole(scaled(width, size, long), scaled(height, size, long))
            }
            Fit::ResizeShort { short, crop } => {
                let floored = |long: u32, side: u32| {
                    (u64::from(short) * u64::from(long) / u64::from(side)) as u32
                };
                let resized = if width <= height {
                    (short, floored(height, width))
                } else {
                    (floored(width, height), short)
                };
                Target {
                    resized,
                    kept: CropRect {
                        x: half_to_even(resized.0 - crop),
                        y: half_to_even(resized.1 - crop),
                        width: crop,
                        height: crop,
                    },
                }
            }
        }
    }

    /// At most this many bytes for one frame of a video of this display size, whatever the view.
    pub(crate) fn max_bytes(&self, width: u32, height: u32) -> u64 {
        let whole = u64::from(width) * u64::from(height);
        3 * match *self {
            Fit::Native => whole,
            Fit::Within { max_side } => whole.min(u64::from(max_side) * u64::from(max_side)),
            Fit::ResizeShort { crop: side, .. }
            | Fit::Letterbox { size: side }
            | Fit::Middle { side } => u64::from(side) * u64::from(side),
        }
    }
}

/// A side after scaling by `to / from`, rounded, at least 1.
fn scaled(side: u32, to: u32, from: u32) -> u32 {
    let rounded = (u64::from(side) * u64::from(to) + u64::from(from) / 2) / u64::from(from);
    (rounded as u32).max(1)
}

/// Python's `round(value / 2)`: halves go to the even neighbour.
fn half_to_even(value: u32) -> u32 {
    let half = value / 2;
    half + (value % 2) * (half % 2)
}

/// A rectangle with fractional edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// How the display of a video lies over its coded pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Canvas {
    /// Display size, in pixels.
    pub display: (u32, u32),
    pub orientation: Orientation,
}

impl Canvas {
    /// Where an area of the display lies in a coded picture of `size`. A picture of another size than the video's
    /// (the stream changed on its way) fills the whole display, stretched.
    pub fn to_coded(self, area: Area, size: (u32, u32)) -> Area {
        let (width, height) = (f64::from(self.display.0), f64::from(self.display.1));
        let left = match self.orientation.flip_x {
            true => width - area.left - area.width,
            false => area.left,
        };
        let top = match self.orientation.flip_y {
            true => height - area.top - area.height,
            false => area.top,
        };
        let (left, top) = self.orientation.swap((left, top));
        let (across, down) = self.orientation.swap((area.width, area.height));
        let (width, height) = self.orientation.swap((width, height));
        let (scale_x, scale_y) = (f64::from(size.0) / width, f64::from(size.1) / height);
        Area {
            left: left * scale_x,
            top: top * scale_y,
            width: across * scale_x,
            height: down * scale_y,
        }
    }
}

/// Display size of a picture: the width is stretched by the sample aspect ratio (the height stays), then the sides are
/// swapped if the picture is turned on its side.
pub(crate) fn display_size(
    coded: (u32, u32),
    sample_aspect: (i32, i32),
    orientation: Orientation,
) -> (u32, u32) {
    let width = f64::from(coded.0) * plausible_aspect(sample_aspect);
    orientation.swap(((width.round() as u32).max(1), coded.1))
}

fn plausible_aspect((across, down): (i32, i32)) -> f64 {
    if across <= 0 || down <= 0 {
        return 1.0;
    }
    let aspect = f64::from(across) / f64::from(down);
    if (1.0 / MAX_SAMPLE_ASPECT..=MAX_SAMPLE_ASPECT).contains(&aspect) {
        aspect
    } else {
        1.0
    }
}

/// Refuses pictures without area and pictures that would take too much memory.
pub(crate) fn check_size(path: &Path, (width, height): (u32, u32)) -> Result<(), MediaError> {
    if width == 0 || height == 0 {
        return Err(MediaError::decode(path, "the picture size is unknown"));
    }
    if width.max(height) > MAX_SIDE_PX || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(MediaError::unsupported(
            path,
            format!(
                "a picture of {width}x{height}; allowed are {MAX_SIDE_PX} a side and {MAX_PIXELS} pixels"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn short(width: u32, height: u32, short: u32, crop: u32) -> Target {
        Fit::ResizeShort { short, crop }.target(width, height)
    }

    #[test]
    fn the_long_side_is_floored_and_the_crop_is_centred_half_to_even() {
        // torchvision: resize(292) of 1280x720 is 519x292; centre crop 256 at round(131.5) = 132 and 18.
        let target = short(1280, 720, 292, 256);
        assert_eq!(target.resized, (519, 292));
        assert_eq!((target.kept.x, target.kept.y), (132, 18));
        // round(0.5) = 0, round(1.5) = 2, round(2.5) = 2
        assert_eq!([1, 3, 5, 4].map(half_to_even), [0, 2, 2, 2]);
        assert_eq!(short(100, 100, 64, 64).kept, CropRect::whole(64, 64));
        // A sliver: the long side may be much longer than any picture we decode, and is never held.
        assert_eq!(short(1, 16_000, 256, 256).resized, (256, 4_096_000));
    }

    #[test]
    fn within_only_ever_scales_down() {
        let within = Fit::Within { max_side: 512 };
        assert_eq!(within.target(1920, 1080).resized, (512, 288));
        assert_eq!(within.target(300, 512).resized, (300, 512));
        assert_eq!(within.target(4000, 1).resized, (512, 1));
    }

    #[test]
    fn the_middle_is_cut_out_as_it_is() {
        let middle = Fit::Middle { side: 384 };
        let target = middle.target(1280, 720);
        assert_eq!(target.resized, (1280, 720));
        let kept = CropRect {
            x: 448,
            y: 168,
            width: 384,
            height: 384,
        };
        assert_eq!(target.kept, kept);
        assert_eq!(middle.target(320, 384).kept, CropRect::whole(320, 384));
        assert!(middle.target(387, 385).kept.is_inside(387, 385));
    }

    #[test]
    fn impossible_fits_are_refused() {
        let path = Path::new("a.mp4");
        let message = Fit::ResizeShort {
            short: 256,
            crop: 300,
        }
        .validate(path)
        .unwrap_err()
        .to_string();
        assert!(message.contains("crop 300"), "{message}");
        assert!(Fit::Within { max_side: 0 }.validate(path).is_err());
        assert!(Fit::Native.validate(path).is_ok());
    }

    #[test]
    fn the_aspect_stretches_the_width_and_a_turn_swaps_the_sides() {
        let turned = Orientation::from_clockwise_degrees(90);
        assert_eq!(
            display_size((720, 576), (16, 11), Orientation::default()),
            (1047, 576)
        );
        assert_eq!(display_size((720, 576), (16, 11), turned), (576, 1047));
        assert_eq!(display_size((720, 576), (0, 1), turned), (576, 720));
        assert_eq!(
            display_size((720, 576), (1, 60_000), Orientation::default()),
            (720, 576)
        );
        assert!(check_size(Path::new("a"), (20_000, 10)).is_err());
        assert!(check_size(Path::new("a"), (16_000, 16_000)).is_err());
        assert!(check_size(Path::new("a"), (8_192, 4_320)).is_ok());
    }

    #[test]
    fn a_display_rectangle_is_found_in_the_coded_picture() {
        // Coded 100x50, turned clockwise: display 50x100. The display's top left 10x20 is coded left 20, bottom 10.
        let canvas = Canvas {
            display: (50, 100),
            orientation: Orientation::from_clockwise_degrees(90),
        };
        let area = Area {
            left: 0.0,
            top: 0.0,
            width: 10.0,
            height: 20.0,
        };
        let expected = Area {
            left: 0.0,
            top: 40.0,
            width: 20.0,
            height: 10.0,
        };
        assert_eq!(canvas.to_coded(area, (100, 50)), expected);
        // The same display over a picture of half the size.
        let expected = Area {
            left: 0.0,
            top: 20.0,
            width: 10.0,
            height: 5.0,
        };
        assert_eq!(canvas.to_coded(area, (50, 25)), expected);
    }

    proptest! {
        #[test]
        fn what_is_kept_lies_in_what_is_resized(
            width in 1u32..=MAX_SIDE_PX, height in 1u32..=MAX_SIDE_PX, crop in 1u32..600, extra in 0u32..100, side in 1u32..3000,
        ) {
            for fit in [Fit::Native, Fit::Within { max_side: side }, Fit::ResizeShort { short: crop + extra, crop }] {
                let target = fit.target(width, height);
                prop_assert!(target.kept.is_inside(target.resized.0, target.resized.1));
                let bytes = 3 * u64::from(target.kept.width) * u64::from(target.kept.height);
                prop_assert!(bytes <= fit.max_bytes(width, height));
            }
        }
    }
}
