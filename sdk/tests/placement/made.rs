//! Policies made of WebAssembly text, so that they can do what no compiler would.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The bodies of a policy's functions, in the canonical ABI. The default policy is
/// well-behaved and always chooses the host `a`.
pub(crate) struct Policy {
    /// Imports of the module, of what [`WASI`] has.
    pub(crate) imports: &'static str,
    /// Fields of the module.
    pub(crate) module: &'static str,
    /// Gets `$settings` and `$len`; leaves the address of its result.
    pub(crate) configure: &'static str,
    /// Gets `$changes` and `$len`.
    pub(crate) observe: &'static str,
    /// Gets `$request`; leaves the address of its result.
    pub(crate) place: &'static str,
}

/// Results that bodies can leave: each is an address.
pub(crate) mod result {
    /// `configure`: no inputs. `place`: the host `a`, because `fine`.
    pub(crate) const FINE: &str = "(i32.const 1024)";
    /// `place`: refuses with `nope`.
    pub(crate) const REFUSE: &str = "(i32.const 1088)";
    /// `configure`: refuses with `nope`.
    pub(crate) const REFUSE_SETTINGS: &str = "(i32.const 1152)";
    /// The host `zzz`.
    pub(crate) const UNKNOWN: &str = "(i32.const 1216)";
    /// A host whose name begins beyond the memory.
    pub(crate) const OUTSIDE: &str = "(i32.const 1280)";
    /// A host whose name is not UTF-8.
    pub(crate) const NOT_TEXT: &str = "(i32.const 1344)";
    /// The host `a`, for a reason of 1,000,000 zero bytes.
    pub(crate) const LONG_REASON: &str = "(i32.const 1408)";
    /// A host whose name has 1,000,000 bytes.
    pub(crate) const LONG_HOST: &str = "(i32.const 1472)";
    /// The host `a`, with a score of NaN.
    pub(crate) const NAN: &str = "(i32.const 1536)";
    /// No host, and no refusal.
    pub(crate) const NOTHING: &str = "(i32.const 1600)";
    /// 17 hosts.
    pub(crate) const TOO_MANY: &str = "(i32.const 1664)";
    /// A list of a billion hosts.
    pub(crate) const HUGE_LIST: &str = "(i32.const 1728)";
    /// Refuses with `nope`, to be asked again after 2^63 milliseconds.
    pub(crate) const WAIT_LONG: &str = "(i32.const 1792)";
    /// A result that is neither ok nor an error.
    pub(crate) const NEITHER: &str = "(i32.const 1856)";
}

/// Some of WASI, for modules that import it.
const WASI: [&str; 3] = [
    "package wasi:clocks@0.2.0; interface monotonic-clock { now: func() -> u64; }",
    "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }",
    "package wasi:sockets@0.2.0; interface network { connect: func(port: u16); }",
];

const WITH_WASI: &str = "package test:curious;
    world with-wasi {
        import wasi:clocks/monotonic-clock@0.2.0;
        import wasi:random/random@0.2.0;
        import wasi:sockets/network@0.2.0;
        include guildhall:placement/placement@0.2.0;
    }";

/// Misbehave when the agent's id has three letters, as `bad` has; else choose `a`.
pub(crate) const IF_BAD: &str = "(i32.eq (i32.load offset=12 (local.get $request)) (i32.const 3))";

impl Default for Policy {
    fn default() -> Self {
        Self { imports: "", module: "", configure: result::FINE, observe: "", place: result::FINE }
    }
}

impl Policy {
    /// A policy whose `place` runs `body` for the agent `bad`; it may leave a result.
    pub(crate) fn bad_place(body: &str) -> Self {
        let place = format!("(if {IF_BAD} (then {body})) {}", result::FINE);
        Self { place: place.leak(), ..Self::default() }
    }

    /// The core module.
    pub(crate) fn module(&self) -> Vec<u8> {
        let Self { imports, module, configure, observe, place } = self;
        let text = format!(
            r#"(module
                {imports}
                (memory (export "memory") 64)
                (global $free (mut i32) (i32.const 2000000))
                (global $asked (mut i32) (i32.const 0))
                {module}
                ;; A bump allocator that counts what it was asked for.
                (func (export "cabi_realloc") (param $old i32) (param i32) (param $align i32) (param $new i32) (result i32)
                    (local $at i32)
                    (global.set $asked (i32.add (global.get $asked) (local.get $new)))
                    (local.set $at (i32.and
                        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $free (i32.add (local.get $at) (local.get $new)))
                    (local.get $at))
                (func (export "guildhall:placement/policy@0.2.0#configure")
                    (param $settings i32) (param $len i32) (result i32)
                    {configure})
                (func (export "guildhall:placement/policy@0.2.0#observe") (param $changes i32) (param $len i32)
                    {observe}
                    (global.set $free (i32.const 2000000)) (global.set $asked (i32.const 0)))
                (func (export "guildhall:placement/policy@0.2.0#place") (param $request i32) (result i32)
                    {place}
                    (global.set $free (i32.const 2000000)) (global.set $asked (i32.const 0)))
                (data (i32.const 512) "a" "fine" "nope" "zzz" "\ff\fe")
                ;; What `place` and `configure` leave, and the choices they point to.
                (data (i32.const 3008) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3032) "\09\02\00\00\03\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3056) "\00\00\00\f0\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3080) "\0c\02\00\00\02\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3104) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\10\00\00\40\42\0f\00")
                (data (i32.const 3128) "\00\10\00\00\40\42\0f\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3152) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\f8\7f\01\02\00\00\04\00\00\00")
                (data (i32.const 3176) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3200) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3224) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3248) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3272) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3296) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3320) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3344) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3368) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3392) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3416) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3440) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3464) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3488) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3512) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3536) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 3560) "\00\02\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01\02\00\00\04\00\00\00")
                (data (i32.const 1024) "\00\00\00\00" "\00\00\00\00" "\c0\0b\00\00" "\01\00\00\00")
                (data (i32.const 1088) "\01\00\00\00" "\00\00\00\00" "\05\02\00\00" "\04\00\00\00" "\08\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00")
                (data (i32.const 1152) "\01\00\00\00" "\05\02\00\00" "\04\00\00\00")
                (data (i32.const 1216) "\00\00\00\00" "\00\00\00\00" "\d8\0b\00\00" "\01\00\00\00")
                (data (i32.const 1280) "\00\00\00\00" "\00\00\00\00" "\f0\0b\00\00" "\01\00\00\00")
                (data (i32.const 1344) "\00\00\00\00" "\00\00\00\00" "\08\0c\00\00" "\01\00\00\00")
                (data (i32.const 1408) "\00\00\00\00" "\00\00\00\00" "\20\0c\00\00" "\01\00\00\00")
                (data (i32.const 1472) "\00\00\00\00" "\00\00\00\00" "\38\0c\00\00" "\01\00\00\00")
                (data (i32.const 1536) "\00\00\00\00" "\00\00\00\00" "\50\0c\00\00" "\01\00\00\00")
                (data (i32.const 1600) "\00\00\00\00" "\00\00\00\00" "\08\00\00\00" "\00\00\00\00")
                (data (i32.const 1664) "\00\00\00\00" "\00\00\00\00" "\68\0c\00\00" "\11\00\00\00")
                (data (i32.const 1728) "\00\00\00\00" "\00\00\00\00" "\08\00\00\00" "\00\ca\9a\3b")
                (data (i32.const 1792) "\01\00\00\00" "\00\00\00\00" "\05\02\00\00" "\04\00\00\00" "\08\00\00\00" "\00\00\00\00" "\01\00\00\00" "\00\00\00\00" "\00\00\00\00\00\00\00\80")
                (data (i32.const 1856) "\02\00\00\00" "\00\00\00\00" "\08\00\00\00" "\00\00\00\00"))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut module = self.module();
        let mut resolve = Resolve::default();
        let package = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/wit/0.2")).unwrap().0;
        let world = match self.imports {
            "" => resolve.select_world(&[package], Some("placement")).unwrap(),
            _ => {
                for wit in WASI {
                    resolve.push_str("wasi.wit", wit).unwrap();
                }
                let package = resolve.push_str("world.wit", WITH_WASI).unwrap();
                resolve.select_world(&[package], None).unwrap()
            }
        };
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
