//! From the source of a policy in Rust or C to its component: finds a compiler that can
//! make WebAssembly, calls it so that the bytes do not depend on the machine, and makes a
//! component of the module that it made.

mod c;
mod component;
mod contract;
mod toolchain;

pub use c::{build_c, c_header};
pub use component::encode;
pub use toolchain::Toolchain;
