//! Where a model runs, and how precisely.
//!
//! The program is linked against the CPU parts of libtorch only. CUDA is found at run time: `libtorch_cuda.so` of the
//! same libtorch build is opened with its symbols global before libtorch is first asked about CUDA; once asked without
//! it, libtorch goes on saying that there is none. So the library is opened here, once, and never for `cpu`.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::str::FromStr;
use std::sync::{Once, OnceLock};

use crate::error::{ModelError, Result};

/// The device a user asks for: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this process's local rank, wrapping round when there are fewer devices than processes.
    Cuda,
    /// The CUDA device of this index.
    CudaIndex(usize),
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda),
            _ => text
                .strip_prefix("cuda:")
                .filter(|index| index.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|index| index.parse().ok())
                .map(DeviceChoice::CudaIndex)
                .ok_or_else(|| ModelError::Device {
                    wanted: text.to_owned(),
                    reason: "is not a device; allowed: auto, cpu, cuda, cuda:N (N = 0, 1, …)"
                        .into(),
                }),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda => f.write_str("cuda"),
            DeviceChoice::CudaIndex(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// The concrete device for the process with this rank on its machine (0, 1, …).
    ///
    /// # Errors
    /// [`ModelError::Device`] when CUDA is asked for and cannot be had. `auto` never fails: it takes the CPU and logs
    /// that once.
    pub fn resolve(self, local_rank: usize) -> Result<Device> {
        let wrapped = |count: usize| local_rank % count;
        match self {
            DeviceChoice::Cpu => Ok(Device::cpu()),
            DeviceChoice::Auto => match cuda_devices() {
                Ok(count) => Ok(Device::cuda(wrapped(count))),
                Err(reason) => {
                    static LOGGED: Once = Once::new();
                    LOGGED
                        .call_once(|| tracing::info!(reason, "no CUDA device, running on the CPU"));
                    Ok(Device::cpu())
                }
            },
            DeviceChoice::Cuda => match cuda_devices() {
                Ok(count) => Ok(Device::cuda(wrapped(count))),
                Err(reason) => Err(self.refused(reason.to_owned())),
            },
            DeviceChoice::CudaIndex(index) => match cuda_devices() {
                Ok(count) if index < count => Ok(Device::cuda(index)),
                Ok(count) => Err(self.refused(format!(
                    "there is no such device; allowed: cuda:0 to cuda:{}",
                    count - 1
                ))),
                Err(reason) => Err(self.refused(reason.to_owned())),
            },
        }
    }

    fn refused(self, reason: String) -> ModelError {
        ModelError::Device {
            wanted: self.to_string(),
            reason,
        }
    }
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    inner: tch::Device,
    name: String,
    memory_bytes: Option<u64>,
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        Device {
            inner: tch::Device::Cpu,
            name: "cpu".into(),
            memory_bytes: None,
        }
    }

    fn cuda(index: usize) -> Self {
        let (name, memory_bytes) = cuda_properties(index);
        Device {
            inner: tch::Device::Cuda(index),
            name: name.unwrap_or_else(|| format!("cuda:{index}")),
            memory_bytes,
        }
    }

    /// What the device calls itself: `cpu`, `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device as it is written in a pipeline: `cpu`, `cuda:0`.
    pub fn id(&self) -> String {
        match self.inner {
            tch::Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".into(),
        }
    }

    /// Whether this is a CUDA device.
    pub fn is_cuda(&self) -> bool {
        self.inner.is_cuda()
    }

    /// The device's own memory in bytes; `None` for the CPU and where the driver does not say.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes
    }

    /// The device in libtorch's terms, for training and benchmarks.
    pub fn tch(&self) -> tch::Device {
        self.inner
    }
}

/// The precision that weights and activations are held in. Scores are f32 whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats. One exception, which tch has no switch for: on GPUs from Ampere on, cuDNN's convolutions (those of a
    /// detector; classifiers have none) round what they multiply to TF32, 11 significant bits. With
    /// `NVIDIA_TF32_OVERRIDE=0` in the environment they do not.
    #[default]
    F32,
    /// bfloat16: the range of f32 with 8 significant bits.
    Bf16,
    /// IEEE half: 11 significant bits, largest value 65504.
    F16,
}

impl Precision {
    /// The element type in libtorch's terms.
    pub fn kind(self) -> tch::Kind {
        match self {
            Precision::F32 => tch::Kind::Float,
            Precision::Bf16 => tch::Kind::BFloat16,
            Precision::F16 => tch::Kind::Half,
        }
    }

    /// Bytes of one weight or activation.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Bf16 | Precision::F16 => 2,
        }
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => Ok(Precision::F16),
            _ => Err(ModelError::Input(format!(
                "precision: found {text:?}, allowed: f32, bf16, f16"
            ))),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        })
    }
}

/// Sets how many CPU threads a libtorch operation that *this* thread starts may use, itself included (at least 1).
///
/// libtorch's threads are OpenMP's: `at::set_num_threads` sets the number for the thread that calls it, and for threads
/// that have not started an operation yet. So whoever runs a model says so on the thread that runs it, before it does;
/// saying the same again costs nothing. Operations are never run beside one another inside a model, so the pool for that
/// is kept to one thread.
pub fn set_threads(threads: usize) {
    static INTER_OP: Once = Once::new();
    thread_local!(static SET: Cell<usize> = const { Cell::new(0) });
    // libtorch allows this one call only once in a process.
    INTER_OP.call_once(|| tch::set_num_interop_threads(1));
    let threads = threads.max(1);
    if SET.replace(threads) != threads {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    }
}

/// Gives memory that was freed, and is kept for reuse, back to the machine. On the CPU that is what the C library keeps; on
/// a GPU nothing is done: libtorch's C interface has no way to, and its allocator does it by itself before it says that
/// memory is out.
pub fn clear_cache(device: &Device) {
    #[cfg(target_env = "gnu")]
    if !device.is_cuda() {
        // SAFETY: the function only touches the allocator, which is its own to lock.
        unsafe { libc::malloc_trim(0) };
    }
}

/// The number of CUDA devices, at least one; or why there are none.
fn cuda_devices() -> Result<usize, &'static str> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            open_library(c"libtorch_cuda.so").map_err(|reason| {
                format!(
                    "CUDA is not available: {reason} (put the lib folder of the CUDA build of this libtorch on \
                     LD_LIBRARY_PATH)"
                )
            })?;
            match usize::try_from(tch::Cuda::device_count()) {
                Ok(count) if count > 0 => Ok(count),
                _ => Err("CUDA is not available: libtorch_cuda.so is there, but no device is visible (look at \
                          nvidia-smi and CUDA_VISIBLE_DEVICES)"
                    .to_owned()),
            }
        })
        .as_ref()
        .copied()
        .map_err(String::as_str)
}

/// Opens a shared library for good, its symbols global.
fn open_library(name: &CStr) -> Result<*mut libc::c_void, String> {
    // SAFETY: `name` is a C string; the libraries opened here (libtorch's and the driver's) are made to be opened so,
    // and are never closed.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: dlerror gives null or a C string that lives until the next dl call of this thread.
    let reason = unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            format!("cannot open {}", name.to_string_lossy())
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    Err(reason)
}

/// A CUDA device's name and memory, as the driver tells them; the driver counts devices as libtorch does.
fn cuda_properties(index: usize) -> (Option<String>, Option<u64>) {
    type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    type TotalMemory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
    const NAME_BYTES: usize = 256;

    let Ok(driver) = open_library(c"libcuda.so.1") else {
        return (None, None);
    };
    // SAFETY: the three functions are the CUDA driver's, with the signatures of cuda.h; each symbol is checked before
    // it is called, and the buffers outlive the calls. libtorch has initialised the driver by counting devices.
    unsafe {
        let get_device = libc::dlsym(driver, c"cuDeviceGet".as_ptr());
        let get_name = libc::dlsym(driver, c"cuDeviceGetName".as_ptr());
        let total_memory = libc::dlsym(driver, c"cuDeviceTotalMem_v2".as_ptr());
        if get_device.is_null() || get_name.is_null() || total_memory.is_null() {
            return (None, None);
        }
        let get_device = std::mem::transmute::<*mut libc::c_void, GetDevice>(get_device);
        let get_name = std::mem::transmute::<*mut libc::c_void, GetName>(get_name);
        let total_memory = std::mem::transmute::<*mut libc::c_void, TotalMemory>(total_memory);

        let mut device: c_int = 0;
        if get_device(&raw mut device, index as c_int) != 0 {
            return (None, None);
        }
        let mut buffer = [0u8; NAME_BYTES];
        // One byte less than there is room for: the text always ends in a zero.
        let named = get_name(
            buffer.as_mut_ptr().cast(),
            (NAME_BYTES - 1) as c_int,
            device,
        ) == 0;
        let name = CStr::from_bytes_until_nul(&buffer)
            .ok()
            .filter(|_| named)
            .map(|text| text.to_string_lossy().into_owned());
        let mut bytes = 0usize;
        let memory = (total_memory(&raw mut bytes, device) == 0).then_some(bytes as u64);
        (name, memory)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_parsed_and_printed_alike() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:13"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "gpu",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "CPU",
            "cuda:99999999999999999999",
        ] {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(
                message.contains("allowed: auto, cpu, cuda, cuda:N"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        let device = DeviceChoice::Cpu.resolve(3).unwrap();
        assert_eq!(
            (device.name(), device.id().as_str(), device.is_cuda()),
            ("cpu", "cpu", false)
        );
    }

    #[test]
    fn auto_takes_what_cuda_gives_or_the_cpu() {
        let auto = DeviceChoice::Auto.resolve(0).unwrap();
        match DeviceChoice::Cuda.resolve(0) {
            Ok(cuda) => assert_eq!(auto, cuda),
            Err(error) => {
                assert!(!auto.is_cuda());
                assert!(
                    error
                        .to_string()
                        .contains("\"cuda\": CUDA is not available"),
                    "{error}"
                );
            }
        }
        let missing = DeviceChoice::CudaIndex(4096)
            .resolve(0)
            .unwrap_err()
            .to_string();
        assert!(missing.contains("cuda:4096"), "{missing}");
    }

    #[test]
    fn each_thread_has_its_own_number_of_threads() {
        set_threads(0);
        assert_eq!(tch::get_num_threads(), 1);
        std::thread::spawn(|| {
            set_threads(3);
            assert_eq!(tch::get_num_threads(), 3);
        })
        .join()
        .unwrap();
        assert_eq!(
            (tch::get_num_threads(), tch::get_num_interop_threads()),
            (1, 1)
        );
        set_threads(2);
        assert_eq!(tch::get_num_threads(), 2);
    }

    #[test]
    fn precisions_are_parsed_and_printed_alike() {
        for text in ["f32", "bf16", "f16"] {
            assert_eq!(text.parse::<Precision>().unwrap().to_string(), text);
        }
        assert!(
            "fp16"
                .parse::<Precision>()
                .unwrap_err()
                .to_string()
                .contains("f32, bf16, f16")
        );
    }
}
