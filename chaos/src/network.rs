//! Network namespaces, and the wire between them.
//!
//! Each namespace has one interface, a TUN device. Its other end stays in this program,
//! which carries each packet to the device of the address that it is meant for, as the
//! [rules](super::wire) say. This program has a device, too, and so an address.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::Ipv4Addr,
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::ioctl::{Opcode, Setter, ioctl};

use crate::{
    sandbox::run,
    wire::{Fate, RuleId, Rules, Treatment},
};

/// Where this program is.
pub(crate) const DRIVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Longer than any packet, which has 1,500 bytes at most.
const PACKET_BYTES: usize = 2048;

/// What is delayed, at most; more than that is dropped, as a full queue of a router would.
const MOST_DELAYED: usize = 20_000;

/// One place of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The namespace.
    pub(crate) name: String,
    /// Its only address.
    pub(crate) address: Ipv4Addr,
}

impl Place {
    /// A place that is not there yet: see [`Network::build`].
    pub(crate) fn new(name: impl Into<String>, last_byte: u8) -> Self {
        Self { name: name.into(), address: Ipv4Addr::new(10, 77, 0, last_byte) }
    }

    /// A command that runs here: the namespace takes the place of nothing else.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

/// All places and the wire between them.
#[derive(Debug)]
pub(crate) struct Network {
    wire: Arc<Wire>,
}

impl Network {
    /// Makes the namespaces of these places, and connects them and this program.
    pub(crate) fn build(places: &[Place], seed: u64) -> Result<Self> {
        let mut devices = BTreeMap::new();
        devices.insert(DRIVER, device("driver", DRIVER, None)?);
        for Place { name, address } in places {
            run("ip", &["netns", "add", name])?;
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
            devices.insert(*address, device(name, *address, Some(name))?);
        }
        let wire = Arc::new(Wire {
            devices,
            rules: Mutex::new(Rules::new(seed)),
            delayed: Mutex::default(),
            more: Condvar::new(),
        });
        for address in wire.devices.keys().copied() {
            let wire = wire.clone();
            thread::Builder::new().name(format!("wire {address}")).spawn(move || wire.carry(address))?;
        }
        let later = wire.clone();
        thread::Builder::new().name("wire".to_owned()).spawn(move || later.deliver())?;
        Ok(Self { wire })
    }

    /// Treats packets so from the first to the second address of each pair.
    pub(crate) fn treat(&self, pairs: &[(Ipv4Addr, Ipv4Addr)], treatment: Treatment) -> RuleId {
        locked(&self.wire.rules).add(pairs, treatment)
    }

    /// Takes back what was done to packets.
    pub(crate) fn heal(&self, rule: RuleId) {
        locked(&self.wire.rules).remove(rule);
    }
}

#[derive(Debug)]
struct Wire {
    devices: BTreeMap<Ipv4Addr, File>,
    rules: Mutex<Rules>,
    delayed: Mutex<Delayed>,
    /// Somebody put something into `delayed`.
    more: Condvar,
}

/// Packets on their way: when they arrive, in which order they were sent, where they go.
type Delayed = BinaryHeap<Reverse<(Instant, u64, Ipv4Addr, Vec<u8>)>>;

impl Wire {
    /// Carries what comes from one device. The devices are never closed, so neither it nor
    /// [`deliver`](Self::deliver) ends before the program does.
    fn carry(&self, from: Ipv4Addr) {
        let mut packet = [0; PACKET_BYTES];
        let mut sent = 0;
        let mut device = &self.devices[&from];
        loop {
            let length = match device.read(&mut packet) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%from, %error, "the wire is broken");
                    return;
                }
            };
            let Some(to) = destination(&packet[..length]) else { continue };
            // In a statement of its own, so that the lock is not held any longer.
            let fate = locked(&self.rules).fate(from, to);
            match fate {
                Fate::Now => self.arrive(to, &packet[..length]),
                Fate::Never => {}
                Fate::Later(delay) => {
                    sent += 1;
                    let mut delayed = locked(&self.delayed);
                    if delayed.len() < MOST_DELAYED {
                        delayed.push(Reverse((Instant::now() + delay, sent, to, packet[..length].to_vec())));
                        self.more.notify_one();
                    }
                }
            }
        }
    }

    /// Delivers what was delayed.
    fn deliver(&self) {
        let mut delayed = locked(&self.delayed);
        loop {
            let now = Instant::now();
            let wait = match delayed.peek() {
                None => Duration::from_secs(60),
                Some(Reverse((due, ..))) => due.saturating_duration_since(now),
            };
            if wait.is_zero() {
                if let Some(Reverse((_, _, to, packet))) = delayed.pop() {
                    self.arrive(to, &packet);
                }
                continue;
            }
            delayed = self.more.wait_timeout(delayed, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A packet that its device does not take is lost, as packets may be.
    fn arrive(&self, to: Ipv4Addr, packet: &[u8]) {
        if let Some(mut device) = self.devices.get(&to) {
            let _ = device.write(packet);
        }
    }
}

/// Where an IPv4 packet is going; `None` for anything else.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    (packet[0] >> 4 == 4).then(|| Ipv4Addr::from(address))
}

/// Makes a TUN device, and moves it into a namespace: this end stays here.
fn device(name: &str, address: Ipv4Addr, namespace: Option<&str>) -> Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
    attach(&device, name).with_context(|| format!("no TUN device for {name}"))?;
    let mut within = Vec::new();
    if let Some(namespace) = namespace {
        run("ip", &["link", "set", name, "netns", namespace])?;
        within.extend(["-n", namespace]);
    }
    let address = format!("{address}/24");
    run("ip", &[&within[..], &["addr", "add", &address, "dev", name]].concat())?;
    run("ip", &[&within[..], &["link", "set", name, "up"]].concat())?;
    Ok(device)
}

/// `struct ifreq`, as far as a new TUN device needs it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TUNSETIFF: Opcode = rustix::ioctl::opcode::write::<i32>(b'T', 202);
const IFF_TUN: u16 = 0x0001;
/// No header in front of the packets.
const IFF_NO_PI: u16 = 0x1000;

/// Gives a descriptor of `/dev/net/tun` its device.
// No safe function does this.
#[allow(unsafe_code)]
fn attach(tun: &File, name: &str) -> io::Result<()> {
    let mut request = InterfaceRequest { name: [0; 16], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
    // The last byte stays zero, as the end of the name.
    for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which has 40 bytes, and that is what it
    // gets. It keeps no pointer to it.
    unsafe { ioctl(tun, Setter::<TUNSETIFF, InterfaceRequest>::new(request))? };
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_an_address_is_carried() {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&[10, 77, 0, 3]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 77, 0, 3)));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&packet[..19]), None);
    }
}
