//! Frames on their way from the host to a network: bytes go over, and become numbers there.

use ndarray::{ArrayView3, ArrayViewMut4};
use tch::{Kind, Tensor};

use crate::error::{ModelError, Result};

/// Puts `count` frames, each [height, width, 3], on the device as u8 [count, height, width, 3]: a quarter of the bytes
/// that normalised frames would take.
///
/// # Errors
/// When a frame has another size than the first, or the device has no room.
pub(crate) fn upload<'f, 'p: 'f>(
    frames: impl Iterator<Item = &'f ArrayView3<'p, u8>>,
    (count, height, width): (usize, usize, usize),
    device: tch::Device,
) -> Result<Tensor> {
    let shape = [count as i64, height as i64, width as i64, 3];
    let tensor = Tensor::f_empty(shape, (Kind::Uint8, tch::Device::Cpu))?;
    // SAFETY: the tensor was made a line above: contiguous, on the CPU, of so many bytes, and nobody else has it.
    let mut bytes = unsafe {
        let start = tensor.data_ptr().cast::<u8>();
        ArrayViewMut4::from_shape_ptr((count, height, width, 3), start)
    };
    let mut filled = 0;
    for (frame, mut place) in frames.zip(bytes.outer_iter_mut()) {
        if frame.dim() != (height, width, 3) {
            return Err(ModelError::Input(format!(
                "frame {filled}: found {}, allowed: {height} x {width} x 3 as the others",
                dimensions(frame)
            )));
        }
        place.assign(frame);
        filled += 1;
    }
    if filled != count {
        return Err(ModelError::Input(format!(
            "found {filled} frames where {count} were said to come"
        )));
    }
    if !device.is_cuda() {
        return Ok(tensor);
    }
    // From pinned memory the copy runs beside what other streams compute; this one goes on when it is there.
    let pinned = tensor.f_pin_memory(device)?;
    Ok(pinned.f_to_device_(device, Kind::Uint8, true, false)?)
}

/// The colours that a classifier wants, as one multiplication and one addition: `(x / 255 - mean) / std` is
/// `x * scale + shift` with `scale = 1 / (255 std)` and `shift = -mean / std`, both [3, 1, 1] in f32 on the device.
pub(crate) struct Colours {
    scale: Tensor,
    shift: Tensor,
}

impl Colours {
    /// For channel means and deviations in 0..1.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(mean: &[f32; 3], std: &[f32; 3], device: tch::Device) -> Result<Self> {
        let placed = |value: &dyn Fn(f64, f64) -> f64| -> Result<Tensor> {
            let values = [0, 1, 2].map(|c| value(f64::from(mean[c]), f64::from(std[c])) as f32);
            Ok(Tensor::f_from_slice(&values)?
                .f_view([3, 1, 1])?
                .f_to(device)?)
        };
        Ok(Colours {
            scale: placed(&|_, std| 1.0 / (255.0 * std))?,
            shift: placed(&|mean, std| -mean / std)?,
        })
    }

    /// Bytes [.., 3, h, w] to normalised numbers of the same shape in f32, of which there is one copy at any time.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    pub fn applied(&self, bytes: &Tensor) -> Result<Tensor> {
        let mut numbers = bytes.f_to_kind(Kind::Float)?;
        let _ = numbers.f_mul_(&self.scale)?;
        Ok(numbers.f_add_(&self.shift)?)
    }
}

/// Bytes of any shape to numbers in 0..1 in f32, of which there is one copy at any time.
///
/// # Errors
/// When libtorch refuses (memory).
pub(crate) fn unit(bytes: &Tensor) -> Result<Tensor> {
    Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar_(255.0)?)
}

/// A frame's size as it is shown in messages.
pub(crate) fn dimensions(frame: &ArrayView3<'_, u8>) -> String {
    let (height, width, channels) = frame.dim();
    format!("{height} x {width} x {channels}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_product_and_one_sum_are_the_formula() {
        let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
        let every = (0..=255u8).collect::<Vec<_>>();
        let bytes = Tensor::from_slice(&every).view([1, 1, 16, 16]);
        let bytes = bytes.expand([2, 3, 16, 16], false);
        let colours = Colours::new(&mean, &std, tch::Device::Cpu).unwrap();
        let got = colours.applied(&bytes).unwrap();
        assert_eq!((got.size(), got.kind()), (vec![2, 3, 16, 16], Kind::Float));
        for c in 0..3 {
            let (mean, std) = (f64::from(mean[c]), f64::from(std[c]));
            for value in 0..256 {
                let want = (value as f64 / 255.0 - mean) / std;
                let found = got.double_value(&[1, c as i64, value / 16, value % 16]);
                assert!((found - want).abs() < 1e-6, "{c}, {value}: {found} {want}");
            }
        }
        let halves = unit(&bytes).unwrap();
        assert_eq!(halves.double_value(&[0, 0, 15, 15]), 1.0);
        assert_eq!(bytes.kind(), Kind::Uint8);
    }
}
