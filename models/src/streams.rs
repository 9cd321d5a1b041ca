//! A CUDA stream for each thread that runs models, so that the copies of one instance overlap with the work of another.
//!
//! tch has no streams. libtorch's stable C interface (`torch/csrc/stable/c/shim.h`) has: two functions in
//! `libtorch_cuda.so`, found at run time as that library is. Where they are not found, all threads use the default
//! stream, which is right and slower. Which stream is current is a matter of the thread in libtorch, so it is set once a
//! thread. Weights are put on the device before any of these threads starts, and are waited for.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Once;

use crate::device::Device;

/// Lets this thread work on a stream of its own on that device, if it is a GPU; the first call does it.
pub(crate) fn enter(device: &Device) {
    thread_local!(static ENTERED: Cell<Option<usize>> = const { Cell::new(None) });
    let tch::Device::Cuda(index) = device.tch() else {
        return;
    };
    if ENTERED.replace(Some(index)) == Some(index) {
        return;
    }
    // What other threads put on the device is there before this stream looks at it.
    tch::Cuda::synchronize(index as i64);
    if let Err(reason) = take_stream(index) {
        static LOGGED: Once = Once::new();
        LOGGED.call_once(|| tracing::info!(reason, "all model instances use one CUDA stream"));
    }
}

fn take_stream(index: usize) -> Result<(), &'static str> {
    type FromPool = unsafe extern "C" fn(bool, i32, *mut *mut c_void) -> i32;
    type SetCurrent = unsafe extern "C" fn(*mut c_void, i32) -> i32;
    let index = i32::try_from(index).map_err(|_| "no such device")?;
    // SAFETY: the functions have the signatures of libtorch 2.11's stable C interface, and each symbol is checked before
    // it is called. Streams of the pool live as long as the process.
    unsafe {
        let from_pool = libc::dlsym(
            libc::RTLD_DEFAULT,
            c"torch_get_cuda_stream_from_pool".as_ptr(),
        );
        let set_current = libc::dlsym(
            libc::RTLD_DEFAULT,
            c"torch_set_current_cuda_stream".as_ptr(),
        );
        if from_pool.is_null() || set_current.is_null() {
            return Err("this libtorch has no functions for streams");
        }
        let from_pool = std::mem::transmute::<*mut c_void, FromPool>(from_pool);
        let set_current = std::mem::transmute::<*mut c_void, SetCurrent>(set_current);
        let mut stream = std::ptr::null_mut();
        if from_pool(false, index, &raw mut stream) != 0 || set_current(stream, index) != 0 {
            return Err("libtorch gave no stream");
        }
    }
    Ok(())
}
