//! Gives libFuzzer, which brings the `main`, the target that `FUZZ_TARGET` names.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls by name and hands over a pointer")]

use std::{env, panic, process, sync::LazyLock};

use guildhall_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        eprintln!("FUZZ_TARGET must be one of {:?}", TARGETS.iter().map(|t| t.name).collect::<Vec<_>>());
        process::exit(2);
    };
    // libFuzzer keeps the input of a process that aborts.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::abort();
    }));
    target
});

/// # Safety
/// `data` points to `size` bytes, or `size` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
    let data = match size {
        0 => &[],
        // SAFETY: as the caller promises.
        _ => unsafe { std::slice::from_raw_parts(data, size) },
    };
    (TARGET.run)(data);
    0
}
