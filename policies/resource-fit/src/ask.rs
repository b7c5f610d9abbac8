//! What an agent asks for.

use guildhall_policy::{Quantity, Resources};

/// The resources that every host counts: CPU, memory and accelerators.
pub(crate) const AMOUNTS: usize = 3;

/// What each is called in a refusal.
pub(crate) const NAMES: [&str; AMOUNTS] = ["cpu", "memory", "accelerators"];

/// What an agent asks for, ready to be compared with what many hosts have.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    /// Thousandths of a CPU, bytes of memory, thousandths of an accelerator.
    pub(crate) amounts: [u64; AMOUNTS],
    /// The same, to be multiplied.
    pub(crate) sizes: [f32; AMOUNTS],
    /// Of resources that the operator named.
    pub(crate) custom: &'a [Quantity],
}

impl<'a> Ask<'a> {
    pub(crate) fn new(resources: &'a Resources) -> Self {
        let amounts = amounts(resources);
        Self { amounts, sizes: amounts.map(|amount| amount as f32), custom: &resources.custom }
    }
}

pub(crate) fn amounts(resources: &Resources) -> [u64; AMOUNTS] {
    [resources.cpu_millis, resources.memory, resources.accelerator_millis]
}

/// Whether so much of a named resource is anything. What is no number is more than any
/// host has.
pub(crate) fn is_asked(quantity: &Quantity) -> bool {
    quantity.amount > 0.0 || quantity.amount.is_nan()
}
