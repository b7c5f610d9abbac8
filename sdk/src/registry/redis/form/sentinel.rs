//! Redis with Sentinels: they agree which of several is the master.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use redis::{Client, ConnectionInfo, ErrorKind, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::{Nodes, Place, located};
use crate::registry::redis::line::Line;

/// The Sentinels of one master.
#[derive(Debug)]
pub(in crate::registry::redis) struct Sentinels {
    master: String,
    sentinels: Vec<Line>,
    patience: Duration,
}

impl Sentinels {
    /// `info` is how to connect to a Sentinel, but for where it is.
    pub(in crate::registry::redis) fn new(
        master: String,
        info: &ConnectionInfo,
        places: &[Place],
        patience: Duration,
    ) -> RedisResult<Self> {
        let lines = places.iter().map(|place| {
            let client = Client::open(located(info, place))?;
            Ok(Line::new(client, patience, false))
        });
        Ok(Self { master, sentinels: lines.collect::<RedisResult<_>>()?, patience })
    }

    /// The master, by most of the Sentinels, and by itself.
    ///
    /// A Sentinel that was cut off may name one that was replaced, so a majority is
    /// heard when there is one, and the newest configuration counts. The named one must
    /// say that it is a master: a Sentinel names it before it has become one.
    pub(super) async fn master(&self, nodes: &Nodes) -> RedisResult<Place> {
        let majority = self.sentinels.len() / 2 + 1;
        // Those that hang must not use up the time for the master itself.
        let each = (self.patience / 3).min(Duration::from_secs(1));
        let mut answers: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| timeout(each, self.ask(sentinel))).collect();
        let (mut named, mut heard, mut last_error) = (None, 0, None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Ok(answer)) => {
                    heard += 1;
                    if named.as_ref().is_none_or(|(epoch, _)| answer.0 > *epoch) {
                        named = Some(answer);
                    }
                }
                Ok(Err(error)) => last_error = Some(error),
                Err(_) => {}
            }
            if heard >= majority {
                break;
            }
        }
        let Some((_, place)) = named else {
            let silent = || RedisError::from((ErrorKind::Io, "no Sentinel answers"));
            return Err(last_error.unwrap_or_else(silent));
        };
        nodes.at(&place)?.shared.ready().await?;
        Ok(place)
    }

    /// What one Sentinel says is the master, and since which configuration.
    async fn ask(&self, sentinel: &Line) -> RedisResult<(u64, Place)> {
        let mut question = redis::pipe();
        question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        question.cmd("SENTINEL").arg("MASTER").arg(&self.master);
        question.ignore_errors();
        let answers: Vec<RedisResult<Value>> =
            sentinel.with(async |mut connection| question.query_async(&mut connection).await).await?;
        let [place, state] = <[_; 2]>::try_from(answers)
            .map_err(|_| RedisError::from((ErrorKind::UnexpectedReturnType, "an answer is missing")))?;
        let Some((host, port)) = redis::from_redis_value::<Option<(String, u16)>>(place?)? else {
            return Err(unknown(&self.master));
        };
        let state: HashMap<String, String> = redis::from_redis_value(state?)?;
        let epoch = state.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Ok((epoch, Place::at(&host, port)))
    }
}

fn unknown(master: &str) -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "the Sentinels know no master of this name", master.to_owned())
        .into()
}
