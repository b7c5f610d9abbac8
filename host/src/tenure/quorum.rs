//! Asking the members of a council, all at once, until enough have said yes.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use guildhall::registry::Member;
use tokio::time::timeout;
use tracing::debug;

/// Answers as soon as `needed` members have said yes; with how many are missing when all
/// others refused, or did not answer `within` that time.
pub(crate) async fn enough<A>(
    members: &[Member],
    needed: usize,
    within: Duration,
    ask: impl Fn(Member) -> A,
) -> Result<(), usize>
where
    A: Future<Output = Result<(), String>>,
{
    let asked = |member: &Member| {
        let (host, answer) = (member.host.clone(), ask(member.clone()));
        async move {
            match timeout(within, answer).await {
                Ok(Ok(())) => true,
                Ok(Err(reason)) => {
                    debug!(member = %host, reason, "the member says no");
                    false
                }
                Err(_) => false,
            }
        }
    };
    let mut answers: FuturesUnordered<_> = members.iter().map(asked).collect();
    let mut missing = needed;
    while missing > 0 {
        match answers.next().await {
            Some(true) => missing -= 1,
            Some(false) => {}
            None => return Err(missing),
        }
    }
    Ok(())
}
