//! The macro that makes a crate a policy component.

/// Exports a [`Policy`](crate::Policy) as what `placement.wit` says a policy is.
///
/// Natively it exports nothing, and checks that the type is a policy: so the same
/// crate is tested and measured natively.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "a component's exports are symbols, and called with raw pointers")]
        const _: () = {
            ::std::thread_local! {
                static SEAT: $crate::wire::Seat<$policy> = const { ::std::cell::RefCell::new(None) };
            }

            struct Component;

            impl $crate::wire::Guest for Component {
                fn configure(settings: String) -> Result<$crate::wire::Inputs, String> {
                    SEAT.with(|seat| $crate::wire::configure(seat, &settings))
                }

                fn observe(changes: Vec<$crate::wire::Change>) {
                    SEAT.with(|seat| $crate::wire::observe(seat, changes))
                }

                fn place(
                    request: $crate::wire::Request,
                ) -> Result<$crate::wire::Decision, $crate::wire::Refusal> {
                    SEAT.with(|seat| $crate::wire::place(seat, request))
                }
            }

    $crate::wire::export_component!(Component with_types_in $crate::wire);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_a_policy<P: $crate::Policy>() {}
            is_a_policy::<$policy>();
        };
    };
}
