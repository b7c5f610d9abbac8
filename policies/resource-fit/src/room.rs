//! What there is on one host, and how much of it was asked for.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use guildhall_policy::{Candidate, Quantity, Resources, Standing};

use crate::ask::{AMOUNTS, Ask, NAMES, amounts, is_asked};

/// The place of agent slots behind the other resources.
const SLOTS: usize = AMOUNTS;

/// What the agents on a host asked for, of what there is: as the host last reported, and
/// what was placed there since.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Room {
    /// Whether the host says what it has; otherwise its slots alone count.
    known: bool,
    /// Agents it takes still; 0 when it takes none whatever it has.
    slots: u32,
    /// Agents it takes in all.
    capacity: u32,
    used: [u64; AMOUNTS],
    total: [u64; AMOUNTS],
    custom: Vec<Custom>,
    /// The share in use of each resource, agent slots last.
    shares: [f32; AMOUNTS + 1],
    /// The share that one unit of each is; infinite where there is none.
    units: [f32; AMOUNTS + 1],
    /// The greatest share of all.
    dominant: f32,
}

/// A resource that the operator named.
#[derive(Clone, Debug, PartialEq)]
struct Custom {
    name: String,
    used: f64,
    total: f64,
}

impl Room {
    pub(crate) fn of(host: &Candidate) -> Self {
        let open = host.standing == Standing::Open;
        let mut room = Self {
            known: host.allocatable.is_some(),
            slots: if open { host.capacity.saturating_sub(host.running) } else { 0 },
            capacity: host.capacity,
            used: [0; AMOUNTS],
            total: [0; AMOUNTS],
            custom: Vec::new(),
            shares: [0.0; AMOUNTS + 1],
            units: [f32::INFINITY; AMOUNTS + 1],
            dominant: 0.0,
        };
        if let Some(allocatable) = &host.allocatable {
            room.used = amounts(&host.requested);
            room.total = amounts(allocatable);
            room.custom.extend(allocatable.custom.iter().map(|Quantity { name, amount }| Custom {
                name: name.clone(),
                used: amount_of(&host.requested.custom, name),
                total: *amount,
            }));
        }
        room.share();
        room
    }

    /// Counts an agent that was placed here.
    pub(crate) fn take(&mut self, asked: &Resources) {
        self.slots = self.slots.saturating_sub(1);
        for (used, amount) in self.used.iter_mut().zip(amounts(asked)) {
            *used = used.saturating_add(amount);
        }
        for custom in &mut self.custom {
            custom.used += amount_of(&asked.custom, &custom.name).max(0.0);
        }
        self.share();
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    pub(crate) fn is_full(&self) -> bool {
        self.slots == 0
    }

    pub(crate) fn dominant(&self) -> f32 {
        self.dominant
    }

    /// How much is left of each resource that every host counts.
    pub(crate) fn free(&self) -> [u64; AMOUNTS] {
        core::array::from_fn(|nth| self.total[nth].saturating_sub(self.used[nth]))
    }

    /// For the resource in this place, agent slots last: the share in use, and the share
    /// that one unit of it is.
    pub(crate) fn share_and_unit(&self, nth: usize) -> (f32, f32) {
        (self.shares[nth], self.units[nth])
    }

    /// The greatest share of a resource with this agent, 0 to 1; `None` when it does not fit.
    pub(crate) fn share_after(&self, ask: &Ask<'_>) -> Option<f32> {
        if self.slots == 0 {
            return None;
        }
        let mut share = self.dominant.max(self.shares[SLOTS] + self.units[SLOTS]);
        if self.known {
            for nth in 0..AMOUNTS {
                let amount = ask.amounts[nth];
                if amount > 0 {
                    if amount > self.total[nth].saturating_sub(self.used[nth]) {
                        return None;
                    }
                    share = share.max(self.shares[nth] + ask.sizes[nth] * self.units[nth]);
                }
            }
            for quantity in ask.custom.iter().filter(|quantity| is_asked(quantity)) {
                let custom = self.custom(&quantity.name).filter(|custom| custom.has(quantity.amount))?;
                share = share.max(custom.share(quantity.amount));
            }
        }
        Some(share.min(1.0))
    }

    /// What stands in the agent's way here.
    pub(crate) fn shortage(&self, ask: &Ask<'_>) -> Option<Cow<'static, str>> {
        if self.slots == 0 {
            return Some("full".into());
        }
        if !self.known {
            return None;
        }
        let free = self.free();
        if let Some(nth) = (0..AMOUNTS).find(|&nth| ask.amounts[nth] > free[nth]) {
            return Some(format!("short of {}", NAMES[nth]).into());
        }
        let has = |asked: &Quantity| self.custom(&asked.name).is_some_and(|custom| custom.has(asked.amount));
        let short = ask.custom.iter().find(|asked| is_asked(asked) && !has(asked))?;
        Some(format!("short of {}", short.name).into())
    }

    /// The resource that is used the most, in figures.
    pub(crate) fn figures(&self) -> String {
        let slots = || format!("{} of {} slots", self.capacity.saturating_sub(self.slots), self.capacity);
        if !self.known {
            return format!("{}; it does not say what it has", slots());
        }
        let custom = self.custom.iter().find(|custom| custom.share(0.0) >= self.dominant);
        match (0..=SLOTS).find(|&nth| self.shares[nth] >= self.dominant) {
            Some(0) => format!("{} of {} cpu millis asked for", self.used[0], self.total[0]),
            Some(1) => format!("{} of {} MiB of memory asked for", self.used[1] >> 20, self.total[1] >> 20),
            Some(2) => format!("{} of {} accelerator millis asked for", self.used[2], self.total[2]),
            None if let Some(Custom { name, used, total }) = custom => {
                format!("{} of {} {name} asked for", *used as u64, *total as u64)
            }
            _ => slots(),
        }
    }

    fn custom(&self, name: &str) -> Option<&Custom> {
        self.custom.iter().find(|custom| custom.name == name)
    }

    /// Works out the shares anew.
    fn share(&mut self) {
        let taken = u64::from(self.capacity.saturating_sub(self.slots));
        for nth in 0..=SLOTS {
            let (used, total) = match nth {
                SLOTS => (taken, u64::from(self.capacity)),
                _ => (self.used[nth], self.total[nth]),
            };
            if total > 0 {
                self.shares[nth] = (used as f32 / total as f32).min(1.0);
                self.units[nth] = 1.0 / total as f32;
            }
        }
        let shares = self.shares.iter().copied();
        let custom = self.custom.iter().map(|custom| custom.share(0.0));
        self.dominant = shares.chain(custom).fold(0.0, f32::max);
    }
}

impl Custom {
    fn has(&self, amount: f64) -> bool {
        amount <= self.total - self.used
    }

    /// The share in use with so much more. What is no number counts for nothing.
    fn share(&self, more: f64) -> f32 {
        match self.total > 0.0 {
            true => (((self.used + more) / self.total) as f32).clamp(0.0, 1.0),
            false => 0.0,
        }
    }
}

fn amount_of(quantities: &[Quantity], name: &str) -> f64 {
    quantities.iter().find(|quantity| quantity.name == name).map_or(0.0, |quantity| quantity.amount)
}
