//! The macros that make a crate a policy component.

/// Exports a [`Policy`](crate::Policy) as what `placement.wit` says a policy is:
/// `export!(MyPolicy)`, or `export!(MyPolicy: guilds, scoring, rebalancing)` with those
/// of the optional interfaces that it implements.
///
/// Natively it exports nothing, and checks that the type is a policy: so the same
/// crate is tested and measured natively.
#[macro_export]
macro_rules! export {
    ($policy:ty $(: $($interface:ident),+)?) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "a component's exports are symbols, and called with raw pointers")]
        const _: () = {
            use $crate::wire;

            static SEAT: wire::Seat<$policy> = wire::Seat::EMPTY;

            struct Component;

            $crate::export_interface!(policy, $policy);
            $crate::export_interface!(settings, $policy);
            $($($crate::export_interface!($interface, $policy);)+)?
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_a_policy<P: $crate::Policy>() {}
            is_a_policy::<$policy>();
        };
    };
}

/// One interface of `placement.wit`, for [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! export_interface {
    (policy, $policy:ty) => {
        impl wire::policy::Guest for Component {
            fn configure(settings: $crate::rt::Vec<$crate::Setting>) -> Result<wire::Inputs, $crate::rt::String> {
                SEAT.configure(settings)
            }

            fn observe(changes: $crate::rt::Vec<wire::Change>) {
                SEAT.observe(changes)
            }

            fn place(request: wire::Request) -> Result<$crate::rt::Vec<wire::Choice>, wire::Refusal> {
                SEAT.place(request)
            }
        }
        wire::policy::__export_guildhall_placement_policy_0_2_0_cabi!(
            Component with_types_in $crate::wire::policy
        );
    };
    (settings, $policy:ty) => {
        impl wire::settings::Guest for Component {
            fn schema() -> $crate::rt::String {
                <$policy as $crate::Policy>::SETTINGS.into()
            }
        }
        wire::settings::__export_guildhall_placement_settings_0_2_0_cabi!(
            Component with_types_in $crate::wire::settings
        );
    };
    (guilds, $policy:ty) => {
        impl wire::guilds::Guest for Component {
            fn place_guild(request: wire::GuildRequest) -> wire::GuildDecision {
                SEAT.place_guild(request)
            }
        }
        wire::guilds::__export_guildhall_placement_guilds_0_2_0_cabi!(
            Component with_types_in $crate::wire::guilds
        );
    };
    (scoring, $policy:ty) => {
        impl wire::scoring::Guest for Component {
            fn score(request: wire::Request, first: u32, count: u32) -> wire::Scores {
                SEAT.score(request, first, count)
            }

            fn chosen(host: $crate::rt::String) {
                SEAT.chosen(&host)
            }
        }
        wire::scoring::__export_guildhall_placement_scoring_0_2_0_cabi!(
            Component with_types_in $crate::wire::scoring
        );
    };
    (rebalancing, $policy:ty) => {
        impl wire::rebalancing::Guest for Component {
            fn propose_moves(placed: $crate::rt::Vec<wire::Placed>, most: u32) -> $crate::rt::Vec<wire::Move> {
                SEAT.propose_moves(placed, most)
            }
        }
        wire::rebalancing::__export_guildhall_placement_rebalancing_0_2_0_cabi!(
            Component with_types_in $crate::wire::rebalancing
        );
    };
}

/// What a component without the standard library needs of its own: an allocator, and a
/// panic that traps. A policy whose crate says
/// `#![cfg_attr(target_arch = "wasm32", no_std)]` calls it once, and has half the size.
#[macro_export]
macro_rules! no_std {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::rt::Allocator = $crate::rt::Allocator::new();

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panicked(_: &::core::panic::PanicInfo<'_>) -> ! {
            ::core::arch::wasm32::unreachable()
        }
    };
}
