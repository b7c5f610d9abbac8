//! What the tests of several crates need: real servers that never outlive the test.

mod redis;

pub use self::redis::{RedisServer, StartError};
