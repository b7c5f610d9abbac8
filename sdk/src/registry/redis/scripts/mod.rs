//! The Lua scripts: each is one atomic step within one slot.
//!
//! Redis keeps a script after it ran once, so a call sends its hash alone; where Redis
//! forgot it, the client sends it again.

use std::sync::LazyLock;

use redis::Script;

use crate::planted;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($file:literal)+;)*) => {
        $($(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&planted::script(concat!($(include_str!($file)),+))));)*
    };
}

scripts! {
    REGISTER = "time.lua" "host.lua" "view.lua" "incarnation.lua" "settling.lua" "register.lua";
    RENEW = "time.lua" "host.lua" "view.lua" "incarnation.lua" "settling.lua" "renew.lua";
    LEAVE = "time.lua" "host.lua" "view.lua" "leave.lua";
    OVERDUE = "time.lua" "host.lua" "overdue.lua";
    BURY = "time.lua" "host.lua" "view.lua" "incarnation.lua" "settling.lua" "bury.lua";
    UNSETTLE = "time.lua" "host.lua" "unsettle.lua";
    IS_BURIED = "time.lua" "host.lua" "is_buried.lua";
    MEMBERS = "time.lua" "host.lua" "members.lua";
    HOSTS = "time.lua" "host.lua" "hosts.lua";
    ENDED = "time.lua" "host.lua" "ended.lua";
    ENLIST = "time.lua" "enlist.lua";
    DELIST = "time.lua" "delist.lua";
    CLAIM = "time.lua" "agent.lua" "incarnation.lua" "claim.lua";
    UPDATE = "agent.lua" "update.lua";
    REASSERT = "agent.lua" "reassert.lua";
    HAND_OVER = "agent.lua" "hand_over.lua";
    RELEASE = "agent.lua" "release.lua";
    LAUNCH = "agent.lua" "launch.lua";
    ORPHANS = "agent.lua" "orphans.lua";
    PUBLISH = "publish.lua";
    AGENTS = "agent.lua" "agents.lua";
}
