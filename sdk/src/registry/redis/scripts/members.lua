-- The leases that are not buried.
return redis.call('HKEYS', members)
