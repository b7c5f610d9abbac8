//! What an agent says over its sd_notify socket.

use guildhall_host::supervisor::notify::Notice;

pub(crate) fn run(datagram: &[u8]) -> bool {
    let notice = Notice::parse(datagram);
    let says = |what: &[u8]| datagram.split(|byte| *byte == b'\n').any(|line| line == what);
    assert_eq!(notice.ready, says(b"READY=1"));
    assert_eq!(notice.alive, says(b"WATCHDOG=1"));
    assert_eq!(notice.trigger, says(b"WATCHDOG=trigger"));
    assert_eq!(notice.stopping, says(b"STOPPING=1"));
    assert!(notice.status.is_none_or(|status| status.len() <= 256));
    notice.ignored == 0
}
