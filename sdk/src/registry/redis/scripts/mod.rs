//! The Lua scripts: each is one atomic step within one slot.
//!
//! Redis keeps a script after it ran once, so a call sends its hash alone; where Redis
//! forgot it, the client sends it again.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($file:literal)+;)*) => {
        $($(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));)*
    };
}

scripts! {
    REGISTER = "time.lua" "host.lua" "register.lua";
    RENEW = "time.lua" "host.lua" "renew.lua";
    LEAVE = "time.lua" "host.lua" "leave.lua";
    IN_FORCE = "time.lua" "host.lua" "in_force.lua";
    HOSTS = "time.lua" "host.lua" "hosts.lua";
    ENDED = "time.lua" "host.lua" "ended.lua";
    CLAIM = "time.lua" "agent.lua" "claim.lua";
    UPDATE = "agent.lua" "update.lua";
    REASSERT = "agent.lua" "reassert.lua";
    RELEASE = "agent.lua" "release.lua";
    PUBLISH = "publish.lua";
    AGENTS = "agent.lua" "agents.lua";
}
