//! Redis Cluster: each node knows which of them serves which slots.

use futures::{StreamExt, stream::FuturesUnordered};
use rand::seq::SliceRandom;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::{Map, Nodes, Place};

/// Nodes that are asked at a time: one that is gone costs nothing then.
const ASKED_AT_ONCE: usize = 3;

/// Asks the nodes until one answers that sees the whole cluster.
pub(super) async fn map(nodes: &Nodes, seeds: &[Place], known: Option<Map>) -> RedisResult<Map> {
    let mut places: Vec<_> = known.iter().flat_map(Map::places).cloned().collect();
    places.extend(seeds.iter().cloned());
    places.sort_by_key(Place::to_string);
    places.dedup();
    places.shuffle(&mut rand::rng());
    let mut last_error = None;
    for some in places.chunks(ASKED_AT_ONCE) {
        let mut answers: FuturesUnordered<_> =
            some.iter().map(|place| timeout(nodes.patience() / 3, ask(nodes, place))).collect();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Ok(map)) => return Ok(map),
                Ok(Err(error)) => last_error = Some(error),
                Err(_) => {}
            }
        }
    }
    Err(last_error.unwrap_or_else(|| (ErrorKind::Io, "no node of the cluster answers").into()))
}

/// The map of one node. It counts only if the node finds the cluster to be well: one
/// that was cut off goes on with the map it had.
async fn ask(nodes: &Nodes, place: &Place) -> RedisResult<Map> {
    let mut question = redis::pipe();
    question.cmd("CLUSTER").arg("INFO");
    question.cmd("CLUSTER").arg("SLOTS");
    let node = nodes.at(place)?;
    let (info, slots): (String, Vec<Value>) =
        node.shared.with(async |mut connection| question.query_async(&mut connection).await).await?;
    if !info.lines().any(|line| line.trim() == "cluster_state:ok") {
        return Err(redis::make_extension_error(
            "CLUSTERDOWN".to_owned(),
            Some(format!("{place} says that the cluster is down")),
        ));
    }
    let ranges = slots.into_iter().map(|range| read(range, place)).collect::<RedisResult<Vec<_>>>()?;
    Ok(Map::Slots(ranges.into()))
}

/// Reads first slot, last slot, master and replicas.
fn read(range: Value, said: &Place) -> RedisResult<(u16, u16, Place)> {
    let unreadable = || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS cannot be read"));
    let [first, last, master] = head(range).ok_or_else(unreadable)?;
    let [host, port] = head(master).ok_or_else(unreadable)?;
    let host: Option<String> = redis::from_redis_value(host)?;
    let port: u16 = redis::from_redis_value(port)?;
    // No host at all means that it is the one that was asked.
    let host = host.unwrap_or_default();
    let place = Place::read(&format!("{host}:{port}"), said).ok_or_else(unreadable)?;
    Ok((redis::from_redis_value(first)?, redis::from_redis_value(last)?, place))
}

/// The first so many parts of an answer.
fn head<const N: usize>(value: Value) -> Option<[Value; N]> {
    let Value::Array(mut parts) = value else {
        return None;
    };
    if parts.len() < N {
        return None;
    }
    parts.truncate(N);
    parts.try_into().ok()
}
