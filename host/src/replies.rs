//! Calls that are carried out once, however often they are asked for.
//!
//! A caller that lost an answer asks again under the same request id, and gets the answer
//! of the first call, or waits for it. The last few answers are kept.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use guildhall::fault::{Fault, FaultReason};
use tokio::sync::watch;

/// Answers that are kept at most.
const KEPT: usize = 1024;

/// Longest request id, bytes.
const MAX_REQUEST_ID: usize = 256;

type Answer<T> = Option<Result<T, Fault>>;

/// The calls of one kind.
#[derive(Debug)]
pub(crate) struct Replies<T>(Arc<Mutex<Calls<T>>>);

#[derive(Debug)]
struct Calls<T> {
    answers: HashMap<String, watch::Receiver<Answer<T>>>,
    order: VecDeque<String>,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Calls { answers: HashMap::new(), order: VecDeque::new() })))
    }
}

impl<T: Clone + Send + Sync + 'static> Replies<T> {
    /// Carries out `call`, unless one of that id was or is being carried out. It goes on
    /// when its caller is gone. A call without an id is always carried out.
    ///
    /// # Errors
    /// The call's own, or [`FaultReason::InvalidLaunch`] for an id that is too long.
    pub(crate) async fn once(
        &self,
        request_id: &str,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        if request_id.is_empty() {
            return call.await;
        }
        if request_id.len() > MAX_REQUEST_ID {
            let message = format!("request_id has more than {MAX_REQUEST_ID} bytes");
            return Err(Fault::new(FaultReason::InvalidLaunch, message));
        }
        let mut answer = self.join(request_id, call);
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(cut_off())),
            Err(_) => Err(cut_off()),
        }
    }

    fn join(
        &self,
        request_id: &str,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> watch::Receiver<Answer<T>> {
        // Nothing under the lock panics.
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = calls.answers.get(request_id) {
            return answer.clone();
        }
        let (done, answer) = watch::channel(None);
        calls.answers.insert(request_id.to_owned(), answer.clone());
        calls.order.push_back(request_id.to_owned());
        if calls.order.len() > KEPT
            && let Some(oldest) = calls.order.pop_front()
        {
            calls.answers.remove(&oldest);
        }
        tokio::spawn(async move { done.send_replace(Some(call.await)) });
        answer
    }
}

fn cut_off() -> Fault {
    Fault::new(FaultReason::Internal, "the host ended before the call did")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_call_is_carried_out_once_for_an_id_and_each_time_without_one() {
        let (replies, calls) = (Replies::default(), Arc::new(AtomicU32::new(0)));
        let call = || {
            let calls = Arc::clone(&calls);
            async move { Ok(calls.fetch_add(1, Ordering::Relaxed)) }
        };
        for wanted in [0, 0, 0] {
            assert_eq!(replies.once("one", call()).await, Ok(wanted));
        }
        assert_eq!(replies.once("", call()).await, Ok(1));
        assert_eq!(replies.once("", call()).await, Ok(2));
        for n in 0..KEPT {
            replies.once(&format!("other-{n}"), call()).await.unwrap();
        }
        assert!(replies.once("one", call()).await.unwrap() > 0, "it was so long ago that it is forgotten");
        assert!(replies.once(&"x".repeat(1000), call()).await.is_err());
    }
}
