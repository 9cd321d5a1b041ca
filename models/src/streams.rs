//! A CUDA stream for each instance of a model, so that the copies of one overlap with the work of another.
//!
//! An instance takes its stream when it is made and works on it whichever thread calls: libtorch's allocator keeps the
//! memory that was freed for the stream that it was used on, so what a warm-up brought in is there for the first batch.
//! Which stream is current is a matter of the thread in libtorch, so it is set for the time of each call, and put back.
//!
//! tch has no streams. libtorch's C interfaces (`torch/csrc/stable/c/shim.h`, `torch/csrc/inductor/aoti_torch/c/shim.h`)
//! have: three functions in `libtorch_cuda.so`, found at run time as that library is. Where they are not found, all
//! instances use the default stream, which is right and slower.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;
use std::sync::Once;

use crate::device::Device;

/// A stream of libtorch's pool on a CUDA device. Streams of the pool live as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    handle: *mut c_void,
    index: i32,
}

// SAFETY: the handle names a stream of the driver, which any thread may use; it is never freed.
unsafe impl Send for Stream {}

/// A stream that is current on this thread until this is dropped, which happens on this thread too.
#[must_use = "the stream is current only while this is held"]
pub(crate) struct Entered(*mut c_void);

impl Stream {
    /// A stream on that device if it is a GPU, after all that was put on the device has arrived there: whoever makes an
    /// instance calls this last.
    pub fn take(device: &Device) -> Option<Self> {
        let tch::Device::Cuda(index) = device.tch() else {
            return None;
        };
        tch::Cuda::synchronize(index as i64);
        match Self::from_pool(index) {
            Ok(stream) => Some(stream),
            Err(reason) => {
                log_once(reason);
                None
            }
        }
    }

    fn from_pool(index: usize) -> Result<Self, &'static str> {
        type FromPool = unsafe extern "C" fn(bool, i32, *mut *mut c_void) -> i32;
        let index = i32::try_from(index).map_err(|_| "no such device")?;
        let from_pool = symbol(c"torch_get_cuda_stream_from_pool")?;
        let mut handle = null_mut();
        // SAFETY: the function has the signature of libtorch 2.11's `stable/c/shim.h`, and writes one handle.
        let code = unsafe {
            let from_pool = std::mem::transmute::<*mut c_void, FromPool>(from_pool);
            from_pool(false, index, &raw mut handle)
        };
        if code == 0 {
            Ok(Stream { handle, index })
        } else {
            Err("libtorch gave no stream")
        }
    }

    /// Lets this thread work on the stream until what this gives is dropped.
    pub fn enter(self) -> Option<Entered> {
        match self.guard() {
            Ok(entered) => Some(entered),
            Err(reason) => {
                log_once(reason);
                None
            }
        }
    }

    fn guard(self) -> Result<Entered, &'static str> {
        type CreateGuard = unsafe extern "C" fn(*mut c_void, i32, *mut *mut c_void) -> i32;
        let create = symbol(c"aoti_torch_create_cuda_stream_guard")?;
        // Looked up first: what is entered can be left.
        symbol(DELETE_GUARD)?;
        let mut guard = null_mut();
        // SAFETY: the function has the signature of libtorch 2.11's `aoti_torch/c/shim.h`, and writes one handle; the
        // stream is one of the device's.
        let code = unsafe {
            let create = std::mem::transmute::<*mut c_void, CreateGuard>(create);
            create(self.handle, self.index, &raw mut guard)
        };
        if code == 0 {
            Ok(Entered(guard))
        } else {
            Err("libtorch did not change the stream")
        }
    }
}

const DELETE_GUARD: &CStr = c"aoti_torch_delete_cuda_stream_guard";

impl Drop for Entered {
    fn drop(&mut self) {
        type DeleteGuard = unsafe extern "C" fn(*mut c_void) -> i32;
        if let Ok(delete) = symbol(DELETE_GUARD) {
            // SAFETY: the function has the signature of libtorch 2.11's `aoti_torch/c/shim.h`; the guard was made by its
            // counterpart on this thread (a raw pointer is not `Send`) and is given back once.
            unsafe {
                let delete = std::mem::transmute::<*mut c_void, DeleteGuard>(delete);
                delete(self.0);
            }
        }
    }
}

/// A function of libtorch's, wherever it was loaded from.
fn symbol(name: &CStr) -> Result<*mut c_void, &'static str> {
    // SAFETY: `name` is a C string, and looking a symbol up runs no code of its library.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        Err("this libtorch has no functions for streams")
    } else {
        Ok(found)
    }
}

fn log_once(reason: &'static str) {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| tracing::info!(reason, "all model instances use one CUDA stream"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_no_streams() {
        assert!(Stream::take(&Device::cpu()).is_none());
    }
}
