//! A decoded picture as upright RGB of the size that is wanted.
//!
//! **Colour.** swscale turns the picture into 8-bit RGB by the matrix its stream names (BT.709, BT.2020 …) and by its
//! range (limited, or full for "yuvj" formats and streams that say so). A stream that names no matrix is taken for BT.601
//! whatever its size, as ffmpeg, PyAV, decord and torchcodec do, for models have been trained on what those gave. Alpha is
//! dropped, not blended; gray and palettes become RGB.
//!
//! **Size.** The picture is resized after the conversion, in coded axes, straight from the rows that the view covers: a
//! filter never reaches over the edge of the view. Only the part that is kept is computed.

use std::sync::Arc;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{ffi, frame};
use ndarray::{Array3, s};

use super::Frame;
use super::geometry::{Area, Canvas, CropRect, Fit, LETTERBOX_GREY};

const UNSPECIFIED_COLORSPACE: i32 = 2;
const FULL_RANGE: i32 = 2;

/// All that a scaler depends on.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    format: Pixel,
    size: (u32, u32),
    colorspace: i32,
    full_range: bool,
}

impl Kind {
    fn of(picture: &frame::Video) -> Self {
        // SAFETY: both are C enums read as the integers they are, for a stream may say any number.
        let (colorspace, range) = unsafe {
            let raw = picture.as_ptr();
            (
                (&raw const (*raw).colorspace).cast::<i32>().read(),
                (&raw const (*raw).color_range).cast::<i32>().read(),
            )
        };
        let format = picture.format();
        let always_full = matches!(
            format,
            Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P
        );
        Self {
            format,
            size: (picture.width(), picture.height()),
            colorspace,
            full_range: always_full || range == FULL_RANGE,
        }
    }
}

/// Converts pictures, keeping scaler and buffers from one to the next.
pub(crate) struct Converter {
    canvas: Canvas,
    view: CropRect,
    scaler: Option<(Kind, scaling::Context)>,
    rgb: frame::Video,
    window: Vec<u8>,
    resizer: Resizer,
}

impl Converter {
    /// For the pictures of a video with this canvas, of which only the view is looked at.
    pub fn new(canvas: Canvas, view: CropRect) -> Self {
        Self {
            canvas,
            view,
            scaler: None,
            rgb: frame::Video::empty(),
            window: Vec::new(),
            resizer: Resizer::new(),
        }
    }

    /// Takes a picture in. Its size and format may differ from the last one's.
    ///
    /// # Errors
    /// swscale's reason, when it cannot read the pixel format.
    pub fn load(&mut self, picture: &frame::Video) -> Result<(), String> {
        let kind = Kind::of(picture);
        let scaler = match &mut self.scaler {
            Some((held, scaler)) if *held == kind => scaler,
            slot => {
                self.rgb = frame::Video::empty();
                &mut slot.insert((kind, scaler(kind)?)).1
            }
        };
        let (width, height) = kind.size;
        // SAFETY: the scaler was made for pictures of this kind, and the destination has its size and format. `alloc` is
        // only called on an empty frame, and leaves it empty when there is no memory.
        let rows = unsafe {
            if self.rgb.is_empty() {
                self.rgb.alloc(Pixel::RGB24, width, height);
                if self.rgb.is_empty() {
                    return Err(format!("no memory for a picture of {width}x{height}"));
                }
            }
            let (source, target) = (picture.as_ptr(), self.rgb.as_mut_ptr());
            ffi::sws_scale(
                scaler.as_mut_ptr(),
                (*source).data.as_ptr().cast(),
                (*source).linesize.as_ptr(),
                0,
                height as i32,
                (*target).data.as_ptr(),
                (*target).linesize.as_ptr(),
            )
        };
        if rows != height as i32 {
            return Err(format!("swscale converted {rows} of {height} rows"));
        }
        Ok(())
    }

    /// The picture taken in last, as `fit` wants it. `[height, width, 3]`.
    pub fn fit(&mut self, fit: Fit) -> Result<Frame, String> {
        let Some((Kind { size, .. }, _)) = self.scaler else {
            return Err("no picture was taken in".to_owned());
        };
        let view = Area {
            left: self.view.x.into(),
            top: self.view.y.into(),
            width: self.view.width.into(),
            height: self.view.height.into(),
        };
        let target = fit.target(self.view.width, self.view.height);
        let scale_x = view.width / f64::from(target.resized.0);
        let scale_y = view.height / f64::from(target.resized.1);
        let kept = Area {
            left: view.left + f64::from(target.kept.x) * scale_x,
            top: view.top + f64::from(target.kept.y) * scale_y,
            width: f64::from(target.kept.width) * scale_x,
            height: f64::from(target.kept.height) * scale_y,
        };
        let window = covering(self.canvas.to_coded(view, size), size);
        let kept = within(self.canvas.to_coded(kept, size), window);
        let orientation = self.canvas.orientation;
        let (width, height) = orientation.swap((target.kept.width, target.kept.height));

        self.copy_window(window);
        let whole = Area {
            left: 0.0,
            top: 0.0,
            width: window.width.into(),
            height: window.height.into(),
        };
        let rgb = if kept == whole && (width, height) == (window.width, window.height) {
            std::mem::take(&mut self.window)
        } else {
            self.resize(window, kept, (width, height))?
        };
        let upright = orientation.apply(rgb, width as usize, height as usize);
        let shape = (target.kept.height as usize, target.kept.width as usize, 3);
        let frame = Array3::from_shape_vec(shape, upright).map_err(|error| error.to_string())?;
        Ok(Arc::new(match fit {
            Fit::Letterbox { size } => boxed(&frame, size as usize),
            _ => frame,
        }))
    }

    /// Copies the rows of the window, without padding.
    fn copy_window(&mut self, window: CropRect) {
        let stride = self.rgb.stride(0);
        let (left, width) = (window.x as usize * 3, window.width as usize * 3);
        self.window.clear();
        self.window.reserve_exact(width * window.height as usize);
        let rows = self.rgb.data(0).chunks(stride);
        for row in rows.skip(window.y as usize).take(window.height as usize) {
            self.window.extend_from_slice(&row[left..left + width]);
        }
    }

    fn resize(
        &mut self,
        window: CropRect,
        kept: Area,
        (width, height): (u32, u32),
    ) -> Result<Vec<u8>, String> {
        let source = ImageRef::new(window.width, window.height, &self.window, PixelType::U8x3)
            .map_err(|error| error.to_string())?;
        let mut resized = Image::new(width, height, PixelType::U8x3);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(kept.left, kept.top, kept.width, kept.height);
        self.resizer
            .resize(&source, &mut resized, &options)
            .map_err(|error| error.to_string())?;
        Ok(resized.into_vec())
    }
}

/// A picture in the middle of a grey square that it fits into.
fn boxed(picture: &Array3<u8>, size: usize) -> Array3<u8> {
    let (height, width, _) = picture.dim();
    let (top, left) = ((size - height) / 2, (size - width) / 2);
    let mut square = Array3::from_elem((size, size, 3), LETTERBOX_GREY);
    square
        .slice_mut(s![top..top + height, left..left + width, ..])
        .assign(picture);
    square
}

fn scaler(kind: Kind) -> Result<scaling::Context, String> {
    let (width, height) = kind.size;
    let mut scaler = scaling::Context::get(
        kind.format,
        width,
        height,
        Pixel::RGB24,
        width,
        height,
        scaling::Flags::BILINEAR,
    )
    .map_err(|_| {
        format!(
            "swscale cannot read {:?} pictures of {width}x{height}",
            kind.format
        )
    })?;
    let colorspace = match kind.colorspace {
        UNSPECIFIED_COLORSPACE => ffi::SWS_CS_DEFAULT,
        named => named,
    };
    // SAFETY: the tables are static, for any number; the answer only says that RGB has no matrix.
    unsafe {
        let table = ffi::sws_getCoefficients(colorspace);
        ffi::sws_setColorspaceDetails(
            scaler.as_mut_ptr(),
            table,
            kind.full_range.into(),
            table,
            0,
            0,
            1 << 16,
            1 << 16,
        );
    }
    Ok(scaler)
}

/// Whole pixels of a picture of `size` that cover an area; edges within a millionth of a pixel of a border are on it.
fn covering(area: Area, size: (u32, u32)) -> CropRect {
    let span = |from: f64, length: f64, limit: u32| {
        let start = ((from + 1e-6).floor().max(0.0) as u32).min(limit - 1);
        let end = ((from + length - 1e-6).ceil() as u32).clamp(start + 1, limit);
        (start, end - start)
    };
    let (x, width) = span(area.left, area.width, size.0);
    let (y, height) = span(area.top, area.height, size.1);
    CropRect {
        x,
        y,
        width,
        height,
    }
}

/// An area relative to the window it lies in, without the specks by which rounding lets it stick out.
fn within(area: Area, window: CropRect) -> Area {
    let span = |from: f64, length: f64, origin: u32, limit: u32| {
        let limit = f64::from(limit);
        let snap = |edge: f64| match (edge - edge.round()).abs() < 1e-6 {
            true => edge.round().clamp(0.0, limit),
            false => edge.clamp(0.0, limit),
        };
        let start = snap(from - f64::from(origin));
        (start, snap(from - f64::from(origin) + length) - start)
    };
    let (left, width) = span(area.left, area.width, window.x, window.width);
    let (top, height) = span(area.top, area.height, window.y, window.height);
    Area {
        left,
        top,
        width,
        height,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        converter.load(picture).unwrap();
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
        converter.copy_window(CropRect::whole(131, 77));
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
}
