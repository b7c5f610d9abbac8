//! Where all chance comes from.
//!
//! What the product draws at random (jitter, ids of leases, the order in which `select!`
//! looks at its branches, the order of hash maps) comes in the end from `getrandom`. So that
//! a seed gives the same run again, this takes the place of the C library's function: on
//! the thread of a simulation it answers with numbers that follow from the seed.

use std::cell::Cell;

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// True so many times in a thousand.
    pub(super) fn permille(&mut self, share: u64) -> bool {
        self.next() % 1000 < share
    }
}

thread_local! {
    /// The state of this thread's generator; 0 where no simulation runs.
    static SEEDED: Cell<u64> = const { Cell::new(0) };
}

/// From here on, what this thread draws at random follows from the seed.
pub(super) fn seed_thread(seed: u64) {
    SEEDED.set(Chance::new(seed).next() | 1);
}

/// As `getrandom(2)`, and of any thread that is not a simulation's that very call.
#[allow(unsafe_code, reason = "the C library's function has this form")]
#[unsafe(no_mangle)]
extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    let seeded = SEEDED.get();
    if seeded == 0 {
        // SAFETY: the caller's arguments go on to the system call as they are.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as libc::ssize_t;
    }
    let mut chance = Chance(seeded);
    for index in 0..length {
        // SAFETY: the caller says that there is room for `length` bytes.
        unsafe { buffer.cast::<u8>().add(index).write(chance.next() as u8) };
    }
    SEEDED.set(chance.0 | 1);
    length as libc::ssize_t
}
