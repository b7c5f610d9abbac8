//! Policies made of WebAssembly text, so that they can do what no compiler would.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The bodies of a policy's functions, in the canonical ABI. The default policy is
/// well-behaved and always chooses the host `a`.
pub(crate) struct Policy {
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
    /// `configure`: refuses with `nope`. `place`: refuses with `nope`.
    pub(crate) const REFUSE: &str = "(i32.const 1056)";
    /// The host `zzz`.
    pub(crate) const UNKNOWN: &str = "(i32.const 1088)";
    /// A host whose name begins beyond the memory.
    pub(crate) const OUTSIDE: &str = "(i32.const 1120)";
    /// A host whose name is not UTF-8.
    pub(crate) const NOT_TEXT: &str = "(i32.const 1152)";
    /// The host `a`, for a reason of 1,000,000 zero bytes.
    pub(crate) const LONG_REASON: &str = "(i32.const 1184)";
    /// A host whose name has 1,000,000 bytes.
    pub(crate) const LONG_HOST: &str = "(i32.const 1216)";
}

/// Misbehave when the agent's id has three letters, as `bad` has; else choose `a`.
pub(crate) const IF_BAD: &str = "(i32.eq (i32.load offset=12 (local.get $request)) (i32.const 3))";

impl Default for Policy {
    fn default() -> Self {
        Self { module: "", configure: result::FINE, observe: "", place: result::FINE }
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
        let Self { module, configure, observe, place } = self;
        let text = format!(
            r#"(module
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
                (func (export "guildhall:placement/policy@0.1.0#configure")
                    (param $settings i32) (param $len i32) (result i32)
                    {configure})
                (func (export "guildhall:placement/policy@0.1.0#observe") (param $changes i32) (param $len i32)
                    {observe}
                    (global.set $free (i32.const 2000000)) (global.set $asked (i32.const 0)))
                (func (export "guildhall:placement/policy@0.1.0#place") (param $request i32) (result i32)
                    {place}
                    (global.set $free (i32.const 2000000)) (global.set $asked (i32.const 0)))
                (data (i32.const 512) "a" "fine" "nope" "zzz" "\ff\fe")
                ;; ok, host "a", reason "fine"; to configure it is ok and no inputs
                (data (i32.const 1024) "\00\00\00\00" "\00\02\00\00" "\01\00\00\00" "\01\02\00\00" "\04\00\00\00")
                (data (i32.const 1056) "\01\00\00\00" "\05\02\00\00" "\04\00\00\00")
                (data (i32.const 1088) "\00\00\00\00" "\09\02\00\00" "\03\00\00\00" "\01\02\00\00" "\04\00\00\00")
                (data (i32.const 1120) "\00\00\00\00" "\00\00\00\f0" "\01\00\00\00" "\01\02\00\00" "\04\00\00\00")
                (data (i32.const 1152) "\00\00\00\00" "\0c\02\00\00" "\02\00\00\00" "\01\02\00\00" "\04\00\00\00")
                (data (i32.const 1184) "\00\00\00\00" "\00\02\00\00" "\01\00\00\00" "\00\10\00\00" "\40\42\0f\00")
                (data (i32.const 1216) "\00\00\00\00" "\00\10\00\00" "\40\42\0f\00" "\01\02\00\00" "\04\00\00\00"))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut module = self.module();
        let mut resolve = Resolve::default();
        let package = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/wit")).unwrap().0;
        let world = resolve.select_world(&[package], Some("placement")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
