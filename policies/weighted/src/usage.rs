//! How much of what a host has was asked for.

use alloc::{string::String, vec::Vec};

use guildhall_policy::{Candidate, Quantity, Resources};

/// CPU, memory and accelerators.
const AMOUNTS: usize = 3;

/// The share of each resource that agents asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    shares: [f32; AMOUNTS],
    /// The share that one unit is; infinite where there is none.
    units: [f32; AMOUNTS],
    custom: Vec<Custom>,
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

impl Usage {
    /// `None` when the host does not say what it has.
    pub(crate) fn of(host: &Candidate) -> Option<Self> {
        let total = host.allocatable.as_ref()?;
        let mut usage = Self { units: amounts(total).map(|total| 1.0 / total), ..Self::default() };
        for quantity in &total.custom {
            let name = quantity.name.clone();
            usage.custom.push(Custom { name, used: 0.0, total: quantity.amount });
        }
        usage.take(&host.requested);
        Some(usage)
    }

    /// Counts what an agent asks for that was placed here.
    pub(crate) fn take(&mut self, asked: &Resources) {
        let amounts = amounts(asked);
        for (nth, amount) in amounts.into_iter().enumerate().filter(|(_, amount)| *amount > 0.0) {
            self.shares[nth] += amount * self.units[nth];
            self.dominant = self.dominant.max(self.shares[nth]);
        }
        for custom in &mut self.custom {
            custom.used += amount_of(&asked.custom, &custom.name).max(0.0);
            self.dominant = self.dominant.max(custom.share(0.0));
        }
    }

    /// The share that would still be free of the resource that is then asked for most, 0 to 1.
    pub(crate) fn left_after(&self, ask: &Ask<'_>) -> f32 {
        let mut share = self.dominant;
        for nth in (0..AMOUNTS).filter(|&nth| ask.amounts[nth] > 0.0) {
            share = share.max(self.shares[nth] + ask.amounts[nth] * self.units[nth]);
        }
        for quantity in ask.custom.iter().filter(|quantity| quantity.amount > 0.0) {
            let custom = self.custom.iter().find(|custom| custom.name == quantity.name);
            share = share.max(custom.map_or(1.0, |custom| custom.share(quantity.amount)));
        }
        (1.0 - share).max(0.0)
    }
}

/// What an agent asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    amounts: [f32; AMOUNTS],
    custom: &'a [Quantity],
}

impl<'a> Ask<'a> {
    pub(crate) fn new(resources: &'a Resources) -> Self {
        Self { amounts: amounts(resources), custom: &resources.custom }
    }
}

impl Custom {
    /// The share in use with so much more.
    fn share(&self, more: f64) -> f32 {
        match self.total > 0.0 {
            true => ((self.used + more) / self.total) as f32,
            false if more > 0.0 => 1.0,
            false => 0.0,
        }
    }
}

fn amounts(resources: &Resources) -> [f32; AMOUNTS] {
    [resources.cpu_millis, resources.memory, resources.accelerator_millis].map(|amount| amount as f32)
}

fn amount_of(quantities: &[Quantity], name: &str) -> f64 {
    quantities.iter().find(|quantity| quantity.name == name).map_or(0.0, |quantity| quantity.amount)
}
