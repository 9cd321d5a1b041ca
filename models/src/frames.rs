//! Frames on their way from the host to a device.

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

/// A frame's size as it is shown in messages.
pub(crate) fn dimensions(frame: &ArrayView3<'_, u8>) -> String {
    let (height, width, channels) = frame.dim();
    format!("{height} x {width} x {channels}")
}
