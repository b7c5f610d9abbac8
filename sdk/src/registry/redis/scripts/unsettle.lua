-- The clock of Redis has jumped: leases may seem overdue that are not.
redis.call('HSET', state, 'since', text(now_ms()))
