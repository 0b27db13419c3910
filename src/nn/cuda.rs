//! Finds NVIDIA GPUs and opens one for dfdx. It asks the driver first, in calls that answer with an error,
//! because dfdx's own constructor panics where there is no GPU. It knows no network.

use std::any::Any;
use std::ffi::{CStr, c_int};
use std::panic::catch_unwind;

use cudarc::driver::{DriverError, result, sys};
use dfdx::prelude::*;

use super::device::{Driver, Gpu, NoGpu};

/// The driver and its GPUs.
///
/// # Errors
/// Why there are none.
pub fn driver() -> Result<Driver, NoGpu> {
    let asked = || {
        result::init()?;
        let gpus = (0..result::device::get_count()?).map(describe).collect::<Result<Vec<_>, _>>()?;
        Ok(Driver { cuda: version()?, gpus })
    };
    match asked() {
        Ok(driver) if driver.gpus.is_empty() => Err(NoGpu::None),
        Ok(driver) => Ok(driver),
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Err(NoGpu::None),
        // Its name and not its message, which a driver that does not answer cannot give.
        Err(DriverError(error)) => Err(NoGpu::Driver(format!("{error:?}"))),
    }
}

/// Opens a GPU for this thread and checks that it computes.
///
/// # Errors
/// Why it cannot be used.
pub fn open(number: usize) -> Result<Cuda, NoGpu> {
    let name = driver()?.gpu(number)?.name.clone();
    let opened = catch_unwind(|| {
        let device = Cuda::try_build(number, 0).map_err(|error| error.to_string())?;
        keep_freed_memory(number).map_err(|error| format!("the driver's memory pool: {error:?}"))?;
        match product(&device).map_err(|error| error.to_string())? {
            6.0 => Ok(device),
            other => Err(format!("2 times 3 gave {other}")),
        }
    });
    let opened = opened.unwrap_or_else(|panic| Err(message(&*panic)));
    opened.map_err(|problem| NoGpu::Broken { number, name, problem })
}

/// Has the driver keep freed memory for the next allocation. By itself it returns it to the system at each
/// synchronization, which costs 6 to 14 % of a training step. A GPU without such a pool computes all the same.
fn keep_freed_memory(number: usize) -> Result<(), DriverError> {
    let device = result::device::get(number as c_int)?;
    let (mut pool, mut kept) = (std::ptr::null_mut(), u64::MAX);
    let pools = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the driver has just given this device, writes one pool to where it is told, and reads one number.
    unsafe {
        if result::device::get_attribute(device, pools)? > 0 {
            sys::cuDeviceGetDefaultMemPool(&raw mut pool, device).result()?;
            sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut kept).cast()).result()?;
        }
    }
    Ok(())
}

/// 2 times 3, by one of dfdx's kernels and by cuBLAS.
fn product(device: &Cuda) -> Result<f32, <Cuda as HasErr>::Err> {
    let two: Tensor<Rank2<1, 1>, f32, Cuda> = device.try_tensor_from_vec(vec![2.0], Default::default())?;
    let three = two.clone().try_add(1.0)?;
    Ok(two.try_matmul(three)?.as_vec()[0])
}

fn describe(number: c_int) -> Result<Gpu, DriverError> {
    let device = result::device::get(number)?;
    // SAFETY: the driver has just given this device.
    let memory = unsafe { result::device::total_mem(device) }?;
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is as long as the driver is told, and the device is one it gave.
    unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as c_int, device) }.result()?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy().into_owned();
    Ok(Gpu { name, memory: memory as u64 })
}

/// The newest version of CUDA that the driver knows.
fn version() -> Result<(u32, u32), DriverError> {
    let mut version: c_int = 0;
    // SAFETY: the driver writes one number to where it is told.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    let version = version.unsigned_abs(); // 1000 major + 10 minor
    Ok((version / 1000, version % 1000 / 10))
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked").to_owned()
}
