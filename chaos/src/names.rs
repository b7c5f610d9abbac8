//! The name server of the sandbox, which can be slow.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{net::UdpSocket, time::sleep};

use crate::network::DRIVER;

/// The name that stands for the single Redis.
pub(crate) const REDIS_NAME: &str = "redis.chaos.test";

/// The header of a message, in bytes.
const HEADER: usize = 12;
/// The type and the class after a question's name, in bytes.
const TYPE_AND_CLASS: usize = 4;
const TYPE_A: u16 = 1;

/// Answers every question for an address with the same one.
#[derive(Debug)]
pub(crate) struct Names {
    delay_ms: Arc<AtomicU64>,
}

impl Names {
    /// Listens on this program's address in the network.
    pub(crate) async fn serve(address: Ipv4Addr) -> Result<Self> {
        let socket = Arc::new(UdpSocket::bind((DRIVER, 53)).await.context("the name server's socket")?);
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = delay_ms.clone();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                let Some(answer) = answer(&question[..length], address) else { continue };
                let (socket, delay) = (socket.clone(), Duration::from_millis(delay.load(Ordering::Relaxed)));
                tokio::spawn(async move {
                    sleep(delay).await;
                    let _ = socket.send_to(&answer, client).await;
                });
            }
        });
        Ok(Self { delay_ms })
    }

    /// Answers this much later from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The answer to a message with one question, whatever its name; no address for those
/// that do not ask for one of IPv4.
fn answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *question.get(end)? != 0 {
        end += 1 + usize::from(question[end]);
    }
    end += 1;
    let asked = question.get(end..end + 2)?;
    let wants_address = u16::from_be_bytes([asked[0], asked[1]]) == TYPE_A;
    let mut answer = question.get(..end + TYPE_AND_CLASS)?.to_vec();
    // A response with authority, recursion desired and available, without error.
    answer[2..4].copy_from_slice(&[0x85, 0x80]);
    answer[4..HEADER].copy_from_slice(&[0, 1, 0, u8::from(wants_address), 0, 0, 0, 0]);
    if wants_address {
        // The name of the question, an address of the internet, for 0 s, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_gets_its_answer_and_nonsense_none() {
        let mut question = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x05redis\x05chaos\x04test\0");
        let name_end = question.len();
        question.extend([0, 1, 0, 1]);
        let reply = answer(&question, Ipv4Addr::new(10, 77, 0, 11)).unwrap();
        assert_eq!(&reply[..2], [7, 9], "it is for this question");
        assert_eq!(reply[7], 1, "one answer");
        assert_eq!(&reply[reply.len() - 4..], [10, 77, 0, 11]);
        question[name_end + 1] = 28;
        let reply = answer(&question, Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!((reply[7], reply.len()), (0, question.len()), "no address of IPv6");
        for length in 0..question.len() {
            assert_eq!(answer(&question[..length], Ipv4Addr::LOCALHOST), None, "{length}");
        }
    }
}
