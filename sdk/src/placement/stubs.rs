//! Stand-ins for WASI, for policies whose toolchain cannot leave it out.
//!
//! They give nothing away and are the same everywhere: clocks stand still, random numbers
//! come from a fixed seed, there is no environment and there are no files. Whatever else of
//! WASI a policy calls, traps and says what it called.

use wasmtime::{
    StoreContextMut,
    component::{Component, Linker, Val},
};

use super::bounds::Bounds;

/// What all names of WASI begin with. Anything else is refused even so.
pub(super) const PREFIX: &str = "wasi:";

/// Random bytes that are given at once at most.
const MOST_BYTES: u64 = 1 << 20;

/// Links stand-ins for all that a component imports of WASI.
pub(super) fn link(linker: &mut Linker<Bounds>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine().clone();
    for (import, _) in component.component_type().imports(&engine) {
        let interface = import.split('@').next().unwrap_or(import);
        if !import.starts_with(PREFIX) {
            continue;
        }
        let mut instance = linker.instance(import)?;
        match interface {
            "wasi:clocks/monotonic-clock" => {
                instance.func_wrap("now", |_, ()| Ok((0_u64,)))?;
                instance.func_wrap("resolution", |_, ()| Ok((1_u64,)))?;
            }
            "wasi:clocks/wall-clock" => {
                for function in ["now", "resolution"] {
                    instance.func_new(function, |_, _, _, results| {
                        let field = |name: &str, value| (name.to_owned(), value);
                        let epoch = vec![field("seconds", Val::U64(0)), field("nanoseconds", Val::U32(0))];
                        results[0] = Val::Record(epoch);
                        Ok(())
                    })?;
                }
            }
            "wasi:random/random" => {
                instance.func_wrap("get-random-bytes", |store, (len,): (u64,)| bytes(store, len))?;
                instance.func_wrap("get-random-u64", |store, ()| Ok((number(store),)))?;
            }
            "wasi:random/insecure" => {
                instance.func_wrap("get-insecure-random-bytes", |store, (len,): (u64,)| bytes(store, len))?;
                instance.func_wrap("get-insecure-random-u64", |store, ()| Ok((number(store),)))?;
            }
            "wasi:random/insecure-seed" => {
                instance.func_wrap("insecure-seed", |_, ()| Ok(((0_u64, 0_u64),)))?;
            }
            "wasi:cli/environment" => {
                instance.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
                instance.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
                instance.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))?;
            }
            "wasi:filesystem/preopens" => {
                instance.func_new("get-directories", |_, _, _, results| {
                    results[0] = Val::List(Vec::new());
                    Ok(())
                })?;
            }
            _ => {}
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

fn number(mut store: StoreContextMut<'_, Bounds>) -> u64 {
    store.data_mut().next_number()
}

fn bytes(mut store: StoreContextMut<'_, Bounds>, len: u64) -> wasmtime::Result<(Vec<u8>,)> {
    if len > MOST_BYTES {
        return Err(wasmtime::format_err!("{len} random bytes, of {MOST_BYTES} at most"));
    }
    let numbers = (0..len.div_ceil(8)).flat_map(|_| store.data_mut().next_number().to_le_bytes());
    Ok((numbers.take(len as usize).collect(),))
}
