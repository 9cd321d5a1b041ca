//! A decoded picture as upright RGB of the size that is wanted.
//!
//! **Colour.** swscale turns the picture into 8-bit RGB by the matrix its stream names (BT.709, BT.2020 …) and by its
//! range (limited, or full for "yuvj" formats and streams that say so). A stream that names no matrix is taken for BT.601
//! whatever its size, as ffmpeg, PyAV, decord and torchcodec do, for models have been trained on what those gave. Alpha is
//! dropped, not blended; gray and palettes become RGB.
//!
//! **Size.** The picture is resized after the conversion, in coded axes, straight from the rows that the view covers: a
//! filter never reaches over the edge of the view. Only the part that is kept is computed; of the most usual format only the
//! columns that it depends on are converted.

use std::ops::Range;
use std::sync::Arc;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{ffi, frame};
use ndarray::{Array3, s};

use super::Frame;
use super::geometry::{Area, Canvas, CropRect, Fit, LETTERBOX_GREY, Target};

/// Columns are left out in blocks of these, after which luma and chroma are aligned as vectors are.
const COLUMNS_PX: u32 = 64;

/// ffmpeg aligns rows to 64 bytes at most.
const ROW_PX: u32 = 64;

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
    scaler: Option<(Kind, u32, scaling::Context)>,
    /// The picture taken in last; of its columns only those that were wanted are sure to be there.
    rgb: frame::Video,
    taken: Option<Kind>,
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
            taken: None,
            resizer: Resizer::new(),
        }
    }

    /// Takes a picture in, to be seen as these want it. Its size and format may differ from the last one's.
    ///
    /// # Errors
    /// swscale's reason, when it cannot read the pixel format.
    pub fn load(
        &mut self,
        picture: &frame::Video,
        fits: impl Iterator<Item = Fit>,
    ) -> Result<(), String> {
        let kind = Kind::of(picture);
        let (width, height) = kind.size;
        let columns = self.columns(kind, fits);
        let across = columns.len() as u32;
        if self.taken.is_some_and(|taken| taken.size != kind.size) {
            self.rgb = frame::Video::empty();
        }
        let scaler = match &mut self.scaler {
            Some((held, held_across, scaler)) if *held == kind && *held_across == across => scaler,
            slot => &mut slot.insert((kind, across, scaler(kind, across)?)).2,
        };
        // SAFETY: the scaler was made for pictures of this kind and so many columns, and the destination has the picture's
        // size. `alloc` is only called on an empty frame, and leaves it empty when there is no memory. Columns that are
        // not all begin at an even one of planes with a byte a pixel.
        let rows = unsafe {
            if self.rgb.is_empty() {
                // Rows of whole pixels and whole vectors, so that they can be read as they lie.
                self.rgb
                    .alloc(Pixel::RGB24, width.next_multiple_of(ROW_PX), height);
                if self.rgb.is_empty() {
                    return Err(format!("no memory for a picture of {width}x{height}"));
                }
            }
            let (source, target) = (picture.as_ptr(), self.rgb.as_mut_ptr());
            let (mut from, mut to) = ((*source).data, (*target).data);
            if columns.start > 0 {
                from[0] = from[0].add(columns.start);
                from[1] = from[1].add(columns.start / 2);
                from[2] = from[2].add(columns.start / 2);
                to[0] = to[0].add(columns.start * 3);
            }
            ffi::sws_scale(
                scaler.as_mut_ptr(),
                from.as_ptr().cast(),
                (*source).linesize.as_ptr(),
                0,
                height as i32,
                to.as_ptr(),
                (*target).linesize.as_ptr(),
            )
        };
        self.taken = Some(kind);
        if rows != height as i32 {
            return Err(format!("swscale converted {rows} of {height} rows"));
        }
        Ok(())
    }

    /// What `fit` comes to in a picture of this size: the pixels that its filter may see, and in them the area that is
    /// kept.
    fn places(&self, fit: Fit, size: (u32, u32)) -> (Target, CropRect, Area) {
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
        (target, window, kept)
    }

    /// The columns of a picture of this kind that these depend on; all of them but where it is known that each pixel is
    /// converted by itself, and the same in a part of the picture. A pixel depends on those that a bilinear filter as wide as
    /// the scale reaches, and what is left out begins and ends where vectors do.
    fn columns(&self, kind: Kind, fits: impl Iterator<Item = Fit>) -> Range<usize> {
        let width = kind.size.0;
        let all = 0..width as usize;
        if !matches!(kind.format, Pixel::YUV420P | Pixel::YUVJ420P) {
            return all;
        }
        let mut wanted: Option<(f64, f64)> = None;
        for fit in fits {
            let (target, window, kept) = self.places(fit, kind.size);
            let across = self
                .canvas
                .orientation
                .swap((target.kept.width, target.kept.height))
                .0;
            let reach = (kept.width / f64::from(across)).max(1.0) + 2.0;
            let left = f64::from(window.x) + kept.left - reach;
            let right = f64::from(window.x) + kept.left + kept.width + reach;
            wanted = Some(wanted.map_or((left, right), |(l, r)| (l.min(left), r.max(right))));
        }
        let Some((left, right)) = wanted else {
            return all;
        };
        let block = COLUMNS_PX as usize;
        let start = left.max(0.0) as usize / block * block;
        let end = (right.max(0.0).ceil() as usize).next_multiple_of(block);
        start..end.min(all.end)
    }

    /// The picture taken in last, as `fit` wants it. `[height, width, 3]`.
    pub fn fit(&mut self, fit: Fit) -> Result<Frame, String> {
        let Some(Kind { size, .. }) = self.taken else {
            return Err("no picture was taken in".to_owned());
        };
        let (target, window, kept) = self.places(fit, size);
        let orientation = self.canvas.orientation;
        let (width, height) = orientation.swap((target.kept.width, target.kept.height));

        let whole = Area {
            left: 0.0,
            top: 0.0,
            width: window.width.into(),
            height: window.height.into(),
        };
        let rgb = if kept == whole && (width, height) == (window.width, window.height) {
            self.copied(window)
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

    /// The pixels of the window.
    fn copied(&self, window: CropRect) -> Vec<u8> {
        let stride = self.rgb.stride(0);
        let (left, width) = (window.x as usize * 3, window.width as usize * 3);
        let mut pixels = Vec::with_capacity(width * window.height as usize);
        let rows = self.rgb.data(0).chunks(stride);
        for row in rows.skip(window.y as usize).take(window.height as usize) {
            pixels.extend_from_slice(&row[left..left + width]);
        }
        pixels
    }

    fn resize(
        &mut self,
        window: CropRect,
        kept: Area,
        (width, height): (u32, u32),
    ) -> Result<Vec<u8>, String> {
        let stride = self.rgb.stride(0);
        if !stride.is_multiple_of(3) {
            return Err(format!("rows of {stride} bytes are no whole pixels"));
        }
        let row_px = (stride / 3) as u32;
        let picture = ImageRef::new(row_px, self.rgb.height(), self.rgb.data(0), PixelType::U8x3)
            .map_err(|error| error.to_string())?;
        let CropRect {
            x,
            y,
            width: across,
            height: down,
        } = window;
        let source =
            CroppedImage::new(&picture, x, y, across, down).map_err(|error| error.to_string())?;
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

/// A scaler for so many columns of pictures of this kind.
fn scaler(kind: Kind, width: u32) -> Result<scaling::Context, String> {
    let height = kind.size.1;
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
#[path = "convert_tests.rs"]
mod tests;
