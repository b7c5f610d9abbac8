//! What the host says to its fence, and each agent's process before it becomes the
//! agent: one message in each packet, a kind and its numbers, 8 bytes each.

use rustix::process::Pid;

use crate::clock::BootInstant;

const ALLOW_UNTIL: u64 = 1;
const ENROL: u64 = 2;
const RELEASE: u64 = 3;

/// Groups that one message enrols at most.
pub(super) const MOST_GROUPS: usize = 1024;

/// Bytes of the longest message.
pub(super) const MOST_BYTES: usize = 8 * (1 + MOST_GROUPS);

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Agents may run until then.
    AllowUntil(BootInstant),
    /// These lead groups that are to be ended.
    Enrol(Vec<Pid>),
    /// This group is done.
    Release(Pid),
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let number = |pid: &Pid| u64::from(pid.as_raw_pid().unsigned_abs());
        let numbers: Vec<u64> = match self {
            Self::AllowUntil(until) => vec![ALLOW_UNTIL, until.as_nanos()],
            Self::Enrol(leaders) => std::iter::once(ENROL).chain(leaders.iter().map(number)).collect(),
            Self::Release(leader) => vec![RELEASE, number(leader)],
        };
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// `None` for what nobody should have said.
    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (numbers, rest) = packet.as_chunks();
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let kind = numbers.next().filter(|_| rest.is_empty())?;
        let pid = |number: u64| i32::try_from(number).ok().and_then(Pid::from_raw);
        if kind == ENROL {
            return numbers.map(pid).collect::<Option<_>>().map(Self::Enrol);
        }
        match (kind, numbers.next()?, numbers.next()) {
            (ALLOW_UNTIL, nanos, None) => Some(Self::AllowUntil(BootInstant::from_nanos(nanos))),
            (RELEASE, leader, None) => pid(leader).map(Self::Release),
            _ => None,
        }
    }
}

/// The message that enrols one leader, for a process that cannot allocate.
pub(crate) fn enrolment(leader: i32) -> [u8; 16] {
    let (kind, leader) = (ENROL.to_le_bytes(), u64::from(leader.unsigned_abs()).to_le_bytes());
    let mut message = [0; 16];
    message[..8].copy_from_slice(&kind);
    message[8..].copy_from_slice(&leader);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let pid = |id| Pid::from_raw(id).unwrap();
        for message in [
            Message::AllowUntil(BootInstant::from_nanos(u64::MAX)),
            Message::AllowUntil(BootInstant::from_nanos(0)),
            Message::Enrol(vec![]),
            Message::Enrol((1..=1024).map(pid).collect()),
            Message::Release(pid(i32::MAX)),
        ] {
            let packet = message.encode();
            assert!(packet.len() <= MOST_BYTES);
            assert_eq!(Message::decode(&packet), Some(message));
        }
        assert_eq!(Message::decode(&enrolment(77)), Some(Message::Enrol(vec![pid(77)])));
    }

    #[test]
    fn anything_else_is_nothing() {
        let packet = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        for numbers in
            [&[][..], &[0, 1], &[1], &[1, 2, 3], &[2, 0], &[2, 1 << 31], &[3, 0], &[3, 1, 1], &[4, 1]]
        {
            assert_eq!(Message::decode(&packet(numbers)), None, "{numbers:?}");
        }
        assert_eq!(Message::decode(&enrolment(77)[..15]), None);
    }
}
